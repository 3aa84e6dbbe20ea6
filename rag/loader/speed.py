"""How fast one way to run a model will be, from what a second of measuring found of the machine.

Predictions rank the ways and tell minutes from hours; they are not promises. Nothing is predicted where
nothing has been measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from rag.loader.architecture import Shape, shape_of
from rag.loader.memory import kv_cache_bytes
from rag.loader.records import Machine, ModelFacts, Tensor
from rag.loader.sizes import DTYPE_BYTES, has_head, loaded_bytes, role

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


IMPORT_SECONDS = {"transformers": 9.0, "llamacpp": 0.3, "vllm": 45.0}
"""Until an engine is ready for its first tensor: measured on 2 cores."""
LOAD_BYTES_PER_S = 1e9
"""From the file to usable weights, the file not in the page cache of the system."""

DISPATCH_SECONDS = 2e-3
"""A transformers layer's cost per step however small its matrices are: Python, and starting kernels."""
GPU_DISPATCH_SECONDS = 5e-4

BANDWIDTH_SHARE = {"transformers": 0.9, "llamacpp": 0.95, "vllm": 0.7}
"""Part of the machine's bandwidth that decoding reaches."""
MATMUL_SHARE = {"transformers": 0.8, "llamacpp": 0.7, "vllm": 0.6}
"""Part of the measured matrix product's rate that reading a prompt reaches."""


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
    """Predict a plan's speed on this machine; the arguments are those of `memory.estimate`."""
    if engine == "remote":
        return Speed()
    shape = shape_of(facts.config)
    read = read_per_token(facts, shape, quantization, dtype)
    read += kv_cache_bytes(shape, context_tokens // 2, DTYPE_BYTES.get(dtype or "", 2.0))
    load = IMPORT_SECONDS[engine] + facts.weight_bytes / LOAD_BYTES_PER_S
    if device == "cuda":
        return Speed(load, None, _on_gpu(read, shape, machine, engine, gpus))
    if machine.probe is None:
        return Speed(load)
    seconds = None
    if bandwidth := machine.probe.bandwidth:
        seconds = read / (bandwidth * BANDWIDTH_SHARE[engine]) + _dispatch(shape, engine)
    prefill = None
    if rate := machine.probe.matmul.get("float32" if engine == "llamacpp" else dtype or "float32"):
        prefill = rate * MATMUL_SHARE[engine] / (2 * active_parameters(facts, shape))
    return Speed(load, prefill, 1 / seconds if seconds else None)


def read_per_token(facts: ModelFacts, shape: Shape, quantization: str, dtype: str | None) -> float:
    """Bytes of weights that one token makes the processor read: of experts the active ones, of the
    embedding table one row, unless it serves as the head too."""
    head = has_head(facts)
    return sum(
        loaded_bytes(tensor, facts, quantization, dtype) * _share(tensor, shape, head)
        for tensor in facts.tensors
    )


def active_parameters(facts: ModelFacts, shape: Shape) -> float:
    """Weights that take part in computing one token."""
    stored = sum(tensor.elements for tensor in facts.tensors)
    head = has_head(facts)
    active = sum(tensor.elements * _share(tensor, shape, head) for tensor in facts.tensors)
    return active * ((facts.parameters or stored) / stored if stored else 1) or 1.0


def _share(tensor: Tensor, shape: Shape, head: bool) -> float:
    """Part of a tensor that one token reads."""
    kind = role(tensor.name)
    if kind == "expert":
        return shape.active_share
    return 0.0 if kind == "embedding" and head else 1.0


def _dispatch(shape: Shape, engine: str) -> float:
    return (shape.layers or 0) * DISPATCH_SECONDS if engine != "llamacpp" else 0.0


def _on_gpu(read: float, shape: Shape, machine: Machine, engine: str, gpus: int) -> float | None:
    bandwidth = gpu_bandwidth(machine.gpus[0].name) if machine.gpus else None
    if bandwidth is None or not read:
        return None
    seconds = read / gpus / (bandwidth * BANDWIDTH_SHARE[engine])
    if engine == "transformers":
        seconds += (shape.layers or 0) * GPU_DISPATCH_SECONDS
    return 1 / seconds


def gpu_bandwidth(name: str) -> float | None:
    """Bytes a second of a GPU's own memory, None when its name is not in the table."""
    return next((rate * 1e9 for part, rate in GPU_BANDWIDTH.items() if part in name), None)
