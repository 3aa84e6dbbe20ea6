"""What a safetensors file says of itself: its header, without a tensor's bytes.

Format: 8 bytes with the header's length (little-endian), the header as JSON (name -> dtype, shape, offsets),
then the tensors one after the other without gaps (huggingface/safetensors, README).
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from math import prod
from typing import Any

from rag.loader.model.files import DOWNLOAD_AGAIN, Files, amount, lfs_pointer
from rag.loader.records import Problem, Shard, Tensor

LONGEST_HEADER = 100_000_000
"""Bytes; the limit that the safetensors library itself sets."""
FIRST_READ = 1 << 17
"""Bytes; holds the header of most shards, so that a remote one costs a single request."""

# fmt: off
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E8M0": 8,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}
NOT_WEIGHTS = {
    b"PK\x03\x04": "it is a pickle under another name", b"\x80\x02": "it is a pickle under another name",
    b"GGUF": "it is a GGUF file under another name", b"<!DOCTYPE": "it is a web page, not weights",
    b"<html": "it is a web page, not weights", b"<?xml": "it is a server's error message, not weights",
}
# fmt: on


def read_shard(files: Files, name: str, size: int) -> tuple[Shard, tuple[Tensor, ...], Problem | None]:
    """A file's tensors as its header names them, and what is wrong with the file.

    A truncated file still tells its tensors where its header is whole.
    """
    tensors: tuple[Tensor, ...] = ()
    try:
        header, begin = _header(files, name, size)
        tensors = _tensors(header, name, begin)
        _check_end(name, size, max((t.offset + t.bytes for t in tensors), default=begin))
        problem = None
    except _Damaged as damage:
        problem = damage.problem
    return Shard(name, size, len(tensors), problem.message if problem else None), tensors, problem


class _Damaged(Exception):
    def __init__(self, kind: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.problem = Problem(kind, message, fix)


def _damaged(kind: str, name: str, message: str) -> _Damaged:
    return _Damaged(kind, message, DOWNLOAD_AGAIN.format(name=name))


def _header(files: Files, name: str, size: int) -> tuple[dict[str, Any], int]:
    """The header, and where in the file the tensors begin."""
    if size == 0:
        raise _damaged("shard_empty", name, f"{name} is empty: it has 0 bytes")
    try:
        start = files.read(name, 0, min(size, FIRST_READ))
    except OSError as error:
        raise _Damaged("unreadable", f"{name} cannot be read: {error}", "Check its permissions.") from error
    if pointer := lfs_pointer(name, start):
        raise _Damaged(pointer.kind, pointer.message, pointer.fix)
    for magic, what in NOT_WEIGHTS.items():
        if start.startswith(magic):
            raise _damaged("header_damaged", name, f"{name} is no safetensors file: {what}")
    if size < 8:
        raise _damaged("shard_truncated", name, f"{name} has only {size} bytes, fewer than any header")
    (length,) = struct.unpack("<Q", start[:8])
    if not 2 <= length <= LONGEST_HEADER:
        fault = f"{name} is no safetensors file: its first bytes give no possible length of a header"
        raise _damaged("header_damaged", name, fault)
    if 8 + length > size:
        raise _damaged(
            "shard_truncated",
            name,
            f"{name} ends within its header: it has {size:,} bytes of at least {8 + length:,}",
        )
    raw = start[8 : 8 + length]
    if len(raw) < length:
        raw += files.read(name, 8 + len(raw), length - len(raw))
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _damaged(
            "header_damaged", name, f"{name} has a damaged header: it is not valid JSON"
        ) from error
    if not isinstance(header, dict):
        raise _damaged("header_damaged", name, f"{name} has a damaged header: it names no tensors")
    return header, 8 + length


def _tensors(header: dict[str, Any], name: str, begin: int) -> tuple[Tensor, ...]:
    found = [_tensor(key, entry, name, begin) for key, entry in header.items() if key != "__metadata__"]
    found.sort(key=lambda tensor: (tensor.offset, tensor.bytes))
    if found and found[0].offset != begin:
        raise _damaged(
            "header_damaged", name, f"{name} has a damaged header: {found[0].name} begins too late"
        )
    for before, after in pairwise(found):
        if before.offset + before.bytes != after.offset:
            raise _damaged(
                "header_damaged",
                name,
                f"{name} has a damaged header: {after.name} does not begin where {before.name} ends",
            )
    return tuple(found)


def _tensor(key: str, entry: Any, shard: str, begin: int) -> Tensor:
    if isinstance(entry, dict) and entry.get("dtype") not in BITS:
        fault = f"{key} is of the unknown type {entry.get('dtype')!r}"
        raise _damaged("header_damaged", shard, f"{shard} has a damaged header: {fault}")
    try:
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        expected = prod(shape) * BITS[dtype]
        if any(type(number) is not int for number in (*shape, start, end)):
            raise TypeError("a length is no whole number")
        whole = expected == (end - start) * 8 and start >= 0 and all(length >= 0 for length in shape)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(
            "header_damaged", shard, f"{shard} has a damaged header at {key}: {error!r}"
        ) from error
    if not whole:
        raise _damaged(
            "header_damaged",
            shard,
            f"{shard} has a damaged header: {key} is {dtype} {list(shape)}, "
            f"which takes {expected // 8:,} bytes, and the header gives it {end - start:,}",
        )
    return Tensor(key, dtype, shape, end - start, shard, begin + start)


def _check_end(name: str, size: int, end: int) -> None:
    if size < end:
        raise _damaged(
            "shard_truncated",
            name,
            f"{name} is cut short: it has {size:,} bytes of {end:,}, so {amount(end - size)} are missing",
        )
    if size > end:
        raise _damaged(
            "header_damaged",
            name,
            f"{name} has {size - end:,} bytes more than its header describes ({size:,} instead of {end:,})",
        )
