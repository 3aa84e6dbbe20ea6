"""The process that rewrites a GGUF file in another type, tensor by tensor; the only module that imports gguf.

Started by rag.loader.process.requantize as `python -m rag.loader.process.requantize_child FILE COPY TARGET`.
Messages out: {"tensor", "done_bytes", "total_bytes"} ..., {"done": true} or {"error": ...}

The header is copied byte by byte, so that no metadata is lost in translation; only `general.file_type` and
the tensors' types and offsets are written anew.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rag.child import Parent
from rag.errors import ModelLoadFailed, RagError
from rag.loader.base import Report

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

FILE_TYPES = {"Q8_0": 7, "Q4_0": 2}
"""`general.file_type` of each target (llama.h, enum llama_ftype)."""

CHUNK_ELEMENTS = 1 << 22
"""Weights that are float32 at a time: about 16 MB, and as much again for what numpy keeps beside them."""

SPARE_BYTES = 64 * 1024**2
INTEGERS = ("I8", "I16", "I32", "I64")

# Tensors that llama-quantize leaves as they are (llama.cpp, src/llama-quant.cpp).
KEPT = re.compile(
    r"_norm\.weight$|ffn_gate_inp|position_embd|token_types|ssm_conv1d|shortconv\.conv|time_mix_"
    r"|attn_rel_b|altup|laurel|per_layer_model_proj"
)
EMBEDDINGS = ("token_embd.weight", "output.weight")


def main() -> None:
    parent = Parent()
    file, copy, target = sys.argv[1:]
    try:
        rewrite(Path(file), Path(copy), target, parent.send)
    except RagError as error:
        parent.send(error.as_dict())
    except MemoryError:
        parent.send(_failed(Path(file), "memory ran out").as_dict())
    else:
        parent.send({"done": True})
    parent.receive()  # the parent ends this process; Python's own end could trip over the thread that listens


def rewrite(file: Path, copy: Path, target: str, report: Report) -> None:
    """Write `copy` aside, flush it, and give it its name. Raises ModelLoadFailed."""
    aside = copy.with_name(f"{copy.name}.{os.getpid()}")
    try:
        _write(file, aside, target, report)
        aside.replace(copy)
    except (RagError, MemoryError):
        raise
    except Exception as error:  # what a damaged file holds can make numpy and gguf raise anything
        raise _failed(file, getattr(error, "strerror", None) or error) from error
    finally:
        aside.unlink(missing_ok=True)


def new_type(tensor: ReaderTensor, target: str) -> str:
    """The type of a tensor in the copy: as llama-quantize decides, but embeddings keep 8 bits or more.

    Vectors, norms and small special tensors stay as they are, and so does what is not a multiple of a block.
    """
    old = tensor.tensor_type.name
    if len(tensor.shape) < 2 or not tensor.name.endswith("weight") or KEPT.search(tensor.name):
        return old
    if tensor.shape[0] % 32 or old in INTEGERS:
        return old
    return "Q8_0" if tensor.name in EMBEDDINGS else target


def _write(file: Path, aside: Path, target: str, report: Report) -> None:
    from gguf import GGUFReader

    reader = GGUFReader(file)
    if reader.byte_order != "I":
        raise ValueError("it is written for processors with the other byte order")
    if "split.count" in reader.fields:
        raise ValueError("it is one of several parts")
    tensors = sorted(reader.tensors, key=lambda tensor: tensor.data_offset)
    header, total = _header(reader, tensors, target)
    free = shutil.disk_usage(aside.parent).free
    if free < len(header) + total + SPARE_BYTES:
        raise _no_space(aside, len(header) + total, free)
    with aside.open("wb") as out:
        out.write(header)
        done = 0
        for tensor in tensors:
            report({"tensor": tensor.name, "done_bytes": done, "total_bytes": total})
            done += _write_tensor(out, tensor, new_type(tensor, target), reader.alignment)
        out.flush()
        os.fsync(out.fileno())


def _header(reader: GGUFReader, tensors: list[ReaderTensor], target: str) -> tuple[bytes, int]:
    """Everything before the first tensor's data, and how many bytes the data will take."""
    metadata = bytearray(reader.data[: min(tensor.field.offset for tensor in tensors)].tobytes())
    if file_type := reader.get_field("general.file_type"):
        at = file_type.offset + sum(int(part.nbytes) for part in file_type.parts[:-1])
        struct.pack_into("<I", metadata, at, FILE_TYPES[target])
    offset = 0
    for tensor in tensors:
        name, dims = tensor.field.parts[1].tobytes(), tensor.field.parts[3]
        kind = _kind(new_type(tensor, target))
        metadata += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dims)) + dims.tobytes()
        metadata += struct.pack("<IQ", kind, offset)
        offset += _padded(_bytes_of(tensor.n_elements, kind), reader.alignment)
    metadata += bytes(-len(metadata) % int(reader.alignment))
    return bytes(metadata), offset


def _write_tensor(out: IO[bytes], tensor: ReaderTensor, kind: str, alignment: int) -> int:
    written = 0
    for rows in _rows(tensor, kind):
        written += out.write(rows)
    padding = _padded(written, alignment) - written
    out.write(bytes(padding))
    return written + padding


def _rows(tensor: ReaderTensor, kind: str) -> Iterator[bytes]:
    """The tensor's data in its new type, some rows at a time."""
    from gguf import GGMLQuantizationType, quants

    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = max(1, CHUNK_ELEMENTS // int(tensor.shape[0]))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        if kind != tensor.tensor_type.name:
            weights = quants.dequantize(some, tensor.tensor_type)
            some = quants.quantize(weights, GGMLQuantizationType[kind])
        yield some.tobytes()


def _kind(name: str) -> int:
    from gguf import GGMLQuantizationType

    return int(GGMLQuantizationType[name])


def _bytes_of(elements: int, kind: int) -> int:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    return elements // block * size


def _padded(size: int, alignment: int) -> int:
    return size + -size % int(alignment)


def _no_space(aside: Path, needed: int, free: int) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"the copy needs {needed / 1e6:,.0f} MB in {aside.parent}, and {free / 1e6:,.0f} MB are free",
        "Free some space, or name another cache folder in FOOTNOTE_CACHE.",
    )


def _failed(file: Path, reason: Any) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"{file.name} cannot be requantized: {reason}",
        "Use the file as it is (leave --quantization out), or download it in the type that you want.",
    )


if __name__ == "__main__":
    main()
