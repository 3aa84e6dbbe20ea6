"""What one way to run a model needs of memory, figure by figure.

Must-have memory is anonymous: no file stands behind it, so only swap or another program's death makes
room for it (RssAnon + RssShmem of /proc/PID/status on Linux). Mapped file pages are counted apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rag.loader.model.architecture import Shape, shape_of
from rag.loader.planning.footprint import ENGINES, Way
from rag.loader.planning.offload import least_bytes
from rag.loader.records import ModelFacts, Need

SMALLEST_CONTEXT = 512
CONTEXT_STEP = 256


def estimate(
    facts: ModelFacts,
    engine: str,
    quantization: str = "none",
    dtype: str | None = None,
    device: str = "cpu",
    context_tokens: int = 2048,
    threads: int = 1,
    gpus: int = 1,
    resident_bytes: int | None = None,
) -> Need:
    """Memory that a model takes when it is run that way, in bytes; for several GPUs, of each.

    `quantization` is that of the weights in memory, as in Plan. `resident_bytes` says how much of the
    weights stays in memory with device "disk"; None leaves there only what cannot be moved out.
    `Need.rough` says in words what had to be assumed.
    """
    way = Way(engine, quantization, dtype, device, context_tokens, threads, gpus, resident_bytes)
    if device == "disk":
        way = replace(way, resident_bytes=max(resident_bytes or 0, least_bytes(facts, quantization, dtype)))
    shape = shape_of(facts.config)
    need = ENGINES[engine](facts, shape, way)
    return replace(need, rough=_rough(facts, shape))


def largest_context(facts: ModelFacts, available: int, wanted: int, **way: Any) -> int | None:
    """Longest context up to `wanted` tokens that fits into `available` bytes, None when not even 512 do.

    A shorter one than `wanted` is rounded down to a multiple of 256. `way` are estimate's other arguments.
    """

    def fits(tokens: int) -> bool:
        return estimate(facts, context_tokens=tokens, **way).peak <= available

    if fits(wanted):
        return wanted
    low, high = SMALLEST_CONTEXT // CONTEXT_STEP, (wanted - 1) // CONTEXT_STEP
    if high < low or not fits(low * CONTEXT_STEP):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * CONTEXT_STEP) else (low, middle - 1)
    return low * CONTEXT_STEP


def offload_budget(facts: ModelFacts, available: int, **way: Any) -> int | None:
    """Bytes of weights that may stay in memory with device "disk"; None when the rest alone is too much."""
    asked = {**way, "device": "disk", "resident_bytes": None}
    least = estimate(facts, **asked)
    room = available - (least.peak - least.weights)
    return room if room >= least_bytes(facts, asked.get("quantization", "none"), asked.get("dtype")) else None


def _rough(facts: ModelFacts, shape: Shape) -> str:
    unknown = list(shape.unknown)
    if not facts.tensors:
        unknown.append("tensors")
    return f"the model's files do not say its {', '.join(unknown)}" if unknown else ""
