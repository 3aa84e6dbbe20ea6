"""The head of a GGUF file: metadata and the list of tensors (format: ggml's docs/gguf.md)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from rag.errors import ModelLoadFailed
from rag.loader.model.files import Files, LocalFiles
from rag.loader.records import Tensor

MAGIC = b"GGUF"
CONTROL_TOKEN = 3
"""`tokenizer.ggml.token_type` of markers such as <|im_end|>."""

# fmt: off
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0",
}
TENSOR_TYPES = {  # ggml.h: enum ggml_type -> name, elements of a block, bytes of a block
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# fmt: on
STRING, ARRAY = 8, 9
CHUNK = 1 << 20
LONGEST_HEADER = 1 << 28
"""Bytes; real ones have up to about 20 MB. A damaged length must not have a whole file read."""
LONG_ARRAY = 4096
"""Strings; longer lists are a vocabulary, which an inspection counts and does not keep."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A list of strings that was passed over: only how many there are."""

    count: int


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the tensors' bytes; `end` is where the last tensor ends, in bytes of the file."""

    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    end: int


def read_metadata(path: Path) -> dict[str, Any]:
    """All key-value pairs; arrays are tuples or lists. Raises ModelLoadFailed when it is no whole header."""
    try:
        return _Reader.of(LocalFiles(path.parent), path.name, path.stat().st_size).metadata()
    except (OSError, ValueError, KeyError, OverflowError, struct.error) as error:
        raise ModelLoadFailed(
            f"{path} is not a readable GGUF file ({error})", "Download the file again, and compare its size."
        ) from error


def read_header(files: Files, name: str, size: int) -> Header:
    """Metadata without the vocabulary (see Counted), and all tensors. Raises ValueError, OSError.

    Reads the file from its beginning only as far as the header goes.
    """
    reader = _Reader.of(files, name, size, keep_long=False)
    try:
        metadata = reader.metadata()
        return reader.tensors(name, metadata)
    except KeyError as error:
        raise ValueError(f"a value of the unknown kind {error}") from error
    except (OverflowError, struct.error) as error:
        raise ValueError(f"its header makes no sense ({error})") from error


def quantization(metadata: dict[str, Any]) -> str:
    """The file's own name for its quantization, as in "Q4_K_M"; "unknown" where it has none."""
    label = metadata.get("general.file_type")
    return FILE_TYPES.get(label, "unknown") if isinstance(label, int) else "unknown"


def context_length(metadata: dict[str, Any]) -> int | None:
    """The longest context, in tokens, that the model was trained for."""
    length = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    return length if isinstance(length, int) else None


def control_tokens(metadata: dict[str, Any]) -> list[str]:
    """The texts that llama.cpp would read as control tokens."""
    tokens = metadata.get("tokenizer.ggml.tokens", ())
    kinds = metadata.get("tokenizer.ggml.token_type", ())
    return [token for token, kind in zip(tokens, kinds) if kind == CONTROL_TOKEN and len(token) > 1]


class _Reader:
    """Walks through a file whose bytes are fetched as they are needed, a chunk at a time."""

    def __init__(self, read: Callable[[int, int], bytes], size: int, keep_long: bool) -> None:
        self._read = read
        self._size = size
        self._keep_long = keep_long
        self._data = bytearray()
        self._at = 0
        self._count = 0

    @classmethod
    def of(cls, files: Files, name: str, size: int, keep_long: bool = True) -> _Reader:
        return cls(lambda start, length: files.read(name, start, length), size, keep_long)

    def metadata(self) -> dict[str, Any]:
        self._need(min(self._size, 24))
        if self._data[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        version, self._count, pairs = self._unpack("IQQ")
        if version and not version & 0xFFFF:
            raise ValueError("it is written for big-endian machines")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not supported")
        return {self._string(): self._value(self._unpack("I")[0]) for _ in range(pairs)}

    def tensors(self, name: str, metadata: dict[str, Any]) -> Header:
        infos = [self._info() for _ in range(self._count)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"its alignment is {alignment!r}")
        begin = self._at + -self._at % alignment
        tensors = [
            Tensor(key, kind, shape, bytes_, name, begin + offset)
            for key, kind, shape, bytes_, offset in infos
        ]
        return Header(metadata, tuple(tensors), max((t.offset + t.bytes for t in tensors), default=begin))

    def _info(self) -> tuple[str, str, tuple[int, ...], int, int]:
        name = self._string()
        (dimensions,) = self._unpack("I")
        if dimensions > 8:
            raise ValueError(f"{name} has {dimensions} dimensions")
        *lengths, kind, offset = self._unpack(f"{dimensions}QIQ")
        if kind not in TENSOR_TYPES:
            raise ValueError(f"{name} is of the unknown tensor type {kind}")
        label, block, block_bytes = TENSOR_TYPES[kind]
        return name, label, tuple(reversed(lengths)), prod(lengths) // block * block_bytes, offset

    def _need(self, length: int) -> None:
        missing = self._at + length - len(self._data)
        if missing <= 0:
            return
        if self._at + length > self._size:
            raise ValueError("the file ends within its header")
        if self._at + length > LONGEST_HEADER:
            raise ValueError("its header is longer than that of any real file")
        while missing > 0:
            more = self._read(len(self._data), max(missing, CHUNK))
            if not more:
                raise ValueError("the file ends within its header")
            self._data += more
            missing -= len(more)

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        length = struct.calcsize("<" + layout)
        self._need(length)
        values = struct.unpack_from("<" + layout, self._data, self._at)
        self._at += length
        return values

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        self._need(length)
        self._at += length
        return self._data[self._at - length : self._at].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._unpack(SCALARS[kind])[0]
        inner, count = self._unpack("IQ")
        if inner == ARRAY:  # the format allows it, and no model has any
            raise ValueError("its header makes no sense (lists within lists)")
        if count > self._size - self._at:
            raise ValueError("the file ends within its header")
        if inner in SCALARS:
            return self._unpack(f"{count}{SCALARS[inner]}")
        if inner == STRING and count > LONG_ARRAY and not self._keep_long:
            return self._pass_over(count)
        return [self._value(inner) for _ in range(count)]

    def _pass_over(self, count: int) -> Counted:
        unpack = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if self._at + 8 > len(self._data):
                self._need(8)
            self._at += 8 + unpack(self._data, self._at)[0]
        self._need(0)
        return Counted(count)
