"""How well a reader reads, passages given: on articles that its training did not see."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean

from rag.evaluation.metrics import contains, exact_match, f1
from rag.evaluation.progress import counted
from rag.reading import Reader
from rag.training.examples import Example
from rag.types import Chunk, Reading


def assess(reader: Reader, examples: Sequence[Example], most: int = 400, seed: int = 0) -> dict[str, float]:
    """Figures from at most `most` examples of each kind.

    `em`, `f1` and `contains`: of the span, where the passage answers. `auc_near`, `auc_wrong`: the chance
    that `answerable` is higher for a passage that answers than for one asked a near miss, or a wrong one.
    `relevance_gap`: the mean distance from the teacher's logit.
    """
    dice = random.Random(seed)
    kinds = {
        "right": [e for e in examples if e.answers],
        "near": [e for e in examples if e.hard],
        "wrong": [e for e in examples if not e.answers and not e.hard],
    }
    read = {kind: _read(reader, dice.sample(of, min(most, len(of))), kind) for kind, of in kinds.items()}
    spans = [
        (e.passage[r.spans[0].start : r.spans[0].end] if r.spans else "", _golds(e)) for e, r in read["right"]
    ]
    there = {kind: [r.answerable or 0.0 for _, r in pairs] for kind, pairs in read.items()}
    margins = {kind: [r.spans[0].margin for _, r in pairs if r.spans] for kind, pairs in read.items()}
    return {
        "n": float(len(spans)),
        "em": fmean(exact_match(text, golds) for text, golds in spans),
        "f1": fmean(f1(text, golds) for text, golds in spans),
        "contains": fmean(contains(text, golds) for text, golds in spans),
        "auc_near": auc(there["right"], there["near"]),
        "auc_wrong": auc(there["right"], there["wrong"]),
        "auc_near_margin": auc(margins["right"], margins["near"]),
        "auc_wrong_margin": auc(margins["right"], margins["wrong"]),
        "relevance_gap": fmean(abs(r.relevance - e.relevance) for pairs in read.values() for e, r in pairs),
    }


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a positive is above a negative, ties counting half (Mann-Whitney U / (n m))."""
    if not positive or not negative:
        return float("nan")
    above = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return above / (len(positive) * len(negative))


def chunk_of(example: Example) -> Chunk:
    """The passage as the program would have it."""
    text = example.passage
    return Chunk("", "", text, 0, len(text), example.article, example.context)


def _read(reader: Reader, examples: Sequence[Example], kind: str) -> list[tuple[Example, Reading]]:
    return [
        (e, reader.read(e.question, [chunk_of(e)])[0]) for e in counted(list(examples), f"reading {kind}")
    ]


def _golds(example: Example) -> list[str]:
    return [example.passage[start:end] for start, end in example.answers]
