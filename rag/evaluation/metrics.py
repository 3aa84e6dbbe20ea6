"""What the figures mean: pure functions from texts and rankings to numbers."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from rag.types import Answer

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MARKER = re.compile(r"\s*\[\d+\]")
RESAMPLES = 1000
REFERENCE_SHARE = 0.5
"""A passage holds a reference when it has this share of the reference's three-word sequences."""

Place = tuple[str, int, int]
"""A document's id, and where in its text something begins and ends."""


@lru_cache(maxsize=20_000)  # the same passages come back for many questions
def normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single blanks.

    Rajpurkar et al. 2018, "Know What You Don't Know: Unanswerable Questions for SQuAD".
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(text: str, golds: Sequence[str]) -> float:
    """1 when the text is one of the gold answers, both normalised."""
    return float(any(normalise(text) == normalise(gold) for gold in golds))


def f1(text: str, golds: Sequence[str]) -> float:
    """The best harmonic mean of word precision and recall against any gold answer."""
    return max((_f1(normalise(text).split(), normalise(gold).split()) for gold in golds), default=0.0)


def _f1(said: list[str], gold: list[str]) -> float:
    if not said or not gold:
        return float(said == gold)
    common = sum((Counter(said) & Counter(gold)).values())
    return 2 * common / (len(said) + len(gold))


def contains(text: str, golds: Sequence[str]) -> bool:
    """Whether a gold answer's words stand in the text one after another, both normalised."""
    words = f" {normalise(text)} "
    return any(f" {gold} " in words for gold in map(normalise, golds) if gold)


def holds_answer(passage: str, golds: Sequence[str]) -> bool:
    """Whether a passage has a gold answer: as `contains`, or verbatim and not inside a word.

    The second way finds what the normalisation glues to its neighbour, as "1986" in "1986—when".
    """
    if contains(passage, golds):
        return True
    return any(re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", passage) for gold in golds if gold)


def holds_reference(passage: str, references: Sequence[str]) -> bool:
    """Whether a passage has at least half of one of the reference texts."""
    present = _triples(passage)
    for reference in references:
        wanted = _triples(reference)
        if not wanted and contains(passage, [reference]):
            return True
        if wanted and len(wanted & present) >= REFERENCE_SHARE * len(wanted):
            return True
    return False


def _triples(text: str) -> set[tuple[str, ...]]:
    words = normalise(text).split()
    return set(zip(words, words[1:], words[2:]))


def find_span(text: str, wanted: str) -> tuple[int, int] | None:
    """Where `wanted` first stands in the text, blanks and line breaks being alike; None: nowhere."""
    words = wanted.split()
    found = re.search(r"\s+".join(map(re.escape, words)), text) if words else None
    return found.span() if found else None


def overlap(retrieved: Sequence[Place], relevant: Sequence[Place]) -> tuple[float, float, float]:
    """Recall, precision and intersection over union (IoU) of retrieved text against the relevant text.

    Counted in characters of the documents. Relevant text that several passages repeat is found once; among
    what was retrieved it counts each time, as irrelevant text does, so that passages which overlap cost
    precision and IoU. Smith and Troynikov 2024, "Evaluating Chunking Strategies for Retrieval".
    """
    sought = _joined(relevant)
    found = sum(
        max(0, min(end, stop) - max(begin, start))
        for document, begin, end in _joined(retrieved)
        for other, start, stop in sought
        if document == other
    )
    relevant_size, retrieved_size = _size(sought), _size(retrieved)
    return (
        found / relevant_size if relevant_size else 0.0,
        found / retrieved_size if retrieved_size else 0.0,
        found / (relevant_size + retrieved_size - found) if found else 0.0,
    )


def _joined(places: Sequence[Place]) -> list[Place]:
    """The same text, with places that overlap or touch made one."""
    joined: list[Place] = []
    for document, start, end in sorted(places):
        if joined and joined[-1][0] == document and start <= joined[-1][2]:
            _, first, last = joined.pop()
            start, end = first, max(last, end)
        joined.append((document, start, end))
    return joined


def _size(places: Sequence[Place]) -> int:
    return sum(end - start for _, start, end in places)


def shown_text(answer: Answer) -> str:
    """The answer's words without the footnote marks `[n]`."""
    return _MARKER.sub("", answer.text).strip()


def hit_at(gains: Sequence[float], k: int) -> float:
    """1 when one of the first `k` results is relevant; `gains` are in the order of the results."""
    return float(any(gain > 0 for gain in gains[:k]))


def reciprocal_rank(gains: Sequence[float], k: int) -> float:
    """1 / the rank of the first relevant result, 0 when it is not among the first `k`."""
    return next((1 / rank for rank, gain in enumerate(gains[:k], start=1) if gain > 0), 0.0)


def ndcg(gains: Sequence[float], ideal: Sequence[float], k: int) -> float:
    """Discounted gain of the first `k` results, as a share of the best order's.

    `ideal` are the gains of everything relevant, in any order. Linear gains, discount 1 / log2(rank
    + 1), as trec_eval computes it.
    """
    best = _discounted(sorted(ideal, reverse=True)[:k])
    return _discounted(gains[:k]) / best if best else 0.0


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def recall_at(gains: Sequence[float], relevant: int, k: int) -> float:
    """Share of the `relevant` results that are among the first `k`."""
    return sum(gain > 0 for gain in gains[:k]) / relevant if relevant else 0.0


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the values lie, interpolated; None of nothing."""
    import numpy as np

    return float(np.quantile(values, share)) if values else None


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """95 % confidence interval of the mean, by resampling; None of nothing."""
    import numpy as np

    if not values:
        return None
    sample, random = np.asarray(values), np.random.default_rng(seed)
    means = [sample[random.integers(0, len(sample), len(sample))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
