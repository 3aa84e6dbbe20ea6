"""Memory on GPUs while a model runs, and whether all memory has come back after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from rag.loader.machine.gpus import gpus
from rag.loader.units import size

SAMPLE_S = 0.25
"""nvidia-smi takes 20 to 100 ms of a core to answer."""
PATIENCE_S = 20.0
"""A driver frees the memory of a process that has ended within a second or two."""
SLACK_BYTES = 128 << 20
"""What a display or a driver's own bookkeeping may take meanwhile."""

Free = Callable[[], int]


def gpu_free() -> int:
    """Free bytes of all visible GPUs together; 0 where there is none."""
    return sum(card.free_bytes for card in gpus()[0])


class GpuWatch:
    """Follows the GPUs' free memory until it is left; `peak_bytes` is the most that was taken since `before`.

    What other programs take meanwhile counts too, as nvidia-smi tells no process's share in a container.
    """

    def __init__(self, before: int, free: Free = gpu_free) -> None:
        self.peak_bytes = 0
        self._before, self._free = before, free
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> GpuWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._before - self._free())
            if self._ended.wait(SAMPLE_S):
                return


def family(pid: int) -> set[int]:
    """A process and all below it."""
    import psutil

    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        return {pid}


def kept_back(
    pids: Collection[int], gpu_before: int | None, free: Free = gpu_free, patience_s: float = PATIENCE_S
) -> str:
    """What is still taken when the model's processes should have ended, in words; empty when nothing is.

    `gpu_before` are the bytes that were free on the GPUs before the model came, None where none was used.
    """
    deadline = time.monotonic() + patience_s
    while problem := _problem(pids, gpu_before, free):
        if time.monotonic() >= deadline:
            return f"{problem}, {patience_s:g} s after the end"
        time.sleep(0.1)
    return ""


def _problem(pids: Collection[int], gpu_before: int | None, free: Free) -> str:
    alive = [pid for pid in pids if _lives(pid)]
    if alive:
        return f"process {alive[0]} has not ended"
    missing = 0 if gpu_before is None else gpu_before - free()
    return f"{size(missing)} of GPU memory have not come back" if missing > SLACK_BYTES else ""


def _lives(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
