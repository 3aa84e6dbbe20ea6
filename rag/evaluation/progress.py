"""How far a long measurement is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import IO, Protocol, TypeVar

from rag.console import is_terminal

T = TypeVar("T", covariant=True)
LINE_SECONDS = 5.0
"""Where no person watches, a line this often."""


class _Countable(Iterable[T], Sized, Protocol[T]): ...


def counted(items: _Countable[T], what: str, out: IO[str] | None = None) -> Iterator[T]:
    """Pass the items on, saying now and then how many are done and how long the rest will take."""
    out = out or sys.stderr
    live = is_terminal(out)
    start = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= (0.2 if live else LINE_SECONDS):
            out.write(_line(what, done, len(items), now - start, live))
            out.flush()
            last = now
        yield item
    if last > start:
        out.write(_line(what, len(items), len(items), time.monotonic() - start, live) + "\n" * live)
        out.flush()


def _line(what: str, done: int, total: int, elapsed_s: float, live: bool) -> str:
    text = f"{what}: {done}/{total}"
    if 0 < done < total:
        text += f", {_duration(elapsed_s / done * (total - done))} left"
    return f"\r\x1b[K{text}" if live else f"{text}\n"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
