"""Which sentences of the retrieved passages answer the question, and whether any does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag.citations import content_words
from rag.reranking import Reranker
from rag.retrieval import sigmoid
from rag.sentences import sentence_spans
from rag.types import Hit, Sentence

PASSAGES = 3
"""Passages whose sentences are scored: the answer's sentence is in one of the first three or nowhere."""
CANDIDATES = 18
"""Sentences that the cross-encoder reads at most; long passages are thinned by shared words first."""
PASSAGE_WEIGHT = 0.75
"""Share of its passage's logit in a sentence's score."""
SHORTEST = 10
"""Characters below which a line (a page number, a lone heading) is nothing to quote."""
WORDS = 55
"""A second sentence is quoted when both together stay within this many words."""
_BULLET = re.compile(r"(?:[-*+•‣▪●–]|\d{1,2}[.)])\s+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sentences to quote, best first; `relevance` is how sure it is that the passages answer at all.

    It is the logistic of the cross-encoder's best passage logit, from 0 to 1. On SQuAD that alone
    told foreign questions apart best; single sentences, cosine and shared words added nothing.
    """

    sentences: tuple[Sentence, ...]
    relevance: float


class EvidenceFinder:
    """Picks sentences with the cross-encoder, or by shared words where there is none."""

    def __init__(self, reranker: Reranker | None) -> None:
        self.reranker = reranker

    def find(self, question: str, hits: Sequence[Hit]) -> Evidence:
        """The sentences that answer best, and the confidence that they do."""
        candidates = _thin(question, [s for hit in hits[:PASSAGES] for s in _sentences(hit)])
        if not candidates:
            return Evidence((), 0.0)
        if self.reranker is None:
            best = [s for s in candidates if s.score > 0]
            return Evidence(_enough(best), 1.0 if best else 0.0)
        logits = [float(logit) for logit in self.reranker.score(question, [s.text for s in candidates])]
        passage = self._passage_logits(question, hits)
        scored = [
            replace(s, score=logit + PASSAGE_WEIGHT * passage[s.hit.chunk.id])
            for s, logit in zip(candidates, logits)
        ]
        scored.sort(key=lambda s: -s.score)
        return Evidence(_enough(scored), sigmoid(max(passage.values())))

    def _passage_logits(self, question: str, hits: Sequence[Hit]) -> dict[str, float]:
        """The cross-encoder's logit of each passage, by chunk id; passages it has not read yet are read."""
        assert self.reranker is not None
        known = {hit.chunk.id: hit.how["rerank"].score for hit in hits if "rerank" in hit.how}
        unread = [hit.chunk for hit in hits[:PASSAGES] if hit.chunk.id not in known]
        if unread:
            logits = self.reranker.score(question, [chunk.searchable for chunk in unread])
            known |= {chunk.id: float(logit) for chunk, logit in zip(unread, logits)}
        return known


def _sentences(hit: Hit) -> list[Sentence]:
    """The passage's sentences, without the marks of a list; what ends in a colon takes its list along."""
    text = hit.chunk.text
    spans = sentence_spans(text)
    found = []
    for n, (start, end) in enumerate(spans):
        if bullet := _BULLET.match(text, start, end):
            start = bullet.end()
        if text[start:end].endswith(":"):
            end = _end_of_list(text, start, spans[n:])
        if end - start >= SHORTEST:
            found.append(Sentence(hit, text[start:end], start, end, 0.0))
    return found


def _end_of_list(text: str, start: int, spans: Sequence[tuple[int, int]]) -> int:
    """Where the last sentence ends that still fits into `WORDS` words from `start`."""
    return max([spans[0][1], *(end for _, end in spans if len(text[start:end].split()) <= WORDS)])


def _thin(question: str, sentences: Sequence[Sentence]) -> list[Sentence]:
    """The candidates that share most words with the question; their score is that share."""
    asked = content_words(question)
    shared = [replace(s, score=len(asked & content_words(s.text)) / max(len(asked), 1)) for s in sentences]
    return sorted(shared, key=lambda s: -s.score)[:CANDIDATES]


def _enough(sentences: Sequence[Sentence]) -> tuple[Sentence, ...]:
    """The best sentence, and the second where both together are still short."""
    words = 0
    chosen: list[Sentence] = []
    for sentence in sentences[:2]:
        words += len(sentence.text.split())
        if chosen and words > WORDS:
            break
        chosen.append(sentence)
    return tuple(chosen)
