"""The measuring process: prints {"bandwidth", "matmul"} as one line of JSON, then ends.

A process of its own, so that torch is neither imported into the program nor able to take it down.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rag.cores import usable_cores
from rag.loader.machine.limits import available_bytes

DTYPES = ("float32", "float16", "bfloat16")
TOKENS, WIDTH = 256, 2048
"""A prompt's rows times a layer's square weights: 2.1 billion operations."""

BUFFER_BYTES = 256 << 20
"""Several times what a desktop's or a server's caches hold; less where memory is short."""

SECONDS_EACH = 0.2
MAX_RUNS = 20


def main() -> None:
    result = {"bandwidth": bandwidth(), "matmul": {} if "--without-torch" in sys.argv else matmul()}
    print(json.dumps(result))  # the result, on standard output


def fastest(work: Callable[[], Any], budget_s: float = SECONDS_EACH) -> float:
    """Seconds of the quickest run after a first one: another program can only make a run slower."""
    work()
    times: list[float] = []
    while len(times) < MAX_RUNS and (sum(times) < budget_s or len(times) < 2):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def matmul() -> dict[str, float]:
    """Floating-point operations a second of a linear layer, by dtype; empty without a working torch."""
    try:
        import torch
    except Exception as error:  # a broken torch fails in many ways
        print(f"torch cannot be imported: {error}", file=sys.stderr)
        return {}
    torch.set_num_threads(usable_cores())
    speeds = {}
    for name in DTYPES:
        rows = torch.ones(TOKENS, WIDTH, dtype=getattr(torch, name))
        weights = torch.ones(WIDTH, WIDTH, dtype=getattr(torch, name))
        try:
            with torch.inference_mode():
                seconds = fastest(lambda r=rows, w=weights: torch.nn.functional.linear(r, w))  # type: ignore[misc]
        except RuntimeError as error:  # a dtype that this processor's build does not multiply
            print(f"{name}: {error}", file=sys.stderr)
            continue
        speeds[name] = 2 * TOKENS * WIDTH * WIDTH / seconds
    return speeds


def bandwidth() -> float:
    """Bytes a second that all usable cores together read from memory."""
    cores = usable_cores()
    size = max(1 << 20, min(BUFFER_BYTES, available_bytes() // 4)) // (16 * cores) * (16 * cores)
    with ThreadPoolExecutor(cores) as pool:
        try:
            import numpy as np
        except Exception:  # missing or broken; then copying has to do
            return _copied(size, cores, pool)
        parts = np.array_split(np.ones(size // 8, np.int64), cores)
        # numpy lets other threads run meanwhile
        return size / fastest(lambda: list(pool.map(np.sum, parts)), 2 * SECONDS_EACH)


def _copied(size: int, cores: int, pool: ThreadPoolExecutor) -> float:
    """A copy reads and writes each byte; large ones pass the caches by, so each byte counts twice."""
    half, part = size // 2, size // 2 // cores
    buffer = (ctypes.c_char * size)()
    begin = ctypes.addressof(buffer)

    def copy(number: int) -> None:
        ctypes.memmove(begin + number * part, begin + half + number * part, part)

    return 2 * half / fastest(lambda: list(pool.map(copy, range(cores))))


if __name__ == "__main__":
    main()
