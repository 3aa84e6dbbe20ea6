"""What retrieval could do otherwise, made to be measured: other fusions, indexes, and lengths of passages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rag.embedding import Embedder
from rag.errors import IndexDamaged, IndexMismatch, IndexMissing
from rag.evaluation.corpus import open_corpus
from rag.evaluation.datasets import Dataset
from rag.evaluation.progress import counted
from rag.ingest.chunking import CONTEXT_CHARACTERS
from rag.places import cache_root
from rag.reranking import Reranker
from rag.retrieval import Retriever, Scores
from rag.settings import Settings
from rag.store.chunks import text_hash
from rag.store.generation import Collection, Generation
from rag.store.lexical import LexicalSettings
from rag.store.manifest import MANIFEST
from rag.types import Chunk, Document, Hit, Reading, Section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RRF_K = 60


def reciprocal_ranks(dense: Scores, lexical: Scores, dense_weight: float) -> Scores:
    """dense_weight x 61 / (60 + rank by cosine) + the rest x 61 / (60 + rank by BM25), per candidate.

    Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank
    Learning Methods"; times 61, so that the best possible score is 1 as with the other fusions.
    """
    return _weighed(_rank_shares(dense), _rank_shares(lexical), dense_weight)


def min_max(dense: Scores, lexical: Scores, dense_weight: float) -> Scores:
    """Cosine and BM25, each stretched to 0 for its worst candidate and 1 for its best, added by weight."""
    words = {row: lexical.get(row, 0.0) for row in dense}
    return _weighed(_stretched(dense), _stretched(words), dense_weight)


def _weighed(dense: Scores, lexical: Scores, dense_weight: float) -> Scores:
    return {row: dense_weight * dense[row] + (1 - dense_weight) * lexical.get(row, 0.0) for row in dense}


def _rank_shares(scores: Scores) -> Scores:
    order = sorted(scores, key=lambda row: -scores[row])
    return {row: (RRF_K + 1) / (RRF_K + rank) for rank, row in enumerate(order, start=1)}


def _stretched(scores: Scores) -> Scores:
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    return {row: (score - low) / ((high - low) or 1.0) for row, score in scores.items()}


@dataclass(frozen=True, slots=True)
class Indexing:
    """How an index is made, beyond the settings: with title and headings or not, how words are compared."""

    context: bool = True
    lexical: LexicalSettings = field(default_factory=LexicalSettings)


USUAL = Indexing()


def open_index(dataset: Dataset, embedder: Embedder, settings: Settings, indexing: Indexing) -> Generation:
    """The dataset's index, made anew from the usual one's passages where `indexing` is not the usual.

    Raises EvaluationError, StoreError.
    """
    usual = open_corpus(dataset, embedder, settings)
    if indexing == USUAL:
        return usual
    with usual:
        described = repr(indexing).encode() + (usual.folder / MANIFEST).read_bytes()
        name = f"{usual.folder.parent.name}-{hashlib.sha256(described).hexdigest()[:8]}"
        collection = Collection(cache_root() / "evaluation", name)
        try:
            return collection.open()
        except (IndexMissing, IndexDamaged, IndexMismatch):
            return _remade(usual, collection, embedder, indexing)


def _remade(usual: Generation, collection: Collection, embedder: Embedder, indexing: Indexing) -> Generation:
    with collection.writer(
        embedder, usual.manifest.chunking, indexing.lexical, rebuild=True, task="evaluate"
    ) as writer:
        for stored in counted(usual.documents(), "indexing documents"):
            rows = usual.rows.document_chunks(stored.id)
            document = Document(
                stored.id,
                stored.paths[0],
                stored.title if indexing.context else "",
                stored.media_type,
                (Section(usual.document_text(stored.id)),),
                stored.parser,
                stored.unit,
            )
            if indexing.context:
                chunks = [
                    replace(chunk, title=chunk.title[: CONTEXT_CHARACTERS[0]]) for chunk in rows.values()
                ]
                vectors = usual.vectors.reconstruct(list(rows))
            else:
                chunks = [replace(chunk, title="", heading=()) for chunk in rows.values()]
                vectors = embedder.embed_passages([chunk.searchable for chunk in chunks])
            writer.put_document(document, stored.paths, chunks, vectors)
        return writer.publish()


class WithNeighbours:
    """A search for `count` passages, each shown with the one before and the one after it in its document.

    What is shown already, for a passage ranked higher or as a result of its own, is not shown again.
    """

    def __init__(self, retriever: Retriever, count: int) -> None:
        self._retriever, self._count = retriever, count

    def search(self, question: str, depth: int) -> list[Hit]:
        """At most `count` passages, best first."""
        hits = self._retriever.search(question, min(depth, self._count))
        shown = {hit.chunk.id for hit in hits}
        return [replace(hit, chunk=self._grown(hit.chunk, shown)) for hit in hits]

    def _grown(self, chunk: Chunk, shown: set[str]) -> Chunk:
        generation = self._retriever.generation
        chunks = list(generation.rows.document_chunks(chunk.document_id).values())
        place = next(n for n, other in enumerate(chunks) if other.id == chunk.id)
        around = chunks[max(place - 1, 0) : place + 2]
        new = [other for other in around if other.id == chunk.id or other.id not in shown]
        shown.update(other.id for other in new)
        start, end = new[0].start, new[-1].end
        text = generation.document_text(chunk.document_id)[start:end]
        return replace(chunk, start=start, end=end, text=text)


class Remembering(Reranker):
    """A reranker that reads no pair twice.

    Each is read alone: what else is in a batch changes the last digits of an int8 model's logits, and
    figures would depend on what was measured before.
    """

    def __init__(self, reranker: Reranker) -> None:
        self.name = reranker.name
        self._reranker = reranker
        self._known: dict[tuple[str, str], Reading] = {}

    def read(self, question: str, chunks: Sequence[Chunk], least: int = 0) -> list[Reading]:
        """One reading for each passage."""
        return [self._read(question, chunk) for chunk in chunks]

    def _read(self, question: str, chunk: Chunk) -> Reading:
        pair = question, text_hash(chunk)
        if pair not in self._known:
            [self._known[pair]] = self._reranker.read(question, [chunk])
        return self._known[pair]

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Relevance of each text, shape (len(texts),), in logits."""
        return self._reranker.score(question, texts)
