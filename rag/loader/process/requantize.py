"""A GGUF file in a type that llama.cpp reads slowly here, kept once more in the cache in a faster one.

Finding the copy costs two looks at the disk. Making it needs the gguf package and numpy, and happens in a
process of its own: when the program is set up, or when somebody asks for it, but never before an answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from rag.child import Child, ChildGone
from rag.errors import ModelLoadFailed
from rag.loader.base import Report
from rag.loader.records import Machine, Tensor
from rag.places import cache_root

TARGETS = {"Q8_0": 8.5, "Q4_0": 4.5}
"""What can be made, with the bits of one weight, its share of the scales included."""

DEFAULT = "Q8_0"
"""Perplexity of the bundled model over 507 tokens of novels: 35.16 in Q4_1, 35.20 in Q8_0, 44.06 in Q4_0."""

# fmt: off
SPEED = {
    "Q8_0": (1.00, 1.00), "F16": (0.61, 0.80), "BF16": (0.62, 0.75),
    "Q4_0": (1.23, 1.45), "Q4_1": (0.61, 0.95), "Q5_0": (0.78, 0.80), "Q5_1": (0.49, 0.76),
    "IQ4_NL": (1.21, 1.38), "MXFP4": (1.21, 1.48), "Q2_K": (1.50, 1.64), "Q3_K": (1.44, 1.23),
    "Q4_K": (1.40, 1.67), "Q5_K": (1.52, 1.10), "Q6_K": (1.32, 1.22),
}
# fmt: on
"""Tokens a second of a type as a share of those of Q8_0: reading a prompt of 256, then writing 16.

Measured with xllamacpp 2026.10 (AVX2 code) on an AMD EPYC, one thread, tokens per second of processor time,
on a Llama of 162 million random weights (10 layers of 1,024 x 2,816): Q8_0 read 304 and wrote 104.
"""

SLOW_PREFILL = 0.65
"""Unasked only below: with Q8_0 the wait for the first word then shrinks by a third and more."""

AS_GOOD = ("Q4_1", "Q5_0", "Q5_1")
"""Types that lose nothing in Q8_0, so that nobody needs to be asked."""

AUTOMATIC_ELEMENTS = 400_000_000
"""Weights; about 25 million a second are rewritten, so that this takes 15 s, and the copy has 425 MB."""

SPARE_BYTES = 256 * 1024**2
PART = re.compile(r"-\d{5}-of-\d{5}$")


def cached(path: Path, target: str = DEFAULT) -> Path | None:
    """The copy of `path` in type `target`, when one was made of the file as it is now."""
    try:
        copy = _place(path, target)
    except OSError:  # the file itself is gone; who loads it says so
        return None
    return copy if copy.is_file() else None


def worth(tensors: Sequence[Tensor], machine: Machine) -> str | None:
    """The type into which a copy should be made unasked; None where that gains too little or costs too much.

    Only for files that take seconds to rewrite, whose copy fits into memory and on the disk, and on the kind
    of processor on which SPEED was measured.
    """
    elements = sum(tensor.elements for tensor in tensors)
    slow = sum(tensor.elements for tensor in tensors if _slow(tensor.dtype))
    if "avx2" not in machine.cpu_features or machine.gpus or len({tensor.shard for tensor in tensors}) != 1:
        return None
    if not elements or slow < elements / 2 or elements > AUTOMATIC_ELEMENTS:
        return None
    needed = size_after(tensors, DEFAULT) + SPARE_BYTES
    return DEFAULT if needed < min(machine.memory_available, machine.disk_free) else None


def size_after(tensors: Sequence[Tensor], target: str) -> int:
    """Bytes of all tensors once they are requantized, at most."""
    return sum(max(tensor.bytes, int(tensor.elements * TARGETS[target] / 8)) for tensor in tensors)


def make(path: Path, target: str = DEFAULT, report: Report = lambda event: None) -> Path:
    """Write the copy of `path` in type `target`, or find it; returns where it lies.

    `report` hears {"event": "requantizing", "name", "target", "tensor", "done_bytes", "total_bytes"}.
    Raises ModelLoadFailed when the file cannot be converted or written.
    """
    from filelock import FileLock  # brings asyncio, which every start of a model would wait for

    if target not in TARGETS:
        raise ModelLoadFailed(
            f"{path.name} cannot be requantized as {target}", f"Choose one of {', '.join(TARGETS)}."
        )
    if PART.search(path.stem):
        raise ModelLoadFailed(
            f"{path.name} is one of several parts, and those are not requantized",
            "Join them with `llama-gguf-split --merge`, or leave the file as it is.",
        )
    if copy := cached(path, target):
        return copy
    try:
        copy = _place(path, target)
        copy.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelLoadFailed(
            f"{path.name} cannot be requantized: {error.strerror or error}",
            "Check that the file and the cache folder can be read and written.",
        ) from error
    with FileLock(f"{copy}.lock"):
        if not copy.is_file():  # somebody else may have made it meanwhile
            _write(path, copy, target, report)
    return copy


def _write(path: Path, copy: Path, target: str, report: Report) -> None:
    with Child("rag.loader.process.requantize_child", [str(path), str(copy), target]) as child:
        try:
            while (message := child.receive() or {}) != {"done": True}:
                if "error" in message:
                    raise ModelLoadFailed(message["error"]["message"], message["error"]["fix"])
                report({"event": "requantizing", "name": path.stem, "target": target, **message})
        except ChildGone as gone:
            raise ModelLoadFailed(
                f"the process that requantizes {path.name} {gone.explanation}",
                "Close other programs, or use the file as it is (leave --quantization out).",
            ) from gone


def _slow(dtype: str) -> bool:
    prefill, decode = SPEED.get(dtype, (1.0, 1.0))
    return dtype in AS_GOOD and prefill < SLOW_PREFILL and decode <= 1


def _place(path: Path, target: str) -> Path:
    """Where the copy lies; another size or time of the original gives another place. Raises OSError."""
    whole = path.resolve()
    state = whole.stat()
    mark = f"{whole}|{state.st_size}|{state.st_mtime_ns}|{target}"
    digest = hashlib.sha256(mark.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return cache_root() / "requantized" / f"{path.stem}-{digest}.{target}.gguf"
