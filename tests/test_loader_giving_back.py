"""After a model is closed: its processes end and its memory comes back, or that is told."""

from __future__ import annotations

import subprocess
import sys
import time

from rag.loader.process import giving_back


def test_a_process_that_lives_on_is_told() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    kept = giving_back.kept_back([process.pid], None, patience_s=0.05)
    assert kept == f"process {process.pid} has not ended, 0.05 s after the end"
    process.communicate(b"\n")
    assert giving_back.kept_back([process.pid], None, patience_s=0.05) == ""


def test_gpu_memory_is_waited_for() -> None:
    free = iter([1_000_000_000, 2_000_000_000, 8_000_000_000])
    assert giving_back.kept_back([], 8_000_000_000, lambda: next(free), patience_s=5) == ""
    kept = giving_back.kept_back([], 8_000_000_000, lambda: 5_000_000_000, patience_s=0.05)
    assert kept.startswith("3.0 GB of GPU memory have not come back")


def test_the_most_memory_of_a_gpu_is_kept() -> None:
    free = [7_000_000_000, 3_000_000_000]
    with giving_back.GpuWatch(8_000_000_000, lambda: free.pop() if len(free) > 1 else free[0]) as watch:
        time.sleep(giving_back.SAMPLE_S * 1.5)
    assert watch.peak_bytes == 5_000_000_000
