"""The metadata at the head of a GGUF file (format: ggml's docs/gguf.md)."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from rag.errors import ModelLoadFailed

MAGIC = b"GGUF"
CONTROL_TOKEN = 3
"""`tokenizer.ggml.token_type` of markers such as <|im_end|>."""

# fmt: off
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# fmt: on
STRING, ARRAY = 8, 9


def read_metadata(path: Path) -> dict[str, Any]:
    """All key-value pairs; arrays are tuples or lists. Raises ModelLoadFailed when it is no whole header."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).metadata()
    except (OSError, ValueError, KeyError, OverflowError, struct.error) as error:
        raise ModelLoadFailed(
            f"{path} is not a readable GGUF file ({error})", "Download the file again, and compare its size."
        ) from error


def quantization(metadata: dict[str, Any]) -> str:
    """The file's own name for its quantization, as in "Q4_K_M"; "unknown" where it has none."""
    return FILE_TYPES.get(metadata.get("general.file_type", -1), "unknown")


def context_length(metadata: dict[str, Any]) -> int | None:
    """The longest context, in tokens, that the model was trained for."""
    return metadata.get(f"{metadata.get('general.architecture')}.context_length")


def control_tokens(metadata: dict[str, Any]) -> list[str]:
    """The texts that llama.cpp would read as control tokens."""
    tokens = metadata.get("tokenizer.ggml.tokens", ())
    kinds = metadata.get("tokenizer.ggml.token_type", ())
    return [token for token, kind in zip(tokens, kinds) if kind == CONTROL_TOKEN and len(token) > 1]


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def metadata(self) -> dict[str, Any]:
        if self._data[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        version, _tensors, pairs = self._unpack("IQQ")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not supported")
        return {self._string(): self._value(self._unpack("I")[0]) for _ in range(pairs)}

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._data, self._at)
        self._at += struct.calcsize("<" + layout)
        return values

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        if length > len(self._data) - self._at:
            raise ValueError("the file ends within its header")
        self._at += length
        return self._data[self._at - length : self._at].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._unpack(SCALARS[kind])[0]
        inner, count = self._unpack("IQ")
        if count > len(self._data) - self._at:
            raise ValueError("the file ends within its header")
        if inner in SCALARS:
            return self._unpack(f"{count}{SCALARS[inner]}")
        return [self._value(inner) for _ in range(count)]
