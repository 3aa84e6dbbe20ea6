"""Everything that all tabs of the page share: indexes, the model, conversations, answers under way."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rag.engine import Engine, window
from rag.filters import Filters
from rag.first_run import GUIDE
from rag.loader.base import LanguageModel, Report
from rag.page.answering import Asking
from rag.page.conversations import Conversations, Exchange
from rag.page.models import Models, Open
from rag.page.reading_in import Intakes
from rag.page.saved import turn
from rag.page.shelf import Shelf
from rag.settings import DEFAULT_COLLECTION, ModelSettings, Settings
from rag.types import Done, Event, Timings, Turn


class Desk:
    """One a server, however many tabs there are and however often their scripts run."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        conversations: Conversations,
        open_model: Open | None = None,
        guide: Path = GUIDE,
    ) -> None:
        self.settings = settings
        self.conversations = conversations
        self.shelf = Shelf(root, settings)
        self.models = Models(settings.model, open_model or self._open_model)
        self.intakes = Intakes(self.shelf, settings)
        self.tokens_per_s: float | None = None
        self._lock = threading.Lock()
        self._answers: dict[int, Asking] = {}
        self._numbers = itertools.count(1)
        self.models.start()
        if not self.shelf.collection(DEFAULT_COLLECTION).exists():
            self.intakes.begin(DEFAULT_COLLECTION, [guide])  # the first questions are about it

    def ask(
        self,
        question: str,
        collection: str,
        conversation: int | None = None,
        replaces: int | None = None,
        filters: Filters | None = None,
    ) -> Asking:
        """Begin to answer, as what comes next in a conversation; None begins one.

        With `replaces`, the number of an exchange, its answer is given once more.
        """
        history = self._history(conversation, replaces)

        def answer(cancel: threading.Event) -> Iterator[Event]:
            yield from self._answer(question, collection, history, filters, cancel)

        def keep(record: dict[str, Any]) -> Exchange:
            if replaces is not None:
                return self.conversations.replace_answer(replaces, record)
            if conversation is None:
                return self.conversations.start(collection, question, record)
            return self.conversations.append(conversation, question, record)

        asking = Asking(next(self._numbers), question, answer, keep, replaces)
        with self._lock:
            self._answers = {n: each for n, each in self._answers.items() if not each.said.finished}
            self._answers[asking.number] = asking
        return asking

    def asking(self, number: int) -> Asking | None:
        """An answer under way, for a page that was loaded anew; None once it is over."""
        return self._answers.get(number)

    def _history(self, conversation: int | None, before: int | None) -> list[Turn]:
        if conversation is None:
            return []
        exchanges = self.conversations.exchanges(conversation)
        return [turn(each.answer) for each in exchanges if before is None or each.id < before]

    def _answer(
        self,
        question: str,
        collection: str,
        history: Sequence[Turn],
        filters: Filters | None,
        cancel: threading.Event,
    ) -> Iterator[Event]:
        self._await_first(collection, cancel)
        with self.shelf.reading(collection) as retriever, self.models.using() as model:
            engine = Engine(retriever, self.shelf.evidence, model, self.settings.answer)
            for event in engine.ask(question, cancel, filters, history):
                yield event
                if isinstance(event, Done):
                    self._note_speed(event.answer.timings)

    def _await_first(self, collection: str, cancel: threading.Event) -> None:
        """Wait for what is being read into a collection that has nothing yet."""
        while (run := self.intakes.latest(collection)) and not run.over and not cancel.is_set():
            if self.shelf.collection(collection).exists():
                return
            time.sleep(0.05)

    def _note_speed(self, timings: Timings) -> None:
        spent = timings.total_s - timings.retrieval_s
        if timings.answer_tokens > 1 and spent > 0:
            self.tokens_per_s = timings.answer_tokens / spent

    def _open_model(self, settings: ModelSettings, report: Report) -> LanguageModel:
        from rag.loader.load import open_model

        return open_model(settings, window(self.settings.answer, settings), report)
