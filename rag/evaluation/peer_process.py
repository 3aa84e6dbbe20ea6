"""One side of the comparison at work: a process that prints JSON lines, watched while it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.child import explain_exit
from rag.console import clean_line
from rag.errors import EvaluationError

Line = dict[str, Any]
POLL_S, TELL_S = 0.1, 10.0
TAIL_LINES = 12
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUTF8": "1"}
"""No hub is asked, and threads that wait for each other sleep: where other programs run as well, torch's
would else spin in turns, and a peer would seem ten times as slow as it is."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a process printed, seconds from its start to its first line, its family's most resident bytes."""

    lines: tuple[Line, ...]
    first_line_s: float
    peak_bytes: int


def run(
    name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run one side to its end. What it writes to standard error goes into `log`. Raises EvaluationError."""
    variables = {**os.environ, **QUIET, **(environment or {})}
    start = time.perf_counter()
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=variables,
            encoding="utf-8",
        ) as process,
    ):
        assert process.stdout is not None
        memory = _Memory(process.pid)
        first, lines = 0.0, []
        try:
            for line in _told(name, records(process.stdout)):
                first = first or time.perf_counter() - start
                lines.append(line)
            status = process.wait()
        finally:  # Ctrl-C leaves nothing running
            process.kill()
            peak = memory.stop()
    if status or not lines:
        raise EvaluationError(
            f"{name} {explain_exit(status)}:\n{tail(log)}", f"All that it said is in {log}."
        )
    return Finished(tuple(lines), first, peak)


def records(lines: Iterable[str]) -> Iterator[Line]:
    """The JSON objects among the lines; what a library prints in between is passed over."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _told(name: str, lines: Iterable[Line]) -> Iterator[Line]:
    """Pass the lines on, saying now and then how many there were."""
    last = time.monotonic()
    print(clean_line(name), file=sys.stderr, flush=True)
    for count, line in enumerate(lines, start=1):
        if time.monotonic() - last >= TELL_S:
            print(clean_line(f"{name}: {count} done"), file=sys.stderr, flush=True)
            last = time.monotonic()
        yield line


def tail(log: Path) -> str:
    """The end of a log, without what a progress bar overwrote."""
    text = log.read_bytes().decode("utf-8", "replace") if log.exists() else ""
    told = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join([line for line in told if line][-TAIL_LINES:])


class _Memory:
    """Watches the resident memory of a process and its children from a thread."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._ended = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(POLL_S):
            self._peak = max(self._peak, _resident_bytes(self._pid))


def _resident_bytes(pid: int) -> int:
    import psutil

    try:
        process = psutil.Process(pid)
        return sum(member.memory_info().rss for member in [process, *process.children(recursive=True)])
    except psutil.Error:  # one of them has just ended
        return 0
