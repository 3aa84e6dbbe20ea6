"""How far an ingest is: one record, shown as a bar on a terminal and as a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """`stage` is "looking", "reading" or "publishing"; `chunks` are done, be they embedded or known.

    `share`, 0 to 1, is that of the files' bytes, which foretells the time left better than their number.
    `path` is the file that was finished just now, if one was, and `failure` why it could not be read.
    """

    stage: str
    files: int = 0
    files_total: int = 0
    chunks: int = 0
    share: float = 0.0
    path: str = ""
    failure: str = ""


Tell = Callable[[Progress], None]


@contextmanager
def shown(stream: IO[str], on_terminal: bool) -> Iterator[Tell]:
    """Show progress on `stream`, which should be standard error."""
    if not on_terminal:
        yield _Lines(stream).tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"))
    with RichProgress(*columns, console=Console(file=stream), transient=True) as bar:
        yield _Bar(bar).tell


class _Pace:
    """Rates since reading began."""

    def __init__(self) -> None:
        self._start: float | None = None

    def facts(self, now: Progress) -> str:
        if now.stage == "looking":
            return f"{now.files}/{now.files_total} files"
        self._start = self._start or time.monotonic()
        elapsed = time.monotonic() - self._start
        rate = f"{now.chunks / elapsed:.0f} chunks/s" if elapsed > 1 else ""
        left = f"{_clock(elapsed / now.share - elapsed)} left" if elapsed > 2 and now.share > 0.01 else ""
        counted = f"{now.files}/{now.files_total} files", f"{now.chunks} chunks", rate, left
        return ", ".join(filter(None, counted))


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar, self._pace = bar, _Pace()
        self._task = bar.add_task("looking", total=1.0, facts="")

    def tell(self, now: Progress) -> None:
        self._bar.update(self._task, completed=now.share, description=now.stage, facts=self._pace.facts(now))


class _Lines:
    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._pace = stream, _Pace()
        self._last = time.monotonic()

    def tell(self, now: Progress) -> None:
        facts = self._pace.facts(now)  # asked each time, so that it knows when reading began
        if time.monotonic() - self._last >= LINE_EVERY_S:
            self._last = time.monotonic()
            print(f"{now.stage}: {facts}", file=self._stream, flush=True)


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return (
        f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02}"
    )
