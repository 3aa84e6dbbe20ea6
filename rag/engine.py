"""The path from a question to a streamed, checked answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from rag.citations import footnoted, supported_only
from rag.embedding import load_embedder
from rag.evidence import Evidence, EvidenceFinder
from rag.families import family_of, without_thoughts
from rag.filters import Filters
from rag.followups import standalone
from rag.harmless import unlinked
from rag.loader.base import LanguageModel, Report, Sampling, Usage
from rag.places import index_root
from rag.prompt import build_prompt
from rag.quoting import DISPUTED, dispute, quotes
from rag.reranking import load_reranker
from rag.retrieval import Retriever
from rag.settings import DEFAULT_COLLECTION, AnswerSettings, Settings
from rag.store.generation import Collection
from rag.types import (
    Answer,
    Citation,
    Context,
    Done,
    Event,
    Hit,
    Message,
    Prompt,
    Sources,
    Standalone,
    Timings,
    Token,
    Turn,
    Unsupported,
)
from rag.weighing import READS, reads

NOT_IN_DOCUMENTS = "Not in your documents."
TRUSTED_PARAMETERS = 1_000_000_000
"""Models below this size support the quoted evidence with their words; they do not replace it."""
SUPPORTING_TOKENS = 64
"""Enough for the sentence or two that such a model may add; more would only keep the user waiting."""


Hits = tuple[Hit, ...]
Piece = str | Token | Citation | Unsupported


class Engine:
    """Answers questions from one collection; `model` None means quotes only."""

    def __init__(
        self,
        retriever: Retriever,
        evidence: EvidenceFinder,
        model: LanguageModel | None,
        settings: AnswerSettings,
        reads: Callable[[LanguageModel], float] = reads,
    ) -> None:
        self.retriever = retriever
        self.evidence = evidence
        self.model = model
        self.settings = settings
        self._reads = reads

    def ask(
        self,
        question: str,
        cancel: threading.Event | None = None,
        filters: Filters | None = None,
        history: Sequence[Turn] = (),
    ) -> Iterator[Event]:
        """Stream `Sources`, then `Token`s, then `Done` with the whole answer.

        A question that continues `history` is made to stand on its own, and `Standalone` says how, first.
        The tokens' texts joined are the answer's text. Setting `cancel` ends the model's words
        within a token; what was said until then is the answer. Raises ModelError, and UsageError when
        the filters let no document through.
        """
        clock = _Clock()
        whole = standalone(question, history)
        if whole != question:
            yield Standalone(whole)
        found = self.retriever.find(whole, filters=filters, spoken=question if whole != question else "")
        hits = found.hits
        clock.retrieved()
        yield Sources(hits)
        evidence = self.evidence.find(whole, hits, found.several)
        text, citations, unsupported = "", [], []
        for piece in self._answer(whole, hits, evidence, clock, cancel):
            if isinstance(piece, Citation):
                citations.append(piece)
                continue
            if isinstance(piece, Unsupported):
                unsupported.append(piece)
                continue
            clock.spoke()
            token = piece if isinstance(piece, Token) else Token(piece)
            text += token.text
            yield token
        abstained = text == NOT_IN_DOCUMENTS
        model = self.model.info if self.model else None
        said = (question, text, tuple(citations), hits, abstained, model)
        behind = found.dropped, clock.context, DISPUTED in text, evidence.confidence, tuple(unsupported)
        yield Done(Answer(*said, clock.timings(), *behind, whole))

    def _answer(
        self, question: str, hits: Hits, evidence: Evidence, clock: _Clock, cancel: threading.Event | None
    ) -> Iterator[Piece]:
        """Text and footnotes, in the order in which they are to be shown."""
        if evidence.confidence < self.settings.refusal_threshold:
            yield NOT_IN_DOCUMENTS
        elif self.model and not self._evidence_leads(self.model):
            prompt = self._prompt(self.model, question, hits, clock)
            said = ""
            for piece in footnoted(self._words(self.model, prompt, clock, cancel), prompt.used_hits):
                said += piece if isinstance(piece, str) else ""
                yield piece
            if cancel and cancel.is_set():
                return
            # a model that thinks until it may say no more leaves the quotes
            yield from dispute(said, evidence, hits) if said else quotes(evidence, hits)
        else:
            yield from (quoted := list(quotes(evidence, hits)))
            if self.model:
                yield from self._support(self.model, question, hits, quoted, clock, cancel)

    def _support(
        self,
        model: LanguageModel,
        question: str,
        hits: Hits,
        quoted: Sequence[Token | Citation],
        clock: _Clock,
        cancel: threading.Event | None,
    ) -> Iterator[str | Citation]:
        """What a weak model can add to the quotes. It reads only their passages: fewer tokens."""
        numbers = {piece.number for piece in quoted if isinstance(piece, Citation)}
        said = question + "".join(piece.text for piece in quoted if isinstance(piece, Token))
        prompt = self._prompt(model, question, [hits[number - 1] for number in sorted(numbers)], clock)
        words = self._words(model, prompt, clock, cancel, SUPPORTING_TOKENS)
        yield from supported_only(words, hits, numbers, said)

    def _words(
        self,
        model: LanguageModel,
        prompt: Prompt,
        clock: _Clock,
        cancel: threading.Event | None,
        longest: int | None = None,
    ) -> Iterator[str]:
        """What the model says to the user: no thoughts, no links, at most `longest` tokens."""
        tokens = min(self.settings.answer_tokens, longest or self.settings.answer_tokens)
        sampling = Sampling(tokens + self._thoughts(model), self.settings.temperature)
        pieces = clock.count(model.stream(prompt.messages, sampling, cancel))
        return unlinked(without_thoughts(pieces, family_of(model.info.name).begins_thinking))

    def _thoughts(self, model: LanguageModel) -> int:
        """Tokens to think with, as far as prompt and answer leave them."""
        spare = model.info.context_tokens - self.settings.context_tokens - self.settings.answer_tokens
        return max(0, min(family_of(model.info.name).thought_tokens, spare))

    def _prompt(self, model: LanguageModel, question: str, hits: Sequence[Hit], clock: _Clock) -> Prompt:
        model.count_tokens([Message("user", question)])  # waits: a second way to load may have less context
        room = model.info.context_tokens - self.settings.answer_tokens - self._thoughts(model)
        budget = min(self.settings.context_tokens, room)
        prompt = build_prompt(question, hits, budget, model.count_tokens)
        clock.context = Context(prompt.token_count, budget, prompt.used_hits, prompt.dropped_hits)
        return prompt

    def _evidence_leads(self, model: LanguageModel) -> bool:
        """Whether the quotes are the answer, because the model is small or was seen to read worse."""
        if self.settings.lead != "auto":
            return self.settings.lead == "evidence"
        size = model.info.parameters
        small = size is not None and size < TRUSTED_PARAMETERS
        return small or self._reads(model) < READS


@contextmanager
def open_engine(
    settings: Settings,
    collection: str = DEFAULT_COLLECTION,
    with_model: bool = True,
    on_event: Report = lambda event: None,
) -> Iterator[Engine]:
    """Open a collection and everything that answering needs; the model loads in the background.

    `on_event` hears from other threads how loading goes.

    Raises StoreError when the index is missing, damaged or of another embedder, ModelError when the
    model cannot be had.
    """
    with ExitStack() as stack:
        window = settings.answer.context_tokens + settings.answer.answer_tokens
        window += family_of(settings.model.model).thought_tokens
        model = None
        if with_model:
            from rag.loader.load import open_model  # a tenth of a second that quotes alone do not need

            model = open_model(settings.model, window, on_event)
            stack.callback(model.close)
        generation = stack.enter_context(Collection(index_root(), collection).open())
        reranker = load_reranker(settings.retrieval)
        embedder = load_embedder(generation.manifest.embedder.preferred(settings.embedding))
        retriever = Retriever(generation, embedder, reranker, settings.retrieval)
        yield Engine(retriever, EvidenceFinder(reranker), model, settings.answer)


class _Clock:
    """Takes the times and token counts of one answer, and what its model read."""

    def __init__(self) -> None:
        self.context: Context | None = None
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
