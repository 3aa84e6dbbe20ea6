"""Which kernels vLLM picked: for quantized weights they decide the speed, and vLLM picks them in silence."""

from __future__ import annotations

from typing import Any

from rag.loader.engines.vllm_build import one_process
from rag.loader.records import Plan

SPEEDY = ("marlin", "machete", "cutlass", "exllama", "conch", "humming", "flashinfer", "trtllm")


def kernel_notes(plan: Plan, engine: Any) -> list[str]:
    """Which kernels multiply the quantized weights, where the model lies in this process."""
    if plan.quantization == "none" or not one_process(plan):
        return []
    names = sorted({name for model in engine.apply_model(kernels) for name in model})
    notes = [f"quantized weights ({plan.quantization}) run on {', '.join(names)}"] if names else []
    slow = plan.quantization in ("awq", "gptq") and not any(word in str(names).lower() for word in SPEEDY)
    if slow and names and plan.device == "cuda":
        # On an H100, vLLM 0.10.2, 14B at batch 1: 71.5 tok/s in float16, 11.5 in AWQ without Marlin.
        notes.append("these are not the Marlin kernels: expect about a sixth of the float16 speed")
    return notes


def kernels(model: Any) -> set[str]:
    """Names of the classes that multiply, as in "MarlinLinearKernel"."""
    found = set()
    for module in model.modules():
        method = getattr(module, "quant_method", None)
        if method is None or any(word in type(method).__name__ for word in ("Unquantized", "KVCache")):
            continue
        kernel = getattr(method, "kernel", None) or getattr(getattr(module, "scheme", None), "kernel", None)
        found.add(type(kernel or method).__name__)
    return found
