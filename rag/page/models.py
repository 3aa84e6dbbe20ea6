"""The one language model of all tabs, and how another takes its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rag.errors import ModelLoadFailed, RagError, unforeseen
from rag.loader.base import LanguageModel, Report
from rag.loader.progress import LoadState
from rag.settings import ModelSettings
from rag.types import ModelInfo

Open = Callable[[ModelSettings, Report], LanguageModel]
"""Begins to load a model, and returns at once; see `rag.loader.load.open_model`."""
STOPPED = "You stopped it"
FIRST_WAIT_S = 20.0
"""An answer waits so long for the first model; then the quotes have to do."""


@dataclass(slots=True)
class Load:
    """A model that is being loaded, or failed to be: how far it is, and what went wrong on the way."""

    settings: ModelSettings
    state: LoadState = field(default_factory=LoadState)
    setbacks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: RagError | None = None
    seconds: float | None = None
    model: LanguageModel | None = None
    """Once there is one to be closed."""
    given_up: bool = False

    def take(self, event: dict[str, Any]) -> None:
        self.state.take(event)
        match event.get("event"):
            case "rung_failed":
                self.setbacks.append(str(event.get("message", "")))
            case "note":
                self.notes.append(str(event.get("message", "")))
            case "waiting":
                self.notes.append(str(event.get("reason", "")))


@dataclass(slots=True)
class _Held:
    model: LanguageModel
    settings: ModelSettings
    load: Load
    users: int = 0
    leaving: bool = False


class Models:
    """Loads a model when it is first wanted; another one takes its place only once it answers.

    Where both do not fit, the first can be let go before; should the second fail, the first is loaded again.
    """

    def __init__(self, settings: ModelSettings, open_model: Open) -> None:
        self._open_model = open_model
        self._changed = threading.Condition(threading.RLock())
        self._first = settings
        self._held: _Held | None = None
        self.load: Load | None = None
        self.failed: Load | None = None

    @property
    def settings(self) -> ModelSettings:
        """Those of the model that answers, or will once it is loaded."""
        return self._held.settings if self._held else self._first

    @property
    def info(self) -> ModelInfo | None:
        """The model that answers now."""
        return self._held.model.info if self._held else None

    @property
    def loaded(self) -> Any:
        """What loading it came to, see `rag.loader.process.attempt.Loaded`; None where that is not known."""
        return getattr(self._held.model, "loaded", None) if self._held else None

    def resident_bytes(self) -> int:
        """Memory of the model that answers now; 0 where it has no process here."""
        count = getattr(self._held.model, "resident_bytes", None) if self._held else None
        return count() if count else 0

    def start(self) -> None:
        """Begin to load the first model, unless that was done."""
        with self._changed:
            if self._held is None and self.load is None and self.failed is None:
                self._begin(self._first, room=False)

    def choose(self, settings: ModelSettings, room: bool = False) -> bool:
        """Begin to load another model; with `room` the one that answers now is let go first.

        False where one is being loaded already. Failures are told by `failed`.
        """
        with self._changed:
            if self.load:
                return False
            self._begin(settings, room)
            return True

    def give_up(self) -> None:
        """Stop loading; what answered before goes on, or comes back."""
        with self._changed:
            if load := self.load:
                load.given_up = True
            self._changed.notify_all()
        if load and load.model:
            load.model.close()

    def forget_failure(self) -> None:
        """What failed was seen; without a model it is kept, since another try would fail, too."""
        with self._changed:
            self.failed = None if self._held else self.failed

    @contextmanager
    def using(self) -> Iterator[LanguageModel | None]:
        """The model that answers now, which stays as long as it is used; None where none can be had."""
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self._held or not self.load, FIRST_WAIT_S)
            held = self._held
            if held:
                held.users += 1
        try:
            yield held.model if held else None
        finally:
            if held:
                with self._changed:
                    held.users -= 1
                    self._close_if_done(held)

    def close(self) -> None:
        """End the model's process."""
        with self._changed:
            self._let_go()

    def _begin(self, settings: ModelSettings, room: bool) -> None:
        self.load, self.failed = Load(settings), None
        arguments = (self.load, self._held.settings if room and self._held else None)
        threading.Thread(target=self._replace, args=arguments, daemon=True, name="model").start()

    def _replace(self, load: Load, before: ModelSettings | None) -> None:
        """Load a model and let it answer; `before` is the one that makes room for it, and comes back."""
        if before and not self._room(load):
            return
        back = Load(before) if before else None
        if not self._loads(load, back) and back:
            self._loads(back)

    def _room(self, load: Load) -> bool:
        """Let the model go that answers, once nobody uses it; not if the load is stopped before."""
        with self._changed:
            leaving = self._let_go()
            self._changed.wait_for(lambda: not leaving or not leaving.users or load.given_up)
            if not leaving or not leaving.users:
                return True
            leaving.leaving, self._held = False, leaving
            load.error = ModelLoadFailed(STOPPED)
            self.load, self.failed = None, load
            self._changed.notify_all()
            return False

    def _loads(self, load: Load, back: Load | None = None) -> bool:
        """Whether the model answers now; `back` is what is loaded next otherwise."""
        try:
            self._take(load)
            return True
        except Exception as error:  # whatever it is, the page has to tell
            load.error = error if isinstance(error, RagError) else unforeseen(error)
            if load.given_up:
                load.error = ModelLoadFailed(STOPPED)
            with self._changed:
                if self.failed:  # this was the one before, which should have come back
                    self.failed.setbacks.append(f"{load.settings.model}: {load.error.message}")
                self.load, self.failed = back, self.failed or load
                self._changed.notify_all()
            return False

    def _take(self, load: Load) -> None:
        began = time.monotonic()
        model = self._open_model(load.settings, load.take)
        try:
            load.model = model
            if not load.given_up and (wait := getattr(model, "wait_ready", None)):
                wait()
            load.seconds = time.monotonic() - began
            with self._changed:
                if load.given_up:
                    raise ModelLoadFailed(STOPPED)
                self._let_go()
                self._held, self.load = _Held(model, load.settings, load), None
                self._changed.notify_all()
        except BaseException:
            model.close()
            raise

    def _let_go(self) -> _Held | None:
        held, self._held = self._held, None
        if held:
            held.leaving = True
            self._close_if_done(held)
        return held

    def _close_if_done(self, held: _Held) -> None:
        if held.leaving and not held.users:
            held.model.close()
            self._changed.notify_all()
