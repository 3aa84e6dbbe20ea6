"""Where a quote stands among the characters of a PDF page, and the boxes that mark it (pure).

The quote comes from our extracted text and the characters from PDFium. Both are compared without
blanks, hyphens, accents and capitals, so that line breaks and ligatures do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

Box = tuple[float, float, float, float]
"""Left, bottom, right and top in points; bottom and top count upwards."""
Span = tuple[int, int]

LONGEST = 10_000
"""Characters of a quote that are looked for; no passage is longer."""
LEAST_RUN = 12
"""Letters in a row below which a part of a quote may stand anywhere."""
MOST = 0.6
"""Share of a quote that must be on the page, in runs of `LEAST_RUN`, to count as found."""
LEAST_REST = 24
"""Letters at a page's edge that are taken for a quote which goes on over the page."""
EDGE = 0.25
"""Share of a page's letters that are its edge: running heads and footnotes stand there, too."""
WORD_GAP = 2.0
"""Widest gap within one mark, in heights of the type; cells of a table are marked one by one."""

_DROPPED = ("M", "Z", "C", "Pd", "So")  # accents, blanks, controls and private signs, dashes, bullets
_LABEL = re.compile(r"^[^:]{1,80}:\s+(?=\S)")


@dataclass(frozen=True)
class Folded:
    """A text's comparable letters; `at[n]` is the place of letter number n in the text."""

    letters: str
    at: tuple[int, ...]
    source: Sequence[str]

    @classmethod
    def of(cls, text: Sequence[str]) -> Folded:
        folded = [(letter, n) for n, character in enumerate(text) for letter in _fold(character)]
        return cls("".join(letter for letter, _ in folded), tuple(n for _, n in folded), text)

    def span(self, start: int, length: int) -> Span:
        """The letters' place in the text; `length` is at least 1."""
        return self.at[start], self.at[start + length - 1] + 1

    def places(self, letters: str) -> Iterator[int]:
        """Where the letters stand, overlapping ones included."""
        place = self.letters.find(letters)
        while place >= 0:
            yield place
            place = self.letters.find(letters, place + 1)

    def whole(self, start: int, length: int) -> bool:
        """Whether no word or number reaches over either end of these letters."""
        return start in self._edges and start + length in self._edges

    @cached_property
    def _edges(self) -> frozenset[int]:
        inner = (n for n in range(1, len(self.at)) if not self._joined(n))
        return frozenset((0, *inner, len(self.at)))

    def _joined(self, n: int) -> bool:
        before, after = self.at[n - 1], self.at[n]
        if after - before > 1:
            return False
        return before == after or (self.source[before].isalnum() and self.source[after].isalnum())


def locate(quote: str, characters: Sequence[str], boxes: Sequence[Box], before: str = "") -> list[Span]:
    """Where the quote stands among the page's characters, in runs; none where it is not there.

    `boxes` are the characters' own. `before` is the text in front of the quote, which tells apart
    places where the same words stand. A quote that goes on over the page's end is found as far as it
    is on this page, and a table's row, "column: value; ...", if most of its values stand on one line.
    """
    page, wanted = Folded.of(characters), Folded.of(quote[:LONGEST])
    if not wanted.letters:
        return []
    return (
        _verbatim(wanted.letters, page, Folded.of(before[-200:]).letters)
        or _in_runs(wanted.letters, page)
        or _values(quote[:LONGEST], page, boxes)
    )


def joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in their order, those as one that touch or overlap."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def marks(spans: Iterable[Span], boxes: Sequence[Box]) -> list[Box]:
    """The characters' boxes, joined along each line."""
    merged: list[Box] = []
    for start, end in spans:
        last: Box | None = None
        for box in boxes[start:end]:
            if box[0] == box[2] or box[1] == box[3]:
                continue  # a blank that PDFium made up
            if last and _neighbours(last, box):
                merged[-1] = _union(merged[-1], box)
            else:
                merged.append(box)
            last = box
    return merged


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(c for c in plain if not unicodedata.category(c).startswith(_DROPPED))


def _verbatim(letters: str, page: Folded, before: str) -> list[Span]:
    """The whole quote, at the place that has the most of the text in front; a short one as whole words."""
    places = [(page.whole(place, len(letters)), place) for place in page.places(letters)]
    if len(letters) < LEAST_RUN:
        places = [(whole, place) for whole, place in places if whole]
    if not places:
        return []
    best = max(places, key=lambda found: (found[0], _in_common(page.letters, found[1], before), -found[1]))
    return [page.span(best[1], len(letters))]


def _in_common(text: str, end: int, other: str) -> int:
    """How many of its last letters `other` shares with the text up to `end`."""
    most = min(end, len(other))
    return next((n for n in range(most) if text[end - 1 - n] != other[-1 - n]), most)


def _in_runs(letters: str, page: Folded) -> list[Span]:
    """The parts of a quote that stand on the page, if they are most of it or its begin or end."""
    runs = list(_runs(letters, page.letters))
    covered = sum(length for _, _, length in runs)
    if not runs or (covered < MOST * len(letters) and not _goes_on(runs, len(letters), len(page.letters))):
        return []
    return [page.span(place, length) for _, place, length in runs]


def _runs(letters: str, page: str) -> Iterator[tuple[int, int, int]]:
    """Each part of the quote, as long as it can be, that the page has: its start, its place, its length."""
    start = place = 0
    while start + LEAST_RUN <= len(letters):
        if letters[start : start + LEAST_RUN] not in page:
            start += 1
            continue
        beyond = range(start + LEAST_RUN + 1, len(letters) + 1)
        length = LEAST_RUN + bisect_left(beyond, True, key=lambda end: letters[start:end] not in page)
        run = letters[start : start + length]
        found = page.find(run, place)  # behind the run before, if it stands there as well
        place = found if found >= 0 else page.find(run)
        yield start, place, length
        start, place = start + length, place + length


def _goes_on(runs: list[tuple[int, int, int]], length: int, page_length: int) -> bool:
    first_start, first_place, first_length = runs[0]
    last_start, last_place, last_length = runs[-1]
    begins = first_start == 0 and first_length >= LEAST_REST
    ends = last_start + last_length == length and last_length >= LEAST_REST
    at_the_foot = first_place + first_length >= (1 - EDGE) * page_length
    at_the_head = last_place <= EDGE * page_length
    return (begins and at_the_foot) or (ends and at_the_head)


def _values(quote: str, page: Folded, boxes: Sequence[Box]) -> list[Span]:
    """The values of a table's row, two at least and more than half of them, on one line of the page."""
    parts = (_LABEL.sub("", part.strip()) for part in re.split(r"[;|\n]", quote))
    values = list(dict.fromkeys(letters for part in parts if (letters := Folded.of(part).letters)))
    found = [
        (page.span(place, len(value)), value)
        for value in values
        for place in page.places(value)
        if page.whole(place, len(value))
    ]
    line = max(_lines(found, boxes), key=len, default={})
    return sorted(line.values()) if len(line) > max(1, len(values) / 2) else []


def _lines(found: list[tuple[Span, str]], boxes: Sequence[Box]) -> Iterator[dict[str, Span]]:
    """From each value found on: those that stand at its height, each once."""
    placed = sorted((_middle(boxes[span[0]]), span, value) for span, value in found)
    for n, (middle, span, _) in enumerate(placed):
        half = (boxes[span[0]][3] - boxes[span[0]][1]) / 2
        line: dict[str, Span] = {}
        for other, place, value in placed[n:]:
            if other - middle > half:
                break
            line.setdefault(value, place)
        yield line


def _middle(box: Box) -> float:
    return (box[1] + box[3]) / 2


def _neighbours(box: Box, other: Box) -> bool:
    """Whether two characters that follow each other stand on one line, be it a vertical one."""
    across = min(box[2], other[2]) - max(box[0], other[0])
    upright = min(box[3], other[3]) - max(box[1], other[1])
    height = min(box[3] - box[1], other[3] - other[1])
    width = min(box[2] - box[0], other[2] - other[0])
    beside = upright > height / 2 and -across < WORD_GAP * height
    below = across > width / 2 and -upright < WORD_GAP * width
    return beside or below


def _union(box: Box, other: Box) -> Box:
    return min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])
