"""Which of the documents found a question speaks of: one by its name, the latest, or several (pure)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from math import log
from pathlib import PurePath

_PAPER = "(?:report|filing|document|file|version|edition|volume|contract|lease|letter|paper|minute|10-[KQ])"
_TIME = "(?:quarter|period|month|year)"
_SEVERAL = re.compile(
    r"\b(?:over time|across|trend(?:s|ed)?|fluctuat\w+|compar\w+|differ(?:s|ed|ence\w*)?|versus|vs"
    rf"|(?:each|every) (?:\w+ )?(?:{_PAPER}|quarter|period)"
    r"|(?:these|those|all|both|several|different|various|previous|earlier|past|reported|quarterly|annual)"
    rf" (?:\w+ ){{0,2}}(?:{_PAPER}|{_TIME})s"
    rf"|(?:over|throughout) the (?:\w+ )?{_TIME}s?|{_TIME} (?:by|over|to) {_TIME})\b",
    re.IGNORECASE,
)
"""English only: in other languages a question is taken to ask of no more documents than it finds."""
_LATEST = re.compile(r"\b(?:latest|newest|most recent)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")


def asks_of_several(question: str) -> bool:
    """Whether the answer is likely to need more than one document, as a change over time does."""
    return bool(_SEVERAL.search(question))


def asks_for_latest(question: str) -> bool:
    """Whether the newest of several documents is meant."""
    return bool(_LATEST.search(question))


def named(asked: Mapping[str, float], words: Mapping[str, Collection[str]]) -> dict[str, float]:
    """How much of what tells documents apart each of them shares with a question, from 0 to 1.

    `asked` gives the rarity of the question's words, `words` those that name each document. A word counts
    by its rarity times ln(documents / documents that it names): one that names all, or none, is left out.
    """
    worth = {}
    for word, rarity in asked.items():
        holders = sum(word in own for own in words.values())
        if 0 < holders < len(words):
            worth[word] = rarity * log(len(words) / holders)
    total = sum(worth.values())
    return {
        document: sum(value for word, value in worth.items() if word in own) / total if total else 0.0
        for document, own in words.items()
    }


def latest(paths: Mapping[str, str]) -> set[str]:
    """The last document of each series, by the numbers in their files' names; `paths` are by document.

    A series are files whose names differ in numbers only; years (four digits) count before other numbers.
    """
    series: dict[str, list[tuple[list[int], str]]] = {}
    for document, path in paths.items():
        stem = PurePath(path).stem.casefold()
        numbers = sorted(_NUMBER.findall(stem), key=lambda digits: len(digits) != 4)
        series.setdefault(_NUMBER.sub("#", stem), []).append(([int(each) for each in numbers], document))
    return {max(members)[1] for members in series.values() if len(members) > 1}
