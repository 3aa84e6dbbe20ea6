"""A question that is being answered in a thread of its own, followed by as many readers as there are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rag.errors import RagError, unforeseen
from rag.page.conversations import Exchange
from rag.page.saved import saved
from rag.types import Done, Event, Hit, Sources, Standalone, Token

LOOK_EVERY_S = 0.04
"""Readers are told of changes no more often: 25 times a second is as quick as anybody reads."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer as far as it has come; `bold` are ranges of `text`, `searched` tells that `hits` are there.

    `error` ends it, as does `finished`: then the answer is kept, as `exchange`.
    """

    standalone: str = ""
    searched: bool = False
    hits: tuple[Hit, ...] = ()
    text: str = ""
    bold: tuple[tuple[int, int], ...] = ()
    finished: bool = False
    exchange: Exchange | None = None
    error: RagError | None = None


Ask = Callable[[threading.Event], Iterable[Event]]
"""Begins an answer that ends soon after the event is set."""
Keep = Callable[[dict[str, Any]], Exchange]
"""Stores the record of an answer."""


class Asking:
    """A question, asked at once, under a number of the server's; its answer is kept, whoever follows it.

    A page that is reloaded, or a button that is pressed, leaves it running; `stop` ends it within a token,
    and keeps what was said until then.
    """

    def __init__(self, number: int, question: str, ask: Ask, keep: Keep, replaces: int | None = None) -> None:
        self.number = number
        self.question = question
        self.replaces = replaces
        self._ask, self._keep = ask, keep
        self._cancel = threading.Event()
        self._changed = threading.Condition()
        self._said = Said()
        threading.Thread(target=self._answer, daemon=True, name="answer").start()

    @property
    def said(self) -> Said:
        return self._said

    def stop(self) -> None:
        self._cancel.set()

    def follow(self) -> Iterator[Said]:
        """What was said, whenever it has changed, until the end."""
        yield (shown := self._said)
        while not shown.finished:
            time.sleep(LOOK_EVERY_S)
            yield (shown := self._after(shown))

    def _after(self, shown: Said) -> Said:
        with self._changed:
            self._changed.wait_for(lambda: self._said is not shown)
            return self._said

    def _answer(self) -> None:
        try:
            for event in self._ask(self._cancel):
                self._take(event)
        except RagError as error:
            self._say(finished=True, error=error)
        except Exception as error:  # else the page would wait for ever
            self._say(finished=True, error=unforeseen(error))
            raise

    def _take(self, event: Event) -> None:
        said = self._said
        match event:
            case Standalone(whole):
                self._say(standalone=whole)
            case Sources(hits):
                self._say(searched=True, hits=hits)
            case Token(text, exact):
                place = (len(said.text), len(said.text) + len(text))
                self._say(text=said.text + text, bold=(*said.bold, place) if exact else said.bold)
            case Done(answer):
                self._say(finished=True, exchange=self._keep(saved(answer, said.bold)))

    def _say(self, **changes: Any) -> None:
        with self._changed:
            self._said = replace(self._said, **changes)
            self._changed.notify_all()
