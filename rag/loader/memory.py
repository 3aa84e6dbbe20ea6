"""What one way to run a model needs of memory, figure by figure.

Must-have memory is anonymous: no file stands behind it, so only swap or another program's death makes
room for it (RssAnon + RssShmem of /proc/PID/status on Linux). Mapped file pages are counted apart.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rag.loader.architecture import Shape, shape_of
from rag.loader.records import ModelFacts, Need, Tensor

MIB = 1 << 20
GIB = 1 << 30
SMALLEST_CONTEXT = 512
CONTEXT_STEP = 256

BATCH_TOKENS = 256
"""Prompt tokens that the engines on the CPU read at a time."""
GPU_BATCH_TOKENS = 2048
"""vLLM's max_num_batched_tokens, for which its profiling run reserves activations."""

DTYPE_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}
STORED_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
STORED_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})

NF4_BYTES = 0.5 + 4 / 64
"""bitsandbytes 4-bit: two weights a byte and a float32 absmax per block of 64."""
NF4_DOUBLE_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""The same with double quantization: absmax in 8 bits, in blocks of 256 with a float32 each."""

GGUF_BITS = {
    "F32": 32.0,
    "F16": 16.0,
    "BF16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.5625,
    "Q5_K": 5.5,
    "Q5_1": 6.0,
    "Q5_0": 5.5,
    "Q4_K": 4.5,
    "Q4_1": 5.0,
    "Q4_0": 4.5,
    "IQ4_NL": 4.5,
    "IQ4_XS": 4.25,
    "Q3_K": 3.4375,
    "Q2_K": 2.625,
    "MXFP4": 4.25,
}
"""Bits per weight with scales: bytes of a block x 8 / weights of a block, from ggml's block structures."""

EXPERT = re.compile(r"\.experts\.|_exps\b|\.experts$|experts\.gate_up|experts\.down")
EMBEDDING = re.compile(r"embed_tokens|wte\.|token_embd|word_embeddings")
HEAD = re.compile(r"(^|\.)lm_head\.|^output\.weight|embed_out\.")
MERGED = re.compile(r"\.experts\.\d+\.")
"""Experts that are stored one by one; transformers 5 merges a layer's into one tensor."""
ROUTER = re.compile(r"\.(gate|router)\.weight$|ffn_gate_inp")


@dataclass(frozen=True, slots=True)
class Way:
    """How the weights are to be run; what `estimate` is asked about.

    `quantization` is that of the weights in memory: a method's name, or a GGUF type ("Q8_0"). `gpus` share
    the model. `resident_bytes` is how much of the weights stays in memory when device is "disk".
    """

    engine: str
    quantization: str = "none"
    dtype: str | None = None
    device: str = "cpu"
    context_tokens: int = 2048
    threads: int = 1
    gpus: int = 1
    resident_bytes: int | None = None


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
    least = estimate(facts, **{**way, "device": "disk", "resident_bytes": None})
    room = available - least.peak + least.weights
    return room if room >= least.weights else None


def weight_bytes(facts: ModelFacts, quantization: str, dtype: str | None) -> int:
    """All weights once they are loaded, in bytes."""
    return round(sum(loaded_bytes(tensor, facts, quantization, dtype) for tensor in facts.tensors))


def loaded_bytes(tensor: Tensor, facts: ModelFacts, quantization: str, dtype: str | None) -> float:
    """One tensor's size in memory: as stored, in another dtype, or reduced on the fly."""
    if facts.kind == "gguf":
        return _gguf_bytes(tensor, facts, quantization)
    stored = facts.quantization.method
    if stored == "none" and quantization != "none" and _is_linear(tensor, facts):
        rows = tensor.shape[0]
        if quantization == "bnb-4bit":
            return tensor.elements * NF4_DOUBLE_BYTES
        return tensor.elements + 4 * rows  # bitsandbytes 8-bit and FP8 alike: a byte, and a scale per row
    if dtype in DTYPE_BYTES and tensor.dtype in FLOATS:
        return tensor.elements * DTYPE_BYTES[dtype]
    return tensor.bytes


def kv_cache_bytes(
    shape: Shape, tokens: int, bytes_per_element: float, *, latent: bool = False, slack: int = 0
) -> int:
    """Cache of one sequence: layers x tokens x (key width + value width) x bytes of an element.

    Width is kv_heads x head_dim, so that grouped-query attention is in it. Sliding layers keep their window
    and the `slack` tokens of the batch being read, linear ones a state that does not grow. With `latent`,
    multi-head latent attention keeps kv_lora_rank + qk_rope_head_dim elements once (DeepSeek-V2, 2.1.2).
    """
    width = (shape.key_width or 0) + (shape.value_width or 0)
    if latent and shape.latent_width:
        width = shape.latent_width
    elements = 0
    for kind in shape.kinds:
        seen = min(tokens, (shape.window or tokens) + slack) if kind == "sliding" else tokens
        elements += shape.state if kind == "linear" else seen * width
    return round(elements * bytes_per_element)


def _gguf_bytes(tensor: Tensor, facts: ModelFacts, quantization: str) -> float:
    kind = _gguf_type(quantization, tensor)
    if quantization == facts.quantization.label or kind == tensor.dtype:
        return tensor.bytes
    return tensor.elements * GGUF_BITS[kind] / 8


def _gguf_type(quantization: str, tensor: Tensor) -> str:
    """The type a tensor has once the file is requantized: small and exact ones stay as they are."""
    kind = quantization if quantization in GGUF_BITS else quantization.rpartition("_")[0]
    return tensor.dtype if len(tensor.shape) < 2 or tensor.dtype == "F32" or kind not in GGUF_BITS else kind


def _is_linear(tensor: Tensor, facts: ModelFacts) -> bool:
    """Whether bitsandbytes reduces it: nn.Linear alone, so neither head nor experts in one 3-D tensor."""
    if len(tensor.shape) != 2 or not tensor.name.endswith(".weight") or tensor.dtype not in FLOATS:
        return False
    return not any(part.search(tensor.name) for part in (EMBEDDING, HEAD, EXPERT, ROUTER))


def _rough(facts: ModelFacts, shape: Shape) -> str:
    unknown = list(shape.unknown)
    if not facts.tensors:
        unknown.append("tensors")
    return f"the model's files do not say its {', '.join(unknown)}" if unknown else ""


# --- transformers on the CPU ----------------------------------------------------------------------

TRANSFORMERS_RUNTIME = 350 * MIB
"""The worker with torch, transformers and one model class imported, before any weight: RssAnon."""
BITSANDBYTES_RUNTIME = 50 * MIB
"""bitsandbytes and what it imports, before any weight."""
MATRIX_SCRATCH = 32 * MIB
"""Buffers of the matrix library's threads, on 2 cores."""
HEAP_SLACK = 1.5
"""glibc's heap after buffers of changing sizes came and went, relative to the sum of those in use."""


def _transformers(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    """Tensors whose dtype stays as it is are mapped (not on Windows), all others copied one by one.

    The peak while loading is the largest conversion's: several tensors that become one hold their parts too.
    """
    if way.device == "cuda":
        return _transformers_gpu(facts, shape, way)
    compute = DTYPE_BYTES.get(way.dtype or "float32", 4.0)
    total = weight_bytes(facts, way.quantization, way.dtype)
    mapped = sum(tensor.bytes for tensor in facts.tensors if _stays_mapped(tensor, facts, way))
    weights = total - mapped
    disk = 0
    if way.device == "disk":
        kept = max(way.resident_bytes or 0, _unmovable(facts, way))
        weights, disk = min(weights, kept), max(0, weights - kept)
    reduced = way.quantization.startswith("bnb") and facts.quantization.method == "none"
    runtime = TRANSFORMERS_RUNTIME + (BITSANDBYTES_RUNTIME if reduced else 0)
    return Need(
        weights=weights,
        kv_cache=kv_cache_bytes(shape, way.context_tokens, compute, slack=BATCH_TOKENS),
        activations=round(_eager_activations(facts, shape, way, compute)),
        runtime=runtime,
        reclaimable=mapped,
        loading_peak=round(weights + _conversion_bytes(facts, way) + runtime),
        disk=disk,
    )


def _stays_mapped(tensor: Tensor, facts: ModelFacts, way: Way) -> bool:
    """Whether transformers 5 uses the file's own pages: nothing is converted, reduced or merged."""
    if sys.platform == "win32" or way.device == "disk" or MERGED.search(tensor.name):
        return False
    if way.quantization != "none" and _is_linear(tensor, facts):
        return False
    return tensor.dtype == STORED_NAMES.get(way.dtype or "float32", "F32")


def _conversion_bytes(facts: ModelFacts, way: Way) -> float:
    """Temporary memory of the largest conversion: an expert group's parts, or a matrix before reduction."""
    compute = DTYPE_BYTES.get(way.dtype or "float32", 4.0)
    groups: dict[str, float] = {}
    largest = 0.0
    for tensor in facts.tensors:
        if MERGED.search(tensor.name):
            layer = tensor.name.partition(".experts.")[0]
            down = "down" in tensor.name
            groups[f"{layer}{down}"] = groups.get(f"{layer}{down}", 0.0) + tensor.elements * compute
        elif way.quantization != "none" and _is_linear(tensor, facts):
            largest = max(largest, tensor.elements * compute * 2)
    return max([largest, *groups.values()])


def _eager_activations(facts: ModelFacts, shape: Shape, way: Way, compute: float) -> float:
    """Buffers of one batch of the prompt at once, as torch computes it operation by operation.

    Feed-forward: three of its width and four of the hidden one; attention: keys and values of one layer
    repeated for all heads, and the mask; bitsandbytes: the largest matrix in the compute dtype; logits: one
    row, in float32, and what sampling makes of it.
    """
    hidden, wide = shape.hidden or 0, shape.feed_forward or 0
    attention = (shape.heads or 0) * (shape.head_dim or 0)
    layer = BATCH_TOKENS * (4 * hidden + 3 * max(wide, attention)) * compute
    mask = BATCH_TOKENS * way.context_tokens * 4
    repeated = 2 * attention * way.context_tokens * compute
    matrix = 0.0
    if way.quantization != "none":
        linear = (tensor.elements for tensor in facts.tensors if _is_linear(tensor, facts))
        matrix = max(linear, default=0) * compute
    return HEAP_SLACK * (layer + mask + repeated + matrix) + 4 * 4 * (shape.vocab or 0) + MATRIX_SCRATCH


def _unmovable(facts: ModelFacts, way: Way) -> int:
    """What offloading cannot move out at once: the largest layer, and embeddings and head."""
    layers: dict[str, float] = {}
    for tensor in facts.tensors:
        number = re.search(r"\.(\d+)\.", tensor.name)
        name = number.group(1) if number else tensor.name
        layers[name] = layers.get(name, 0.0) + loaded_bytes(tensor, facts, way.quantization, way.dtype)
    return round(2 * max(layers.values(), default=0.0))


# --- transformers on a GPU ------------------------------------------------------------------------

CUDA_CONTEXT = 500 * MIB
HOST_TORCH_CUDA = 1536 * MIB
HOST_VLLM = 4 * GIB


def _transformers_gpu(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    compute = DTYPE_BYTES.get(way.dtype or "bfloat16", 2.0)
    weights = weight_bytes(facts, way.quantization, way.dtype)
    largest = max((tensor.elements * compute for tensor in facts.tensors), default=0.0)
    return Need(
        weights=math.ceil(weights / way.gpus),
        kv_cache=kv_cache_bytes(shape, way.context_tokens, compute, slack=BATCH_TOKENS) // way.gpus,
        activations=round(_eager_activations(facts, shape, way, compute)),
        runtime=CUDA_CONTEXT,
        loading_peak=round(weights / way.gpus + largest + CUDA_CONTEXT),
        host=HOST_TORCH_CUDA,
    )


# --- llama.cpp ------------------------------------------------------------------------------------

LLAMACPP_RUNTIME = 40_000_000
"""The worker with xllamacpp's server running: RssAnon less cache and vocabulary, xllamacpp 2026.10."""
TOKEN_BYTES = 220
"""One vocabulary entry with its merge rule: texts and hash tables, measured at 49,000 and 128,000."""
REPACKED = frozenset({"Q4_0", "Q4_K", "IQ4_NL"})
"""Types that llama.cpp copies into an order for AVX2 or NEON; the file's own pages are idle afterwards."""


def _llamacpp(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    """Weights stay mapped, but for repacked matrices; the cache is float16 and all there from the beginning.

    Buffers of one batch, in float32: four of hidden width, three of the feed-forward's, and the mask. The
    sampler holds 16 bytes per vocabulary entry (token, logit, probability, and the logits themselves).
    """
    total = weight_bytes(facts, way.quantization, None)
    weights = round(sum(_repacked_bytes(tensor, facts, way.quantization) for tensor in facts.tensors))
    tokens = math.ceil(way.context_tokens / 256) * 256
    vocab = shape.vocab or 0
    wide = 4 * (shape.hidden or 0) + 3 * (shape.feed_forward or 0)
    cache = kv_cache_bytes(shape, tokens, 2, latent=True, slack=BATCH_TOKENS)
    runtime = LLAMACPP_RUNTIME + TOKEN_BYTES * vocab
    return Need(
        weights=weights,
        kv_cache=cache,
        activations=BATCH_TOKENS * (wide + tokens) * 4 + 16 * vocab,
        runtime=runtime,
        reclaimable=total - weights,
        loading_peak=weights + cache + runtime,
    )


def _repacked_bytes(tensor: Tensor, facts: ModelFacts, quantization: str) -> float:
    """What is copied of a tensor: the embedding table only where it is the head as well."""
    kind = tensor.dtype if facts.quantization.label == quantization else _gguf_type(quantization, tensor)
    if kind not in REPACKED or len(tensor.shape) < 2:
        return 0.0
    if EMBEDDING.search(tensor.name) and any(HEAD.search(other.name) for other in facts.tensors):
        return 0.0
    return loaded_bytes(tensor, facts, quantization, None)


# --- vLLM -----------------------------------------------------------------------------------------

VLLM_RUNTIME = 1536 * MIB


def _vllm(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    compute = DTYPE_BYTES.get(way.dtype or "bfloat16", 2.0)
    weights = math.ceil(weight_bytes(facts, way.quantization, way.dtype) / way.gpus)
    tokens = math.ceil(way.context_tokens / 16) * 16
    wide = 2 * (shape.hidden or 0) + 3 * (shape.feed_forward or 0) / way.gpus
    batch = min(GPU_BATCH_TOKENS, way.context_tokens)
    return Need(
        weights=weights,
        kv_cache=kv_cache_bytes(shape, tokens, compute, latent=True) // way.gpus,
        activations=round(batch * wide * compute + 2 * 256 * (shape.vocab or 0) * 4),
        runtime=VLLM_RUNTIME,
        host=HOST_VLLM if way.device == "cuda" else 0,
    )


def _remote(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    return Need(0, 0, 0, 0)


ENGINES: dict[str, Callable[[ModelFacts, Shape, Way], Need]] = {
    "transformers": _transformers,
    "llamacpp": _llamacpp,
    "vllm": _vllm,
    "remote": _remote,
}
