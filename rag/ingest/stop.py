"""Ctrl-C in two steps: the first asks to finish in good order, the second ends at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Tells a long task that the user wants it to end.

    Outside `held()` Ctrl-C is a KeyboardInterrupt as ever; inside, the first one only sets `asked`,
    so that what must not be torn apart is not. Without `listening()` nothing is ever asked.
    `on_first` runs within the signal handler.
    """

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        self._on_first = on_first
        self.asked = False
        self.insisted = False
        self._held = False

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Take over Ctrl-C; only the main thread may."""
        before = signal.signal(signal.SIGINT, self._heard)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the first Ctrl-C wait for `asked` to be looked at."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _heard(self, signal_number: int, frame: FrameType | None) -> None:
        self.asked, self.insisted = True, self.asked
        if not self.insisted:
            self._on_first()
        if self.insisted or not self._held:
            raise KeyboardInterrupt
