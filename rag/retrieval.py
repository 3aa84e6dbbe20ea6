"""Question to passages: two searches fused, and a reader on the best few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from rag.duplicates import ALIKE, Thinned, thin
from rag.embedding import Embedder
from rag.filters import Filters, Scope, resolve
from rag.naming import asks_for_latest, asks_of_several, latest, named
from rag.reranking import FEWEST, Reranker
from rag.settings import RetrievalSettings
from rag.store.generation import Generation
from rag.types import Chunk, Dropped, Hit, Rank, Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scores = dict[int, float]
"""Chunk row id to score."""
Fusion = Callable[[Scores, Scores, float], Scores]
"""Cosines of all candidates, BM25 of those that share a word, the share of the former -> fused scores."""
READ_AT_ONCE = 32
"""Candidates whose text is fetched together; most searches look at fewer."""
FOUND = 1.0
"""A passage seems to answer from this logit on; see docs/retrieval.md for what reading on brings."""
READ_ON = 2
"""So often are as many passages again read where none of those before seems to answer."""
OPENING = 1000
"""Characters at a document's start that name it: a cover page, a letterhead, whom and when it is about."""
OPENING_WEIGHT = 0.4
"""What they count beside the best passage's score when documents are chosen, if several are asked of."""
BEHIND = 0.25
"""Documents whose score lies further below the first one's are not what such a question asks of."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search saw: `hits` and what was `dropped` before them or after them, both best first.

    `ranks` gives for each stage the standing of every chunk row that it scored. `several` means that the
    question asks of several documents, and that the best passage of each is among the hits.
    """

    hits: tuple[Hit, ...]
    dropped: tuple[Dropped, ...]
    ranks: Mapping[str, Mapping[int, Rank]]
    several: bool = False


class Retriever:
    """Searches one generation of a collection. `reranker` may be None.

    `fusion` (by default `fuse`) and `alike`, from which two passages count as one, are there to be compared.
    """

    def __init__(
        self,
        generation: Generation,
        embedder: Embedder,
        reranker: Reranker | None,
        settings: RetrievalSettings,
        fusion: Fusion | None = None,
        alike: float = ALIKE,
    ) -> None:
        generation.check_embedder(embedder.name, embedder.revision, embedder.dimension)
        self.generation = generation
        self.embedder = embedder
        self.reranker = reranker
        self.settings = settings
        self._fusion = fusion or fuse
        self._alike = alike
        # Kept, as an open generation never changes:
        self._scopes: dict[Filters, Scope] = {}
        self._name_words: dict[str, frozenset[str]] = {}

    def search(self, question: str, depth: int | None = None, filters: Filters | None = None) -> list[Hit]:
        """The `depth` (by default `top_k`) most relevant passages, best first.

        Raises UsageError when the filters let no document through.
        """
        return list(self.find(question, depth, filters).hits)

    def find(
        self, question: str, depth: int | None = None, filters: Filters | None = None, spoken: str = ""
    ) -> Found:
        """What `search` returns, and why it is that.

        `spoken` is what was asked literally, where the question was made of it and the conversation before:
        both are searched for, and count the same.
        """
        scope = self.scope(filters or Filters())
        stages = self._candidates([question, spoken] if spoken else [question], scope)
        fused = stages["fused"]
        each = self._one_each(question, fused) if asks_of_several(question) else []
        depth = max(depth or self.settings.top_k, len(each))
        in_turn = self._read([*each, *(row for row in _best_first(fused) if row not in each)], scope)
        most = max(depth, self.settings.rerank_pairs if self.reranker else 0)
        half = max(1, depth // 2) if self._alike <= 1 else 0
        thinned = thin(in_turn, most, self.settings.per_document, question, len(each), self._alike, half)
        final = {row: fused[row] for row in thinned.kept}
        readings = self._readings(question, thinned.kept, final, len(each))
        if readings:
            stages["rerank"] = {row: reading.score for row, reading in readings.items()}
            final = mix(final, stages["rerank"], self.settings.rerank_weight)
        ranks = {stage: _ranks(scores) for stage, scores in stages.items()}
        return _found(thinned, fused, final, ranks, readings, each, depth)

    def _readings(
        self, question: str, chunks: Mapping[int, Chunk], scores: Scores, least: int
    ) -> dict[int, Reading]:
        """What a reranker makes of the first chunks, by row; `least` of them are read in any case."""
        pairs = self.settings.rerank_pairs
        if not self.reranker or not pairs:
            return {}
        worth = self._worth_reading(pairs, sorted(scores.values(), reverse=True))
        first = list(chunks.values())[: max(pairs, least)]
        return dict(zip(chunks, self._reread(self.reranker, question, first, worth, least)))

    def _worth_reading(self, pairs: int, scores: Sequence[float]) -> int:
        """Fewer where one passage leads so clearly that rereading has never changed the first place."""
        leads = len(scores) > 1 and scores[0] - scores[1] >= self.settings.rerank_lead > 0
        return min(pairs, FEWEST) if leads else pairs

    def _reread(
        self, reranker: Reranker, question: str, chunks: Sequence[Chunk], worth: int, least: int
    ) -> list[Reading]:
        """Readings of the first chunks; as long as a reader finds an answer in none, of as many again."""
        readings = reranker.read(question, chunks[: max(worth, least)], least)
        at_once = len(readings)
        for begin in range(at_once, len(chunks), max(1, at_once))[:READ_ON]:
            if least or any(each.answerable is None or each.answerable >= FOUND for each in readings):
                break
            readings += reranker.read(question, chunks[begin : begin + at_once])
        return readings

    def scope(self, filters: Filters) -> Scope:
        """Where a search with these filters looks. Raises UsageError when that is nowhere."""
        if filters not in self._scopes:
            self._scopes[filters] = resolve(filters, self.generation)
        return self._scopes[filters]

    def _read(self, rows: Sequence[int], scope: Scope) -> Iterator[tuple[int, Chunk]]:
        """The chunks of these rows, in this order."""
        for first in range(0, len(rows), READ_AT_ONCE):
            batch = rows[first : first + READ_AT_ONCE]
            chunks = self.generation.chunks(batch)
            yield from ((row, scope.shown(chunks[row])) for row in batch)

    def _candidates(self, questions: Sequence[str], scope: Scope) -> dict[str, Scores]:
        """Scores of each stage before rereading: cosine, BM25, and both fused; the mean of all questions."""
        searched = [self._search_both(question, scope) for question in questions]
        rows = dict.fromkeys(row for dense, lexical, _ in searched for row in (*dense, *lexical))
        fused = []
        for question, (dense, lexical, query) in zip(questions, searched):
            # A passage that only another search found still has a cosine: look its vector up.
            unseen = [row for row in rows if row not in dense]
            if unseen:
                dense |= dict(zip(unseen, map(float, self.generation.vectors.reconstruct(unseen) @ query)))
            scores = self._fusion(dense, lexical, self.settings.dense_weight)
            fused.append(self._with_names(question, scores) if self.settings.name_weight else scores)
        each_dense, each_lexical, _ = zip(*searched)
        return {"dense": _mean(each_dense), "lexical": _mean(each_lexical), "fused": _mean(fused)}

    def _search_both(self, question: str, scope: Scope) -> tuple[Scores, Scores, NDArray[np.float32]]:
        """The cosines and the BM25 scores of the best passages, and the question's unit vector."""
        query = self.embedder.embed_query(question)
        dense = dict(_pairs(*self.generation.vectors.search(query, self.settings.dense_depth, scope.allowed)))
        lexical = dict(self.generation.lexical.search(question, self.settings.lexical_depth, scope.allowed))
        return dense, lexical, query

    def _with_names(self, question: str, fused: Scores) -> Scores:
        """Passages of files whose names the question has words of gain, and so do those of the latest file.

        Words of the title are left out: they stand before each passage and are searched with it.
        """
        documents = self.generation.rows.document_ids(fused)
        names = self.generation.rows.names(list(set(documents.values())))
        for document, (path, title) in names.items():
            if document not in self._name_words:
                self._name_words[document] = self._words(PurePath(path).stem) - self._words(title)
        shares = named(self._asked(question), {document: self._name_words[document] for document in names})
        if asks_for_latest(question) and not asks_of_several(question):
            shares |= dict.fromkeys(latest({document: path for document, (path, _) in names.items()}), 1.0)
        weight = self.settings.name_weight
        return {row: score + weight * shares.get(documents[row], 0.0) for row, score in fused.items()}

    def _one_each(self, question: str, fused: Scores) -> list[int]:
        """The best passage of each document that the question asks of, best document first; none of one."""
        rows = self.generation.rows
        documents = rows.document_ids(fused)
        best: dict[str, int] = {}
        for row in _best_first(fused):
            best.setdefault(documents[row], row)
        names = rows.names(list(best))
        words = {
            document: self._words(f"{PurePath(path).stem} {title} {rows.opening(document, OPENING)}")
            for document, (path, title) in names.items()
        }
        shares = named(self._asked(question), words)
        scores = {
            row: fused[row] + OPENING_WEIGHT * shares.get(document, 0.0) for document, row in best.items()
        }
        least = max(scores.values(), default=0.0) - BEHIND
        each = [row for row in _best_first(scores) if scores[row] >= least][: self.settings.documents]
        return each if len(each) > 1 else []

    def _asked(self, question: str) -> dict[str, float]:
        """The question's words and how rare they are."""
        return {word: self.generation.lexical.idf(word) for word in self._words(question)}

    def _words(self, text: str) -> frozenset[str]:
        return frozenset(self.generation.lexical.words(text.replace("_", " ")))


def _found(
    thinned: Thinned,
    fused: Scores,
    final: Scores,
    ranks: Mapping[str, Mapping[int, Rank]],
    readings: Mapping[int, Reading],
    each: Sequence[int],
    depth: int,
) -> Found:
    """The best `depth` of what was kept, those of `each` in any case, and what was left out and why."""
    hits = {
        row: _hit(row, thinned.kept[row], final[row], ranks, readings.get(row)) for row in _best_first(final)
    }
    shown = {*[*each, *(row for row in hits if row not in each)][:depth]}
    beyond = [
        Dropped(hit, "top_k", f"ranked {place}, {_places(depth, len(each))}")
        for place, (row, hit) in enumerate(hits.items(), start=1)
        if row not in shown
    ]
    repeated = [
        Dropped(_hit(row, chunk, fused[row], ranks), "thinned", reason)
        for row, (chunk, reason) in thinned.dropped.items()
    ]
    best = tuple(hit for row, hit in hits.items() if row in shown)
    return Found(best, (*beyond, *repeated), ranks, bool(each))


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


def _mean(each: Sequence[Scores]) -> Scores:
    """Per row; a search that did not find it counts as 0."""
    rows = dict.fromkeys(row for scores in each for row in scores)
    return {row: sum(scores.get(row, 0.0) for scores in each) / len(each) for row in rows}


def mix(fused: Scores, logits: Scores, weight: float) -> Scores:
    """fused + weight x the cross-encoder's logit, per candidate.

    The logit as it is: squeezed into 0 to 1 it loses the differences among good passages (measured on
    SQuAD: hit@1 .877 against .923). What was not reread counts as the worst of what was, and so stays
    behind everything that led it before.
    """
    worst = min(logits.values(), default=0.0)
    return {row: score + weight * logits.get(row, worst) for row, score in fused.items()}


def _places(depth: int, each: int) -> str:
    """How many passages are shown, and why better ones may be missing."""
    own = f", of which {each} are the best of a document each" if each else ""
    return f"{depth} are shown{own}"


def sigmoid(logit: float) -> float:
    """1 / (1 + e^-x), without overflow."""
    from math import exp

    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))


def _best_first(scores: Scores) -> list[int]:
    return sorted(scores, key=lambda row: -scores[row])


def _ranks(scores: Scores) -> dict[int, Rank]:
    return {row: Rank(place, scores[row]) for place, row in enumerate(_best_first(scores), start=1)}


def _hit(
    row: int,
    chunk: Chunk,
    score: float,
    ranks: Mapping[str, Mapping[int, Rank]],
    reading: Reading | None = None,
) -> Hit:
    return Hit(chunk, score, {stage: seen[row] for stage, seen in ranks.items() if row in seen}, reading)


def _pairs(ids: NDArray[np.int64] | Sequence[int], scores: NDArray[np.float32]) -> list[tuple[int, float]]:
    return [(int(row), float(score)) for row, score in zip(ids, scores)]
