"""At which stage a passage fell out of an answer: the search, the reranking, the prompt or the quotes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rag.filters import Filters
from rag.located import located, missing, named, no_passage, on_page
from rag.retrieval import Found, Retriever
from rag.types import Answer, Chunk, Hit, Rank

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Step:
    """What one stage did with the passage, in words; `rank` where the stage ranks."""

    stage: str
    passed: bool
    says: str
    rank: Rank | None = None


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The way of the best passage of `place` up to where it fell out; `chunk` is None where there is none."""

    place: str
    chunk: Chunk | None
    steps: tuple[Step, ...]

    @property
    def fell_at(self) -> str | None:
        """The stage that left it out; None when it is quoted in the answer."""
        return None if self.steps[-1].passed else self.steps[-1].stage

    def as_dict(self) -> dict[str, Any]:
        """The form that `--json` prints."""
        chunk = self.chunk
        return {
            "place": self.place,
            "path": chunk.path if chunk else None,
            "page": chunk.page if chunk else None,
            "line": chunk.line if chunk else None,
            "text": chunk.text if chunk else None,
            "fell_at": self.fell_at,
            "stages": [
                {
                    "stage": step.stage,
                    "passed": step.passed,
                    "says": step.says,
                    "rank": step.rank.rank if step.rank else None,
                    "score": step.rank.score if step.rank else None,
                }
                for step in self.steps
            ],
        }


def why_not(retriever: Retriever, answer: Answer, place: str, filters: Filters | None = None) -> WhyNot:
    """Follow the best passage of `place` ("handbook.pdf", "handbook.pdf:3") on the way to this answer.

    The number is a page, slide or sheet, or a line where the format has none. `filters` are those that
    the answer was asked with.
    """
    generation = retriever.generation
    documents, number = located(generation, place)
    if not documents:
        return WhyNot(place, None, (Step("index", False, missing(generation, place)),))
    scope = retriever.scope(filters or Filters())
    stored = {
        row: scope.shown(chunk)
        for document in documents
        for row, chunk in generation.rows.document_chunks(document.id).items()
    }
    steps = [Step("index", True, f"{named(documents)}: {len(stored)} passages are indexed")]
    chunks = on_page(stored, number)
    if not chunks:
        return WhyNot(place, None, (*steps, Step("page", False, no_passage(documents, stored, number))))
    inside = chunks if scope.allowed is None else _inside(chunks, scope.allowed)
    if not inside:
        step = Step("filters", False, "the filters of the question leave it out")
        return WhyNot(place, next(iter(chunks.values())), (*steps, step))
    trial = _Trial(retriever, answer, filters, inside)
    return WhyNot(place, trial.chunk, (*steps, *trial.steps()))


class _Trial:
    """One passage, the best of `chunks`, before each stage in turn."""

    def __init__(
        self, retriever: Retriever, answer: Answer, filters: Filters | None, chunks: Mapping[int, Chunk]
    ) -> None:
        self.answer = answer
        self.settings = retriever.settings
        asked, spoken = (answer.standalone, answer.question) if answer.continues else (answer.question, "")
        self.found: Found = retriever.find(asked, filters=filters, spoken=spoken)
        self.whole = _whole_ranks(retriever, asked, filters)
        self.row = min(chunks, key=lambda row: self._standing(row, chunks[row]))
        self.chunk = chunks[self.row]

    def steps(self) -> Iterator[Step]:
        """Up to the first stage that leaves the passage out."""
        yield self._dense()
        yield self._lexical()
        for stage in (
            self._fused,
            self._once,
            self._reread,
            self._shown,
            self._answered,
            self._read,
            self._quoted,
        ):
            if step := stage():
                yield step
                if not step.passed:
                    return

    def _standing(self, row: int, chunk: Chunk) -> tuple[int, ...]:
        """Smaller is better: place among the hits, then in the last stage that ranked it."""
        never = 1 << 62
        hits = [hit.chunk.id for hit in self.answer.hits]
        ranks = [self.found.ranks.get(stage, {}).get(row) for stage in ("rerank", "fused")]
        dense = self.whole["dense"].get(row)
        return (
            hits.index(chunk.id) if chunk.id in hits else never,
            *(rank.rank if rank else never for rank in (*ranks, dense)),
        )

    def _dense(self) -> Step:
        rank = self.whole["dense"][self.row]
        return _searched("dense", rank, len(self.whole["dense"]), self.settings.dense_depth, "cosine")

    def _lexical(self) -> Step:
        rank = self.whole["lexical"].get(self.row)
        if rank is None:
            return Step("lexical", False, "shares no word with the question")
        return _searched("lexical", rank, len(self.whole["lexical"]), self.settings.lexical_depth, "BM25")

    def _fused(self) -> Step:
        rank = self.found.ranks["fused"].get(self.row)
        if rank is None:
            names = "retrieval.dense_depth or retrieval.lexical_depth"
            return Step("fused", False, f"neither search took it up; raise {names} to look further down")
        return Step("fused", True, f"rank {rank.rank}, score {rank.score:.3f}", rank)

    def _once(self) -> Step | None:
        reason = self._reason("thinned")
        return Step("thinned", False, f"left out: {reason}") if reason else None

    def _reread(self) -> Step | None:
        ranks = self.found.ranks.get("rerank")
        if ranks is None:
            return None
        if rank := ranks.get(self.row):
            return Step("rerank", True, f"rank {rank.rank} of {len(ranks)}, logit {rank.score:.2f}", rank)
        says = (
            f"not reread: only the first {len(ranks)} are (retrieval.rerank_pairs, .rerank_ms, .rerank_lead)"
        )
        return Step("rerank", self._number() is not None, says)

    def _shown(self) -> Step:
        if number := self._number():
            return Step("top_k", True, f"passage [{number}] of the answer")
        reason = self._reason("top_k") or f"not among the first {self.settings.top_k}"
        return Step("top_k", False, f"{reason}; --top-k shows more")

    def _answered(self) -> Step | None:
        if not self.answer.abstained:
            return None
        return Step("refusal", False, "the question was refused (answer.refusal_threshold)")

    def _read(self) -> Step | None:
        context = self.answer.context
        if context and self._is_among(context.used):
            return Step("prompt", True, "the model read it")
        if context and self._is_among(context.dropped):
            size = f"{context.tokens} of {context.budget_tokens} tokens are used"
            return Step("prompt", False, f"no room in the prompt: {size} (answer.context_tokens)")
        return None

    def _quoted(self) -> Step:
        if self._is_among([citation.hit for citation in self.answer.citations]):
            return Step("answer", True, f"it is in the answer, as [{self._number()}]")
        return Step("sentence", False, "none of its sentences was chosen for the answer")

    def _is_among(self, hits: Sequence[Hit]) -> bool:
        return any(hit.chunk.id == self.chunk.id for hit in hits)

    def _number(self) -> int | None:
        ids = [hit.chunk.id for hit in self.answer.hits]
        return ids.index(self.chunk.id) + 1 if self.chunk.id in ids else None

    def _reason(self, stage: str) -> str | None:
        dropped = (each for each in self.found.dropped if each.stage == stage)
        return next((each.reason for each in dropped if self._is_among([each.hit])), None)


def _inside(chunks: Mapping[int, Chunk], allowed: NDArray[np.int64]) -> dict[int, Chunk]:
    rows = set(allowed.tolist())
    return {row: chunk for row, chunk in chunks.items() if row in rows}


def _searched(stage: str, rank: Rank, total: int, depth: int, unit: str) -> Step:
    says = f"rank {rank.rank} of {total}, {unit} {rank.score:.3f}"
    passed = rank.rank <= depth
    return Step(stage, passed, says if passed else f"{says}, beyond the first {depth}", rank)


def _whole_ranks(retriever: Retriever, question: str, filters: Filters | None) -> dict[str, dict[int, Rank]]:
    """Standing of every passage in both searches, however far down."""
    generation, allowed = retriever.generation, retriever.scope(filters or Filters()).allowed
    everything = max(generation.chunk_count, 1)
    ids, cosines = generation.vectors.search(retriever.embedder.embed_query(question), everything, allowed)
    words = generation.lexical.search(question, everything, allowed)
    return {
        "dense": {int(row): Rank(n, float(score)) for n, (row, score) in enumerate(zip(ids, cosines), 1)},
        "lexical": {row: Rank(n, score) for n, (row, score) in enumerate(words, 1)},
    }
