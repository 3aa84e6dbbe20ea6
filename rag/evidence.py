"""Which sentences of the retrieved passages answer the question, and whether any does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag.citations import content_words
from rag.reranking import Reranker
from rag.retrieval import sigmoid
from rag.sentences import sentence_spans
from rag.types import Hit, Sentence

PASSAGES = 3
"""Passages whose sentences are scored: the answer's sentence is in one of the first three or nowhere."""
CANDIDATES = 18
"""Sentences that the cross-encoder reads at most; long passages are thinned by shared words first."""
PASSAGE_WEIGHT = 0.5
"""Share of its passage's logit in a sentence's score."""
WORDS = 45
"""A second sentence is quoted when both together stay within this many words."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sentences to quote, best first; `relevance` (0 to 1) is how sure it is that they answer."""

    sentences: tuple[Sentence, ...]
    relevance: float


class EvidenceFinder:
    """Picks sentences with the cross-encoder, or by shared words where there is none."""

    def __init__(self, reranker: Reranker | None) -> None:
        self.reranker = reranker

    def find(self, question: str, hits: Sequence[Hit]) -> Evidence:
        """The one or two sentences that answer best, and the confidence that they do."""
        raise NotImplementedError
