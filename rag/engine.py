"""The path from a question to a streamed, checked answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from rag.citations import footnoted, quote, supported_only
from rag.embedding import load_embedder
from rag.evidence import Evidence, EvidenceFinder
from rag.loader import LanguageModel, Sampling, Usage, choose, start
from rag.prompt import build_prompt
from rag.reranking import load_reranker
from rag.retrieval import Retriever
from rag.settings import DEFAULT_COLLECTION, AnswerSettings, Settings, index_root
from rag.store.generation import Collection
from rag.types import Answer, Citation, Done, Event, Hit, Sources, Timings, Token

NOT_IN_DOCUMENTS = "Not in your documents."
TRUSTED_PARAMETERS = 1_000_000_000
"""Models below this size support the quoted evidence with their words; they do not replace it."""
SUPPORTING_TOKENS = 64
"""Enough for the sentence or two that such a model may add; more would only keep the user waiting."""


class Engine:
    """Answers questions from one collection; `model` None means quotes only."""

    def __init__(
        self,
        retriever: Retriever,
        evidence: EvidenceFinder,
        model: LanguageModel | None,
        settings: AnswerSettings,
    ) -> None:
        self.retriever = retriever
        self.evidence = evidence
        self.model = model
        self.settings = settings

    def ask(self, question: str, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Stream `Sources`, then `Token`s, then `Done` with the whole answer.

        The tokens' texts joined are the answer's text. Setting `cancel` ends the model's words
        within a token; what was said until then is the answer. Raises ModelError.
        """
        clock = _Clock()
        hits = tuple(self.retriever.search(question))
        clock.retrieved()
        yield Sources(hits)
        evidence = self.evidence.find(question, hits)
        abstained = evidence.relevance < self.settings.refusal_threshold
        text, citations = "", []
        for piece in self._refuse() if abstained else self._answer(question, hits, evidence, clock, cancel):
            if isinstance(piece, Citation):
                citations.append(piece)
                continue
            clock.spoke()
            text += piece
            yield Token(piece)
        model = self.model.info if self.model else None
        yield Done(Answer(question, text, tuple(citations), hits, abstained, model, clock.timings()))

    def _refuse(self) -> Iterator[str | Citation]:
        yield NOT_IN_DOCUMENTS

    def _answer(
        self,
        question: str,
        hits: tuple[Hit, ...],
        evidence: Evidence,
        clock: _Clock,
        cancel: threading.Event | None,
    ) -> Iterator[str | Citation]:
        quoted = list(_quotes(evidence, hits)) if self._evidence_leads() else []
        yield from quoted
        if self.model is None:
            return
        leading = {piece.number for piece in quoted if isinstance(piece, Citation)}
        # A weak model may only add to what was quoted, so it reads those passages alone: fewer tokens.
        read = [hit for number, hit in enumerate(hits, start=1) if number in leading] or hits
        room = self.model.info.context_tokens - self.settings.answer_tokens
        budget = min(self.settings.context_tokens, room)
        prompt = build_prompt(question, read, budget, self.model.count_tokens)
        longest = self.settings.answer_tokens
        if leading:
            longest = min(longest, SUPPORTING_TOKENS)
        sampling = Sampling(longest, self.settings.temperature)
        words = clock.count(self.model.stream(prompt.messages, sampling, cancel))
        if leading:
            said = question + "".join(piece for piece in quoted if isinstance(piece, str))
            yield from supported_only(words, hits, leading, said)
        else:
            yield from footnoted(words, prompt.used_hits)

    def _evidence_leads(self) -> bool:
        if self.model is None or self.settings.lead == "evidence":
            return True
        size = self.model.info.parameters
        return self.settings.lead == "auto" and size is not None and size < TRUSTED_PARAMETERS


def _quotes(evidence: Evidence, hits: tuple[Hit, ...]) -> Iterator[str | Citation]:
    for n, sentence in enumerate(evidence.sentences):
        citation = quote(sentence, hits)
        yield citation
        yield f'{" " if n else ""}"{" ".join(sentence.text.split())}" [{citation.number}]'


@contextmanager
def open_engine(
    settings: Settings, collection: str = DEFAULT_COLLECTION, with_model: bool = True
) -> Iterator[Engine]:
    """Open a collection and everything that answering needs; the model loads in the background.

    Raises StoreError when the index is missing, damaged or of another embedder, ModelError when the
    model cannot be had.
    """
    with ExitStack() as stack:
        window = settings.answer.context_tokens + settings.answer.answer_tokens
        model = stack.enter_context(start(choose(settings.model, window))) if with_model else None
        generation = stack.enter_context(Collection(index_root(), collection).open())
        reranker = load_reranker(settings.retrieval)
        embedder = load_embedder(generation.embedding(settings.embedding))
        retriever = Retriever(generation, embedder, reranker, settings.retrieval)
        yield Engine(retriever, EvidenceFinder(reranker), model, settings.answer)


class _Clock:
    """Takes the times and token counts of one answer."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._timings = Timings()

    def retrieved(self) -> None:
        self._timings = replace(self._timings, retrieval_s=self._elapsed())

    def spoke(self) -> None:
        if self._timings.first_token_s is None:
            self._timings = replace(self._timings, first_token_s=self._elapsed())

    def count(self, words: Generator[str, None, Usage]) -> Iterator[str]:
        """Pass a model's stream on, and note what it cost in the end."""
        usage = yield from words
        self._timings = replace(
            self._timings, prompt_tokens=usage.prompt_tokens, answer_tokens=usage.answer_tokens
        )

    def timings(self) -> Timings:
        return replace(self._timings, total_s=self._elapsed())

    def _elapsed(self) -> float:
        return time.perf_counter() - self._start
