"""Asks a reader for each fact of a claim, and objects where it finds another one in the claim's source.

A claim can have all its words from a sentence and still be false: "The president was Allen Shaw", of one that
names Shaw and, in another place, the president. So each name, number and date is replaced by a question word,
and the reader answers from the source alone. Question answering as a check on facts: QAGS (Wang et al. 2020),
Q² (Honovich et al. 2021).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from rag.reranking import Reranker
from rag.types import Chunk, Reading, Span
from rag.wording import MONTHS, Word, content_words, placed, words

SURE = 8.0
"""How far the words that the reader finds must exceed "not here", in logits, for it to object at all."""
BETTER = 4.0
"""By so much they must be likelier than the claim's own."""
SAME = 0.5
"""Share of the shorter of two answers that both must have to be the same."""
LONGER = 5
"""Content words that the reader's answer may have beyond the claim's own."""
BESIDE = 2
"""Content words on either side that must be the same for a fact to stand there as it is claimed."""
MOST = 10
"""Facts of a claim that are asked for."""

_APART = re.compile(r"(?:[\s\-–.&/'’]|\b[A-Z]\b|['’]s\b)*")
"""What stands between the parts of one name, number or date; initials are no words."""
_ARTICLE = re.compile(r"\b(?:the|an?)\s+$", re.IGNORECASE)
_CLAUSE = re.compile(r"[;:]\s|,? (?:which|who|where|while|but|because|although|when|after|before)\b|, and\b")
_YEAR = re.compile(r"(?:1\d|20)\d\d")
_TEMPORAL = re.compile(r"\b(?:in|since|of|by|from|to|until|during|after|before)\s+$", re.IGNORECASE)
_COUNTED = re.compile(r"\s+[^\W\d]")
_CURRENCY = re.compile("[$€£¥]")


@dataclass(frozen=True, slots=True)
class Fact:
    """Words of a claim, `claim[start:end]`, and the question that they answer, or two of which one fits."""

    start: int
    end: int
    questions: tuple[str, ...]


def objection(claim: str, source: Chunk, reader: Reranker | None, confirm: bool = False) -> str:
    """What the reader finds in the source instead of a fact of the claim; "" if nothing.

    A fact that stands there among the same words is not asked for. With `confirm` the reader must also find
    one of those that it is asked for. Without a reader, or with a reranker that finds no words, nothing is
    objected to or confirmed.
    """
    told = [word.stem for _, _, word in placed(source.text) if word.carries]
    asked = [fact for fact in facts(claim) if not _stands(fact, claim, told)][:MOST]
    confirmed = not asked
    for fact, reading in zip(asked, _readings(asked, source, reader)):
        said = claim[fact.start : fact.end]
        if other := _otherwise(said, source.text, reading):
            return f'where it says "{said}", "{other}" is said'
        confirmed = confirmed or _confirmed(said, source.text, reading)
    return "" if confirmed or not confirm else "it goes beyond what is said there"


def _readings(asked: Sequence[Fact], source: Chunk, reader: Reranker | None) -> Iterator[Reading]:
    """A reading for each fact: of two questions that of the one which fits, as the reader sees it."""
    questions = [question for fact in asked for question in fact.questions]
    readings = iter(reader.answers(questions, source) if reader else ())
    for fact in asked:
        if each := list(islice(readings, len(fact.questions))):
            yield max(each, key=lambda reading: reading.answerable or 0.0)


def _stands(fact: Fact, claim: str, told: list[str]) -> bool:
    """Whether the fact stands between the same words among those of the source, `told`."""
    carrying = [(start, word.stem) for start, _, word in placed(claim) if word.carries]
    inside = [n for n, (start, _) in enumerate(carrying) if fact.start <= start < fact.end]
    first, last = max(0, inside[0] - BESIDE), inside[-1] + 1 + BESIDE
    wanted = [stem for _, stem in carrying[first:last]]
    return any(told[at : at + len(wanted)] == wanted for at in range(len(told) - len(wanted) + 1))


def facts(claim: str) -> list[Fact]:
    """The claim's names, numbers and dates, and the words that it ends with, the last one alone as well."""
    return [Fact(start, end, tuple(_questions(claim, start, end))) for start, end in _spans(claim)]


def part(chunk: Chunk, start: int, end: int) -> Chunk:
    """The passage reduced to some of its text, under the same headings."""
    return replace(chunk, text=chunk.text[start:end])


def _spans(claim: str) -> Iterator[tuple[int, int]]:
    carrying = [(start, end, word) for start, end, word in placed(claim) if word.carries]
    runs: list[tuple[int, int, str]] = []
    for start, end, word in carrying:
        kind = "number" if word.kind == "unit" or _is_month(word) else word.kind
        if runs and runs[-1][2] == kind and _one(claim, runs[-1][1], start, end):
            runs[-1] = runs[-1][0], end, kind
        else:
            runs.append((start, end, kind))
    yield from ((start, end) for start, end, kind in runs if kind != "word")
    if runs and runs[-1][2] == "word":
        yield runs[-1][:2]
        if carrying[-1][0] > runs[-1][0]:
            yield carrying[-1][:2]


def _one(claim: str, end: int, start: int, stop: int) -> bool:
    """Whether what stands between two words, `claim[end:start]`, makes one of them, as in "May 4, 1961"."""
    between = claim[end:start]
    return bool(_APART.fullmatch(between)) or (between == ", " and bool(_YEAR.fullmatch(claim, start, stop)))


def _questions(claim: str, start: int, end: int) -> Iterator[str]:
    """The claim up to the end of the fact's clause, with a question word for the fact and its article."""
    clause = _CLAUSE.search(claim, end)
    behind = claim[end : clause.start() if clause else len(claim)].rstrip(" .,!\"'”’")
    ahead = _ARTICLE.sub("", claim[:start])
    for word in _question_words(claim[start:end], ahead, behind):
        yield f"{ahead}{word}{behind}?"


def _question_words(fact: str, ahead: str, behind: str) -> tuple[str, ...]:
    first = next(iter(words(fact)))
    counted = _COUNTED.match(behind) and not _CURRENCY.search(fact)
    if _is_month(first) or (_YEAR.fullmatch(fact) and (_TEMPORAL.search(ahead) or not counted)):
        return ("when",)
    if not any(letter.isdigit() for letter in fact):
        return ("what", "who") if fact[0].isupper() else ("what",)
    return ("how many",) if counted else ("how much",)


def _is_month(word: Word) -> bool:
    return word.kind == "name" and word.text.lower() in MONTHS


def _otherwise(fact: str, text: str, reading: Reading) -> str:
    """The words that are far likelier than the fact."""
    if not reading.spans or (best := reading.spans[0]).margin < SURE:
        return ""
    mine = max((span.margin for span in reading.spans if _same(fact, _words(text, span))), default=-SURE)
    return _words(text, best) if best.margin - mine >= BETTER else ""


def _confirmed(fact: str, text: str, reading: Reading) -> bool:
    best = next(iter(reading.spans), None)
    return best is not None and best.margin > 0 and _same(fact, _words(text, best))


def _words(text: str, span: Span) -> str:
    return text[span.start : span.end]


def _same(fact: str, other: str) -> bool:
    mine, theirs = content_words(fact), content_words(other)
    fewer = min(len(mine), len(theirs))
    return bool(fewer) and len(mine & theirs) >= SAME * fewer and len(theirs) <= len(mine) + LONGER
