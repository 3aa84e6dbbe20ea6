"""How large each tensor is once it is loaded: as stored, in another dtype, reduced, repacked."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from rag.loader.model.gguf import TENSOR_TYPES
from rag.loader.records import ModelFacts, Tensor

DTYPE_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}
STORED_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""bitsandbytes 4-bit with double quantization: two weights a byte, per block of 64 a scale in 8 bits, and per
256 of those a float32 (QLoRA, section 3)."""

GGUF_BYTES = {label: size / block for label, block, size in TENSOR_TYPES.values()}
"""Bytes per weight with scales."""

Role = Literal["embedding", "head", "expert", "router", "other"]
ROLES: tuple[tuple[Role, re.Pattern[str]], ...] = (
    ("embedding", re.compile(r"embed_tokens|wte\.|token_embd|word_embeddings")),
    ("head", re.compile(r"(^|\.)lm_head\.|^output\.weight|embed_out\.")),
    ("expert", re.compile(r"\.experts\.|_exps\b")),
    ("router", re.compile(r"\.(gate|router)\.weight$|ffn_gate_inp")),
)
SINGLE_EXPERT = re.compile(r"\.experts\.\d+\.")

REPACKED = frozenset({"Q4_0", "Q4_K", "IQ4_NL"})
"""Types that llama.cpp copies into an order for AVX2 or NEON; the file's own pages are idle afterwards."""


def weight_bytes(facts: ModelFacts, quantization: str, dtype: str | None) -> int:
    """All weights once they are loaded, in bytes."""
    return round(sum(loaded_bytes(tensor, facts, quantization, dtype) for tensor in facts.tensors))


def loaded_bytes(tensor: Tensor, facts: ModelFacts, quantization: str, dtype: str | None) -> float:
    """One tensor's size in memory: as stored, in another dtype, or reduced on the fly."""
    if facts.kind == "gguf":
        return _gguf_bytes(tensor, facts, quantization)
    stored = facts.quantization.method
    if stored == "none" and quantization != "none" and is_linear(tensor):
        rows = tensor.shape[0]
        if quantization == "bnb-4bit":
            return tensor.elements * NF4_BYTES
        return tensor.elements + 4 * rows  # bitsandbytes 8-bit and FP8 alike: a byte, and a scale per row
    if dtype in DTYPE_BYTES and tensor.dtype in FLOATS:
        return tensor.elements * DTYPE_BYTES[dtype]
    return tensor.bytes


def _gguf_bytes(tensor: Tensor, facts: ModelFacts, quantization: str) -> float:
    kind = _gguf_type(quantization, tensor)
    if quantization == facts.quantization.label or kind == tensor.dtype:
        return tensor.bytes
    return tensor.elements * GGUF_BYTES[kind]


def _gguf_type(quantization: str, tensor: Tensor) -> str:
    """The type a tensor has once the file is requantized: small and exact ones stay as they are."""
    kind = quantization if quantization in GGUF_BYTES else quantization.rpartition("_")[0]
    return tensor.dtype if len(tensor.shape) < 2 or tensor.dtype == "F32" or kind not in GGUF_BYTES else kind


@cache  # asked several times over for each way, and a mixture of experts has 20,000 tensors
def role(name: str) -> Role:
    """What a tensor is for, by its name in a safetensors or GGUF file."""
    return next((role for role, pattern in ROLES if pattern.search(name)), "other")


@cache
def merged(name: str) -> bool:
    """Whether it is one expert's own matrix, which transformers 5 merges with the layer's other ones."""
    return bool(SINGLE_EXPERT.search(name))


def has_head(facts: ModelFacts) -> bool:
    """Whether the head has weights of its own; else the embedding table serves as the head too."""
    return any(role(tensor.name) == "head" for tensor in facts.tensors)


def is_linear(tensor: Tensor) -> bool:
    """Whether bitsandbytes reduces it: nn.Linear alone, so neither head nor experts in one 3-D tensor."""
    return (
        len(tensor.shape) == 2
        and tensor.dtype in FLOATS
        and tensor.name.endswith(".weight")
        and role(tensor.name) == "other"
    )


def repacked_bytes(tensor: Tensor, facts: ModelFacts, quantization: str) -> float:
    """What is copied of a tensor: the embedding table only where it is the head as well."""
    kind = tensor.dtype if facts.quantization.label == quantization else _gguf_type(quantization, tensor)
    if kind not in REPACKED or len(tensor.shape) < 2:
        return 0.0
    if role(tensor.name) == "embedding" and has_head(facts):
        return 0.0
    return loaded_bytes(tensor, facts, quantization, None)
