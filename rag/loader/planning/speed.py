"""How fast one way to run a model will be, from what a second of measuring found of the machine.

Predictions rank the ways and tell minutes from hours; they are not promises. Nothing is predicted where
nothing has been measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from rag.loader.base import BATCH_TOKENS
from rag.loader.model.architecture import Shape, shape_of
from rag.loader.planning.footprint import kv_cache_bytes
from rag.loader.planning.sizes import DTYPE_BYTES, has_head, is_linear, loaded_bytes, role
from rag.loader.records import Machine, ModelFacts, Probe, Tensor

GPU_BANDWIDTH = {
    "B200": 8000,
    "H200": 4800,
    "H100 NVL": 3900,
    "H100 PCIe": 2000,
    "H100": 3350,
    "A100-SXM4-80GB": 2039,
    "A100": 1555,
    "L40S": 864,
    "L40": 864,
    "L4": 300,
    "A10G": 600,
    "A10": 600,
    "A6000": 768,
    "RTX 6000 Ada": 960,
    "RTX 5090": 1792,
    "RTX 4090": 1008,
    "RTX 4080": 717,
    "RTX 3090": 936,
    "RTX 3080": 760,
    "T4": 320,
    "V100": 900,
}
"""Memory bandwidth in GB/s by a part of the GPU's name, from the makers' data sheets, first match first."""


START_SECONDS = {"transformers": 9.0, "llamacpp": 0.3, "vllm": 45.0}
"""Until an engine is ready for its first tensor: on 2 cores, files in the page cache."""
LOAD_BYTES_PER_S = 1e9
"""From files in the page cache to weights of another dtype, on 2 cores; a disk may well be slower."""
REDUCED_PER_S = {"bnb-4bit": 1e7, "bnb-8bit": 2e7}
"""Weights that bitsandbytes quantizes a second and core while a model is loaded."""

LAYER_SECONDS = {"transformers": 2e-3, "vllm": 2e-3, "llamacpp": 0.0}
"""A layer's cost per step however small its matrices are: Python, and starting kernels.

SmolLM2-135M in float32 takes 95 ms a token on 2 cores, of which reading its weights explains 40.
"""
GPU_LAYER_SECONDS = {"transformers": 5e-4, "vllm": 0.0, "llamacpp": 0.0}
"""The same on a GPU, where vLLM replays graphs."""
EXPANDED_PER_S = {"bnb-4bit": 2.8e8, "bnb-8bit": 1.4e8}
"""Weights that bitsandbytes turns back into floats, a second and core, at every step.

4-bit on AVX2: SmolLM2-135M at 3.7 tokens a second; 8-bit took twice as long beside it.
"""

BANDWIDTH_SHARE = {"transformers": 0.9, "llamacpp": 0.9, "vllm": 0.9}
"""Part of the measured bandwidth that decoding reaches: llama.cpp 0.73 (Q4_1) to 1.0 (Q8_0, Q4_0)."""
GPU_BANDWIDTH_SHARE = {"transformers": 0.6, "llamacpp": 0.6, "vllm": 0.65}
"""The same of the data sheet's figure: Qwen2.5-14B in float16 at 71.5 tokens a second on an H100."""
MATMUL_SHARE = {"transformers": 0.8, "vllm": 0.8}
"""Part of the measured matrix product's rate that reading a prompt reaches."""
GGUF_MATMUL_SHARE = {"Q8_0": 0.67, "Q4_0": 0.77}
"""The same for llama.cpp relative to float32: 377 and 433 tokens a second where transformers reads 450."""
SLOW_GGUF_MATMUL_SHARE = 0.37
"""For types that were not measured: Q4_1's, 210 tokens a second."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds and tokens a second, predicted; None where nothing is known."""

    load_seconds: float | None = None
    prefill_tokens_per_s: float | None = None
    tokens_per_s: float | None = None


def predict(
    facts: ModelFacts,
    machine: Machine,
    engine: str,
    quantization: str = "none",
    dtype: str | None = None,
    device: str = "cpu",
    context_tokens: int = 2048,
    gpus: int = 1,
) -> Speed:
    """Predict a plan's speed on this machine; the arguments are those of `memory.estimate`.

    Reading a prompt is bound by arithmetic: 2 operations per active weight and token. Decoding is bound by
    memory: every token reads all active weights and the cache, taken as half full. The disk's speed is not
    known, so nothing is said of weights that are read from it.
    """
    if engine == "remote":
        return Speed()
    shape = shape_of(facts.config)
    reduced = _reduced_weights(facts, quantization)
    load = START_SECONDS[engine] + facts.weight_bytes / LOAD_BYTES_PER_S
    if reduced:
        load += reduced / (REDUCED_PER_S[quantization] * machine.cores)
    if device == "disk" or (device == "cpu" and machine.probe is None):
        return Speed(load)
    read = read_per_token(facts, shape, quantization, dtype)
    read += kv_cache_bytes(shape, context_tokens // 2, DTYPE_BYTES.get(dtype or "", 2.0))
    if device == "cuda":
        return Speed(load, None, _on_gpu(read, shape, machine, engine, gpus))
    expanding = reduced / (EXPANDED_PER_S[quantization] * machine.cores) if reduced else 0.0
    assert machine.probe is not None
    prefill = _prefill(machine.probe, active_parameters(facts, shape), engine, quantization, dtype, expanding)
    return Speed(load, prefill, _decode(machine.probe, read, shape, engine, expanding))


def _reduced_weights(facts: ModelFacts, quantization: str) -> int:
    """Weights that bitsandbytes reduces while the model is loaded."""
    if facts.quantization.method != "none" or quantization not in REDUCED_PER_S:
        return 0
    return sum(tensor.elements for tensor in facts.tensors if is_linear(tensor))


def _prefill(
    probe: Probe, active: float, engine: str, quantization: str, dtype: str | None, expanding: float
) -> float | None:
    """Tokens a second of a prompt; bitsandbytes expands its weights once per batch."""
    rate = probe.matmul.get("float32" if engine == "llamacpp" else dtype or "float32")
    if not rate or not active:
        return None
    slow = GGUF_MATMUL_SHARE.get(quantization, SLOW_GGUF_MATMUL_SHARE)
    share = slow if engine == "llamacpp" else MATMUL_SHARE[engine]
    batch = BATCH_TOKENS[engine]
    return batch / (batch * 2 * active / (rate * share) + expanding)


def _decode(probe: Probe, read: float, shape: Shape, engine: str, expanding: float) -> float | None:
    if not probe.bandwidth or not read:
        return None
    reading = read / (probe.bandwidth * BANDWIDTH_SHARE[engine])
    return 1 / (reading + (shape.layers or 0) * LAYER_SECONDS[engine] + expanding)


def read_per_token(facts: ModelFacts, shape: Shape, quantization: str, dtype: str | None) -> float:
    """Bytes of weights that one token makes the processor read.

    Of experts it is the active ones, of the embedding table one row, unless it serves as the head too.
    """
    head = has_head(facts)
    return sum(
        loaded_bytes(tensor, facts, quantization, dtype) * _share(tensor, shape, head)
        for tensor in facts.tensors
    )


def active_parameters(facts: ModelFacts, shape: Shape) -> float:
    """Weights that take part in computing one token; `facts.parameters` knows how many are packed."""
    head = has_head(facts)
    stored = sum(tensor.elements for tensor in facts.tensors)
    active = sum(tensor.elements * _share(tensor, shape, head) for tensor in facts.tensors)
    return active * (facts.parameters or stored) / stored if stored else 0.0


def _share(tensor: Tensor, shape: Shape, head: bool) -> float:
    """Part of a tensor that one token reads."""
    kind = role(tensor.name)
    if kind == "expert":
        return shape.active_share
    return 0.0 if kind == "embedding" and head else 1.0


def _on_gpu(read: float, shape: Shape, machine: Machine, engine: str, gpus: int) -> float | None:
    bandwidth = gpu_bandwidth(machine.gpus[0].name) if machine.gpus else None
    if bandwidth is None or not read:
        return None
    reading = read / gpus / (bandwidth * GPU_BANDWIDTH_SHARE[engine])
    return 1 / (reading + (shape.layers or 0) * GPU_LAYER_SECONDS[engine])


def gpu_bandwidth(name: str) -> float | None:
    """Bytes a second of a GPU's own memory, None when its name is not in the table."""
    return next((rate * 1e9 for part, rate in GPU_BANDWIDTH.items() if part in name), None)
