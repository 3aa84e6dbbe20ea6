"""Question to passages: two searches fused, token vectors compared, a cross-encoder on the best few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag.embedding import Embedder
from rag.late import TokenEncoder, late_scores, word_weights
from rag.reranking import Reranker
from rag.settings import RetrievalSettings
from rag.store.generation import Generation
from rag.store.manifest import TokenSpace
from rag.types import Hit, Rank

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scores = dict[int, float]
"""Chunk row id to score."""


class Retriever:
    """Searches one generation of a collection. `reranker` and `tokens` may be None."""

    def __init__(
        self,
        generation: Generation,
        embedder: Embedder,
        reranker: Reranker | None,
        settings: RetrievalSettings,
        tokens: TokenEncoder | None = None,
    ) -> None:
        generation.check_embedder(embedder.name, embedder.revision, embedder.dimension)
        self.generation = generation
        self.embedder = embedder
        self.reranker = reranker
        self.settings = settings
        # vectors of another space mean nothing here; without them the cross-encoder alone decides
        self.tokens = tokens if generation.manifest.tokens == TokenSpace.of(tokens) else None

    def search(self, question: str, depth: int | None = None) -> list[Hit]:
        """The `depth` (by default `top_k`) most relevant passages, best first."""
        depth = depth or self.settings.top_k
        stages = self._candidates(question)
        fused, pairs = stages["fused"], self.settings.rerank_pairs
        if self.tokens and fused:
            stages["late"] = self._late(self.tokens, question, fused)
            fused, pairs = (
                mix(fused, stages["late"], self.settings.late_weight),
                min(pairs, self.settings.late_pairs),
            )
        order = sorted(fused, key=lambda row: -fused[row])[: max(depth, pairs)]
        chunks = self.generation.chunks(order)
        final = {row: fused[row] for row in order}
        if self.reranker and pairs:
            reread = order[:pairs]
            logits = self.reranker.score(question, [chunks[row].searchable for row in reread])
            stages["rerank"] = {row: float(logit) for row, logit in zip(reread, logits)}
            final = mix(final, stages["rerank"], self.settings.rerank_weight)
        ranks = {stage: _ranks(scores) for stage, scores in stages.items()}
        return [
            Hit(chunks[row], final[row], {stage: seen[row] for stage, seen in ranks.items() if row in seen})
            for row in sorted(order, key=lambda row: -final[row])[:depth]
        ]

    def _candidates(self, question: str) -> dict[str, Scores]:
        """Scores of each stage before reranking: cosine, BM25, and both fused."""
        query = self.embedder.embed_query(question)
        dense = dict(_pairs(*self.generation.vectors.search(query, self.settings.dense_depth)))
        lexical = dict(self.generation.lexical.search(question, self.settings.lexical_depth))
        # A passage that only the word search found still has a cosine: look its vector up.
        unseen = [row for row in lexical if row not in dense]
        if unseen:
            dense |= dict(zip(unseen, map(float, self.generation.vectors.reconstruct(unseen) @ query)))
        return {"dense": dense, "lexical": lexical, "fused": fuse(dense, lexical, self.settings.dense_weight)}

    def _late(self, tokens: TokenEncoder, question: str, fused: Scores) -> Scores:
        """How well the best candidates' tokens match the question's, each weighted by its word's rarity."""
        import numpy as np

        assert self.generation.tokens is not None
        rows = sorted(fused, key=lambda row: -fused[row])[: self.settings.late_depth]
        matrices = self.generation.tokens.read(rows)
        vectors, words = tokens.encode_question(question)
        weights = word_weights(words, self.generation.lexical.idf)
        scores = late_scores(vectors, weights, np.concatenate(matrices), [len(each) for each in matrices])
        return dict(zip(rows, map(float, scores)))


def fuse(dense: Scores, lexical: Scores, dense_weight: float) -> Scores:
    """dense_weight x cosine + (1 - dense_weight) x BM25 / the best BM25, per candidate.

    A convex combination keeps the distances that reciprocal ranks throw away (Bruch, Gai and
    Ingber 2023, "An Analysis of Fusion Functions for Hybrid Retrieval").
    """
    best = max(lexical.values(), default=1.0) or 1.0
    return {
        row: dense_weight * cosine + (1 - dense_weight) * lexical.get(row, 0.0) / best
        for row, cosine in dense.items()
    }


def mix(fused: Scores, logits: Scores, weight: float) -> Scores:
    """fused + weight x the cross-encoder's logit (or the token vectors' score), per candidate.

    The logit as it is: squeezed into 0 to 1 it loses the differences among good passages (measured on
    SQuAD: hit@1 .877 against .923). What was not reread counts as the worst of what was, and so stays
    behind everything that led it before.
    """
    worst = min(logits.values(), default=0.0)
    return {row: score + weight * logits.get(row, worst) for row, score in fused.items()}


def sigmoid(logit: float) -> float:
    """1 / (1 + e^-x), without overflow."""
    from math import exp

    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))


def _ranks(scores: Scores) -> dict[int, Rank]:
    order = sorted(scores, key=lambda row: -scores[row])
    return {row: Rank(place, scores[row]) for place, row in enumerate(order, start=1)}


def _pairs(ids: NDArray[np.int64] | Sequence[int], scores: NDArray[np.float32]) -> list[tuple[int, float]]:
    return [(int(row), float(score)) for row, score in zip(ids, scores)]
