"""The rungs: every way to run a kind of weights, best first, before anybody has asked whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rag.loader.planning.asked import GGUF_TYPES, REQUANTIZED_TO
from rag.loader.planning.support import MARLIN, NATIVE_FP8, SUPPORT, runs_on_cpu
from rag.loader.records import Machine, ModelFacts, Request

CPU_DTYPES = ("float32", "bfloat16", "float16")
"""For processors; measurement decides between those that fit, this order where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One way: the weights stored as `stored` are run as `quantization` by an engine on a device.

    `note` is told with the plan; `requantize` names the GGUF type to convert to first.
    """

    engine: str
    device: str
    quantization: str
    dtype: str | None = None
    note: str = ""
    requantize: str | None = None


def ladder(facts: ModelFacts, machine: Machine, request: Request) -> list[Rung]:
    """All rungs that the request leaves open, in the order in which they should be tried.

    For unquantized weights: vLLM on a GPU; transformers on a GPU as they are, then in 8 and 4 bits; 4-bit
    and 8-bit bitsandbytes on the processor; the floating-point types there; the disk last.
    """
    method = facts.quantization.method
    if method == "gguf":
        rungs = list(_gguf(facts, request))
    elif method == "none":
        rungs = list(_unquantized(facts, machine, request))
    else:
        rungs = list(_quantized(method, facts, machine, request))
    return [rung for rung in rungs if _asked_for(rung, request, method)]


def _gguf(facts: ModelFacts, request: Request) -> Iterator[Rung]:
    label = facts.quantization.label
    target = GGUF_TYPES.get(request.quantization)
    if target and target.lower() != label.lower() and target in REQUANTIZED_TO:
        note = f"converted from {label} to {target} once, and kept in the cache"
        yield Rung("llamacpp", "cuda", target, None, note, target)
        yield Rung("llamacpp", "cpu", target, None, note, target)
        return
    yield Rung("llamacpp", "cuda", label)
    yield Rung("llamacpp", "cpu", label)
    yield Rung("transformers", "cpu", label)
    yield Rung("vllm", "cuda", label)


def _unquantized(facts: ModelFacts, machine: Machine, request: Request) -> Iterator[Rung]:
    gpu = request.dtype if request.dtype != "auto" else gpu_dtype(facts, machine)
    native = all((card.capability or (0, 0)) >= NATIVE_FP8 for card in machine.gpus)
    yield Rung("vllm", "cuda", "none", gpu)
    yield Rung("transformers", "cuda", "none", gpu)
    slow = "" if native else "stored in 8 bits, computed in 16: this GPU has no FP8 arithmetic"
    yield Rung("vllm", "cuda", "fp8", gpu, slow)
    yield Rung("transformers", "cuda", "bnb-8bit", gpu)
    yield Rung("transformers", "cuda", "bnb-4bit", gpu)
    dtypes = CPU_DTYPES if request.dtype == "auto" else (request.dtype,)
    compute = dtypes[0]
    yield Rung("transformers", "cpu", "bnb-4bit", compute)
    yield Rung("transformers", "cpu", "bnb-8bit", compute)
    yield from (Rung("transformers", "cpu", "none", dtype) for dtype in dtypes)
    if runs_on_cpu(machine.engine("vllm")) or request.engine == "vllm":
        yield Rung("vllm", "cpu", "none", "bfloat16" if request.dtype == "auto" else request.dtype)
    smallest = "bfloat16" if request.dtype == "auto" else request.dtype
    note = "what does not fit into memory is read from the disk again for every token"
    yield Rung("transformers", "disk", "none", smallest, note)


def _quantized(method: str, facts: ModelFacts, machine: Machine, request: Request) -> Iterator[Rung]:
    gpu = request.dtype if request.dtype != "auto" else gpu_dtype(facts, machine)
    yield Rung("vllm", "cuda", method, gpu, _kernels(method, machine))
    yield Rung("transformers", "cuda", method, gpu)
    support = SUPPORT.get(method, {}).get("transformers")
    if support and support.expands:
        dtype = "bfloat16" if request.dtype == "auto" else request.dtype
        yield Rung("transformers", "cpu", method, dtype, f"{method} weights are unpacked to {dtype} on a CPU")
    else:
        yield Rung("transformers", "cpu", method, "float32" if request.dtype == "auto" else request.dtype)


def _kernels(method: str, machine: Machine) -> str:
    """Which kernels vLLM will pick, where that decides about the speed."""
    if method not in ("awq", "gptq") or not machine.gpus:
        return ""
    weakest = min((card.capability or (0, 0)) for card in machine.gpus)
    if weakest >= MARLIN:
        return "vLLM picks its Marlin kernels by itself"
    return (
        f"without the Marlin kernels, which want compute capability 8.0: plain {method} kernels wrote "
        "11.5 tokens a second on an H100 where float16 wrote 71.5"
    )


def gpu_dtype(facts: ModelFacts, machine: Machine) -> str:
    """The 16-bit type for these GPUs: bfloat16 from capability 8.0 on, unless the files hold float16."""
    weakest = min(((card.capability or (0, 0)) for card in machine.gpus), default=(8, 0))
    stored = max(facts.dtypes, key=lambda name: facts.dtypes[name], default="BF16")
    return "bfloat16" if weakest >= (8, 0) and stored != "F16" else "float16"


def _asked_for(rung: Rung, request: Request, method: str) -> bool:
    if request.engine not in ("auto", rung.engine):
        return False
    if request.device not in ("auto", rung.device):
        return False
    asked = request.quantization
    as_they_are = asked in ("auto", "gguf") or asked == method
    if as_they_are and method == "none" and asked == "none":
        return rung.quantization == "none"
    return as_they_are or rung.quantization.lower() == asked
