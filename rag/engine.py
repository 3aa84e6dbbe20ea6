"""The path from a question to a streamed, checked answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

from rag.citations import NOT_IN_DOCUMENTS, footnoted, supported_only
from rag.embedding import load_embedder
from rag.evidence import Evidence, EvidenceFinder
from rag.families import family_of
from rag.filters import Filters
from rag.followups import standalone
from rag.loader.base import LanguageModel, Report, Usage
from rag.places import index_root
from rag.prompt import excerpts
from rag.quoting import DISPUTED, dispute, quotes
from rag.reranking import load_reranker
from rag.retrieval import Retriever
from rag.settings import DEFAULT_COLLECTION, AnswerSettings, ModelSettings, Settings
from rag.speaker import Speaker
from rag.store.generation import Collection
from rag.types import (
    Answer,
    Citation,
    Context,
    Done,
    Event,
    Hit,
    Prompt,
    Sources,
    Standalone,
    Timings,
    Token,
    Turn,
    Unsupported,
)
from rag.weighing import reads

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
        self.speaker = Speaker(model, settings, reads) if model else None
        self.settings = settings

    @property
    def model(self) -> LanguageModel | None:
        return self.speaker.model if self.speaker else None

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
        whole = self._whole(question, history, cancel)
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
        abstained = text.strip() == NOT_IN_DOCUMENTS
        model = self.model.info if self.model else None
        said = (question, text, tuple(citations), hits, abstained, model)
        behind = found.dropped, clock.context, DISPUTED in text, evidence.confidence, tuple(unsupported)
        yield Done(Answer(*said, clock.timings(), *behind, whole))

    def _whole(self, question: str, history: Sequence[Turn], cancel: threading.Event | None) -> str:
        """The question without need of the conversation before it."""
        if self.speaker:
            return self.speaker.standalone(question, history, cancel)
        return standalone(question, history)

    def _answer(
        self, question: str, hits: Hits, evidence: Evidence, clock: _Clock, cancel: threading.Event | None
    ) -> Iterator[Piece]:
        """Text and footnotes, in the order in which they are to be shown."""
        if evidence.confidence < self.settings.refusal_threshold:
            yield NOT_IN_DOCUMENTS
        elif self.speaker and self.speaker.leads():
            prompt = clock.read(*self.speaker.prompt(question, hits))
            said, reader = "", self.evidence.reranker
            with closing(clock.count(self.speaker.words(prompt.messages, cancel=cancel))) as words:
                for piece in footnoted(words, prompt.used_hits, evidence.sentences, reader, question):
                    said += piece if isinstance(piece, str) else ""
                    yield piece
            if cancel and cancel.is_set():
                return
            # a model that thinks until it may say no more leaves the quotes
            yield from dispute(said, evidence, hits) if said else quotes(evidence, hits)
        else:
            yield from (quoted := list(quotes(evidence, hits)))
            if self.speaker:
                yield from self._support(self.speaker, question, hits, quoted, clock, cancel)

    def _support(
        self,
        speaker: Speaker,
        question: str,
        hits: Hits,
        quoted: Sequence[Token | Citation],
        clock: _Clock,
        cancel: threading.Event | None,
    ) -> Iterator[str | Citation]:
        """What a weak model can add to the quotes. It reads them and what stands around them: few tokens."""
        citations = [piece for piece in quoted if isinstance(piece, Citation)]
        numbers = {citation.number for citation in citations}
        said = question + "".join(piece.text for piece in quoted if isinstance(piece, Token))
        prompt = clock.read(*speaker.prompt(question, excerpts(citations)))
        words = clock.count(speaker.words(prompt.messages, SUPPORTING_TOKENS, cancel))
        answer = next((citation.exact for citation in citations if citation.exact), "")
        yield from supported_only(words, hits, numbers, said, answer, self.evidence.reranker)


def window(answer: AnswerSettings, model: ModelSettings) -> int:
    """Tokens that prompt, thoughts and answer need together."""
    return answer.context_tokens + answer.answer_tokens + family_of(model.model).thought_tokens


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
        model = None
        if with_model:
            from rag.loader.load import open_model  # a tenth of a second that quotes alone do not need

            model = open_model(settings.model, window(settings.answer, settings.model), on_event)
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

    def read(self, prompt: Prompt, budget_tokens: int) -> Prompt:
        """Pass a prompt on, and note what its model is given to read."""
        self.context = Context(prompt.token_count, budget_tokens, prompt.used_hits, prompt.dropped_hits)
        return prompt

    def count(self, words: Generator[str, None, Usage]) -> Generator[str, None, None]:
        """Pass a model's stream on, and note what it cost, in pieces where it is closed before its end."""
        read, said = self.context.tokens if self.context else 0, 0
        try:
            while True:
                piece = next(words)
                said += 1
                yield piece
        except StopIteration as end:
            read, said = end.value.prompt_tokens, end.value.answer_tokens
        finally:
            words.close()
            self._timings = replace(self._timings, prompt_tokens=read, answer_tokens=said)

    def timings(self) -> Timings:
        return replace(self._timings, total_s=self._elapsed())

    def _elapsed(self) -> float:
        return time.perf_counter() - self._start
