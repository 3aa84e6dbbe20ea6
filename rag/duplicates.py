"""Leaves out passages that say the same once more, and what one document has too many of (pure)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from rag.types import Chunk

SHINGLE_WORDS = 3
ALIKE = 0.8
"""Shared shingles of all shingles (Jaccard) from which two passages are one. A word changed in a passage of
150 costs .04, ten cost .3; neighbours that overlap by 30 of 200 tokens share .08, and windows that are
shifted by a fifth .67, which is text enough of their own."""

AKIN = 0.4
"""Shared shingles of the shorter passage's from which two documents say much the same in the same words."""

_WORD = re.compile(r"\w+(?:[.,]\d+)*")
_TELLING = re.compile(r".*\d.*|not?|none|never|neither|nor|without|cannot|n?t")
"""Numbers and negations: "350 euros" and "360 euros" are two answers, however alike the rest."""


@dataclass(frozen=True, slots=True)
class Thinned:
    """`kept` by row number, in the order given; `dropped` with the reason in words."""

    kept: dict[int, Chunk]
    dropped: dict[int, tuple[Chunk, str]]


def thin(
    chunks: Iterable[tuple[int, Chunk]],
    count: int,
    per_document: int = 0,
    question: str = "",
    spared: int = 0,
    alike: float = ALIKE,
    akin: int = 0,
) -> Thinned:
    """The first `count` chunks that are not nearly the same as one before them, best first.

    At most `per_document` (0: any number) of one document, unless there are not `count` otherwise, and at
    most `akin` (0: any number) of one wording: who floods a folder with a claim does not get all places.
    Passages that a word of the question tells apart by their files or headings ("2023", "Berlin")
    are not the same, the first `spared` are kept in any case, and above an `alike` of 1 nothing is the
    same. No more chunks are taken from the iterable than needed.
    """
    kept: dict[int, Chunk] = {}
    dropped: dict[int, tuple[Chunk, str]] = {}
    spare: list[int] = []
    seen: list[_Shingled] = []
    taken: Counter[str] = Counter()
    asked = frozenset(_words(question))
    for row, chunk in chunks:
        if len(kept) == count:
            break
        passage = _Shingled(chunk)
        twin = next((other for other in seen if passage.is_like(other, asked, alike)), None)
        if twin and len(kept) >= spared:
            dropped[row] = chunk, f"nearly the same text as {_place(twin.chunk, chunk)}"
            continue
        kin = [other for other in seen if akin and passage.is_akin(other, asked)]
        if akin and len(kin) >= akin and len(kept) >= spared:
            dropped[row] = chunk, f"{len(kin)} passages before it have much of its wording"
            continue
        seen.append(passage)
        if per_document and taken[chunk.document_id] >= per_document and len(kept) >= spared:
            dropped[row] = chunk, f"its document has {per_document} better passages already"
            spare.append(row)
            continue
        taken[chunk.document_id] += 1
        kept[row] = chunk
    for row in spare[: count - len(kept)]:
        kept[row] = dropped.pop(row)[0]
    return Thinned(kept, dropped)


def _place(chunk: Chunk, beside: Chunk) -> str:
    """Where `chunk` stands, with its folder if its file is called like another one."""
    path, other = PurePath(chunk.path), PurePath(beside.path)
    same_name = path != other and path.name == other.name
    return f"{path.parent.name}/{chunk.place}" if same_name else chunk.place


class _Shingled:
    """A passage and what it is compared by."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.words = _words(chunk.text)

    @cached_property
    def shingles(self) -> frozenset[tuple[str, ...]]:
        last = max(len(self.words) - SHINGLE_WORDS, 0)
        return frozenset(tuple(self.words[n : n + SHINGLE_WORDS]) for n in range(last + 1))

    @cached_property
    def telling(self) -> Counter[str]:
        return Counter(word for word in self.words if _TELLING.fullmatch(word))

    @cached_property
    def surroundings(self) -> frozenset[str]:
        return frozenset(_words(f"{PurePath(self.chunk.path).stem} {self.chunk.context}"))

    def is_like(self, other: _Shingled, asked: frozenset[str], alike: float) -> bool:
        shorter, longer = sorted((len(self.shingles), len(other.shingles)))
        if shorter < alike * longer:
            return False
        shared = len(self.shingles & other.shingles)
        same = shared >= alike * (shorter + longer - shared) and self.telling == other.telling
        return same and not self._told_apart(other, asked)

    def is_akin(self, other: _Shingled, asked: frozenset[str]) -> bool:
        """Whether two documents share much of their wording, and the same words of the question."""
        same = self.chunk.document_id == other.chunk.document_id
        if same or asked & (set(self.words) ^ set(other.words)):
            return False
        shorter = min(len(self.shingles), len(other.shingles))
        much = len(self.shingles & other.shingles) >= AKIN * shorter
        return much and not self._told_apart(other, asked)

    def _told_apart(self, other: _Shingled, asked: frozenset[str]) -> bool:
        # a word that the text holds as well tells nothing apart
        return bool((asked & (self.surroundings ^ other.surroundings)).difference(self.words))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold().replace("_", " "))
