"""Watching a worker from outside: the memory that it holds, its cap, and what is left for it."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rag.loader.machine.limits import available_bytes, tightest
from rag.loader.records import Limit, Plan

POLL_S = 0.02
"""Memory is looked at so often: a loader fills a gigabyte a second, so a cap is overrun by 20 MB at most."""

SERVING_POLL_S = 0.5
"""A model that is loaded grows slowly, and its user's processor is for answers."""

TELL_S = 0.2
"""What is left is looked at, and told, so often."""

STARVED_BYTES = 64_000_000
"""A load is ended while so much is left, two polls of the fastest loader, and not by the kernel: with less,
Linux was seen to take back pages of running programs and read them again for minutes before its OOM killer
came, and then to choose this program too, while the worker's memory was still being given back."""


@dataclass(slots=True)
class Sample:
    """Bytes at one moment: resident in all, of it private (anonymous), and still left for the worker."""

    resident: int = 0
    private: int = 0
    left: int = 0


class Watcher:
    """Follows one worker's memory in a thread until it ends; `peak` holds the highest figures seen.

    `over_cap(bytes)` is called once, when the cap that the plan sets is overrun. For llama.cpp the
    mapped weights count, which it reads for every token; elsewhere mapped pages are of no account.
    `starved(limit)` is called once, when a bound of the system leaves a load less than STARVED_BYTES.
    """

    def __init__(
        self,
        pid: int,
        plan: Plan,
        over_cap: Callable[[int], None],
        starved: Callable[[Limit], None],
        tell: Callable[[Sample], None],
    ) -> None:
        self._pid, self._plan = pid, plan
        self._over_cap, self._starved, self._tell = over_cap, starved, tell
        # Looking for children means looking at every process there is; vLLM alone starts any.
        self._memory = family_memory if plan.engine == "vllm" else memory_of
        self._ended = threading.Event()
        self._poll_s = POLL_S
        self._loading = True
        self.now = Sample(left=available_bytes())
        self.peak = Sample()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def slow_down(self) -> None:
        """Look less often: the model is loaded."""
        self._poll_s, self._loading = SERVING_POLL_S, False

    def stop(self) -> None:
        self._ended.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _watch(self) -> None:
        told = 0.0
        while not self._ended.wait(self._poll_s):
            sample = self.look()
            if sample is None:
                return
            if time.monotonic() - told >= TELL_S:
                told = time.monotonic()
                self.now.left = available_bytes()
                self._tell(self.now)
            if self._loading and (limit := tightest()).free_bytes < STARVED_BYTES:
                self._starved(limit)
                return
            cap = self._plan.max_memory_bytes
            counted = sample.resident if self._plan.engine == "llamacpp" else sample.private
            if cap and counted > cap:
                self._over_cap(counted)
                return

    def look(self) -> Sample | None:
        """Take a sample now; None once the worker is gone."""
        try:
            resident, private = self._memory(self._pid)
        except ProcessLookupError:
            return None
        if not resident:  # it has ended, and nobody has asked for its exit status yet
            return None
        self.now = Sample(resident, private, self.now.left)
        self.peak.resident = max(self.peak.resident, resident)
        self.peak.private = max(self.peak.private, private)
        return self.now


def family_memory(pid: int) -> tuple[int, int]:
    """Resident and private bytes of a process and its children. Raises ProcessLookupError."""
    import psutil

    resident, private = memory_of(pid)
    with contextlib.suppress(psutil.Error):
        for member in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(ProcessLookupError):
                more, own = memory_of(member.pid)
                resident, private = resident + more, private + own
    return resident, private


def memory_of(pid: int) -> tuple[int, int]:
    """Resident and private bytes of one process.

    Private is RssAnon + RssShmem of Linux's /proc/PID/status: what the kernel cannot take back; where the
    system does not tell them apart, all that is resident. Raises ProcessLookupError.
    """
    if sys.platform != "linux":
        import psutil

        try:
            resident = psutil.Process(pid).memory_info().rss
        except psutil.Error as error:
            raise ProcessLookupError(pid) from error
        return resident, resident
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ProcessLookupError(pid) from error
    kilobytes = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in text.splitlines())
        if name in ("RssAnon", "RssFile", "RssShmem")
    }
    private = kilobytes.get("RssAnon", 0) + kilobytes.get("RssShmem", 0)
    return (private + kilobytes.get("RssFile", 0)) * 1024, private * 1024
