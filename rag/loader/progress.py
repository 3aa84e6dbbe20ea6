"""How far a model is on its way into memory: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from rag.console import clean_line
from rag.loader.units import size

LINE_EVERY_S = 5.0
STAGES = {
    **{"loading": "Loading", "tensor": "Loading", "requantizing": "Converting"},
    **{"downloading": "Downloading", "verifying": "Checking", "measuring": "Measuring"},
}
"""What the bar says while these events come."""


@contextmanager
def shown(stream: IO[str], on_terminal: bool, delay_s: float = 0.0) -> Iterator[View]:
    """Show what happens while a model loads on `stream`, which should be standard error.

    What is yielded is a `Report`, and can be hidden for the time in which something else is printed.

    In the first `delay_s` seconds nothing is drawn, so that what loads quickly stays silent; failures and
    notes are told at any time. Events may come from any thread, and after the end, when they are passed over.
    """
    view: View = _Bar(stream, delay_s) if on_terminal else _Lines(stream, delay_s)
    try:
        yield view
    finally:
        view.stop()


@dataclass
class LoadState:
    """What the events so far amount to, in words."""

    stage: str = "Starting"
    name: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    shard: str = ""
    tensor: str = ""
    resident: int = 0
    left: int = 0
    began: float = field(default_factory=time.monotonic)

    def take(self, event: dict[str, Any]) -> None:
        kind = event.get("event", "")
        if kind == "memory":
            self.resident, self.left = event.get("resident_bytes", 0), event.get("left_bytes", 0)
            return
        if kind == "trying":
            way = " ".join(filter(None, [event.get("engine"), event.get("quantization")]))
            self.stage, self.name, self.tensor, self.shard, self.done = "Starting", way, "", "", 0
        if kind not in STAGES:
            return
        if STAGES[kind] != self.stage:
            self.stage, self.total, self.rate, self.shard = STAGES[kind], 0, 0.0, ""
        self.name = event.get("name") or event.get("file") or self.name
        self.done = event.get("done_bytes", 0)
        self.total = event.get("total_bytes", self.total)
        self.rate = event.get("bytes_per_s", 0.0)
        self.resident = event.get("resident_bytes", self.resident)
        self.tensor = event.get("tensor", "")
        if "shard_number" in event:
            about = "about " if event.get("estimated") else ""
            self.shard = f"{about}shard {event['shard_number']}/{event['shards']}"

    @property
    def facts(self) -> str:
        amount = f"{size(self.done)} of {size(self.total)}" if self.done and self.total else ""
        rate = f"{size(self.rate)}/s" if self.rate else ""
        memory = f"{size(self.resident)} resident" if self.resident else ""
        left = f"{size(self.left)} left" if self.resident and self.left else ""
        return ", ".join(filter(None, [amount, rate, self.shard, memory, left, clean_line(self.tensor)]))

    @property
    def title(self) -> str:
        return clean_line(f"{self.stage} {self.name}".strip())


class View:
    """Takes events one at a time; `_draw` shows the state, `_say` a line that stays."""

    def __init__(self, delay_s: float) -> None:
        self._state = LoadState()
        self._from = time.monotonic() + delay_s
        self._lock = threading.Lock()
        self._ended = False
        self._hidden = False

    def __call__(self, event: dict[str, Any]) -> None:
        with self._lock:
            if self._ended:
                return
            self._state.take(event)
            for line in _lasting(event):
                self._say(clean_line(line))
            if time.monotonic() >= self._from and not self._hidden:
                self._draw(event)

    def hide(self, hidden: bool = True) -> None:
        """Draw nothing from now on, or draw again."""
        with self._lock:
            self._hidden = hidden
            if hidden:
                self._close()

    def stop(self) -> None:
        with self._lock:
            self._ended = True
            self._close()

    def _say(self, line: str) -> None:
        raise NotImplementedError

    def _draw(self, event: dict[str, Any]) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        """Nothing to take away."""


def _lasting(event: dict[str, Any]) -> Iterator[str]:
    """Lines for what the user has to know at any time; the last failure is the caller's to tell."""
    match event.get("event"):
        case "rung_failed":
            yield f"That way failed: {event.get('message', '')}"
            yield "Trying the next one."
        case "note":
            yield str(event.get("message", ""))
        case "waiting":
            yield f"Waiting: {event.get('reason', '')}"
        case "retrying":
            yield f"{event.get('reason', '')}; again in {event.get('seconds', 0):.0f} s"


class _Lines(View):
    def __init__(self, stream: IO[str], delay_s: float) -> None:
        super().__init__(delay_s)
        self._stream = stream
        self._last = 0.0
        self._title = ""

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _draw(self, event: dict[str, Any]) -> None:
        now = time.monotonic()
        if event.get("event") == "ready":
            if not self._title:  # nothing was said of it before
                return
            self._say(f"Ready after {now - self._state.began:.1f} s.")
        elif event.get("event") != "failed" and self._due(now):
            self._last, self._title = now, self._state.title
            self._say(": ".join(filter(None, [self._state.title, self._state.facts])))

    def _due(self, now: float) -> bool:
        """A line when something else begins, and every few seconds while it goes on."""
        return self._state.title != self._title or now - self._last >= LINE_EVERY_S


class _Bar(View):
    def __init__(self, stream: IO[str], delay_s: float) -> None:
        super().__init__(delay_s)
        self._stream = stream
        self._bar: Any = None  # made when it is first wanted: its library takes a tenth of a second
        self._task: Any = None

    def _say(self, line: str) -> None:
        self._made().console.print(line, markup=False, highlight=False)

    def _draw(self, event: dict[str, Any]) -> None:
        if event.get("event") in ("ready", "failed"):
            self._close()
            return
        bar, state = self._made(), self._state
        bar.start()  # does nothing when it runs already
        total = state.total if state.done and state.total else None
        bar.update(self._task, description=state.title, facts=state.facts, completed=state.done, total=total)

    def _close(self) -> None:
        if self._bar:
            self._bar.stop()

    def _made(self) -> Any:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
            from rich.table import Column

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", table_column=Column(no_wrap=True), markup=False),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True, ratio=1), markup=False),
            )
            # Not redirected: the answer goes to standard output, wherever that leads, and not into the bar.
            self._bar = Progress(
                *columns,
                console=Console(file=self._stream),
                transient=True,
                expand=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._bar.add_task("", total=None, facts="")
        return self._bar
