"""vLLM's many errors, in the program's words: what was short or unsuited, and what to change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from rag.errors import DoesNotFit, ModelLoadFailed
from rag.loader.records import Plan

SMALLER = "Choose a quantized sibling of the model or a smaller one, or more GPUs (--tensor-parallel)."
UTILIZATION = "model.gpu_memory_utilization"


def explain(plan: Plan, error: BaseException) -> ModelLoadFailed:
    """The error to raise `from` vLLM's; its cause may stand several errors further in."""
    chain = list(_chain(error))
    for link in chain:
        for pattern, translate in KNOWN:
            if found := re.search(pattern, f"{type(link).__name__}: {link}", re.DOTALL):
                return translate(plan, found)
    return ModelLoadFailed(
        f"vLLM cannot load {plan.name}: {_reason(chain[-1])}",
        "Choose another engine (--engine) or another model.",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that led to it, outermost first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _reason(error: BaseException) -> str:
    """The line that says what is wrong; pydantic puts it behind "Value error, "."""
    found = re.search(r"(?:Value|Assertion) error, (.+?)(?: \[type=|\n|$)", str(error))
    return found[1] if found else first_line(error)


def _out_of_memory(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    figures = re.findall(
        r"(?:Tried to allocate|total capacity of|of which) [\d.]+ [KMG]iB(?: is free)?", found[0]
    )
    told = f" ({', '.join(figures)})" if figures else ""
    return DoesNotFit(
        f"the GPU's memory ran out while {plan.name} was loading{told}",
        f"Shorten the context (--context), close what else uses the GPU, or lower {UTILIZATION} "
        f"(now {plan.gpu_memory_utilization:g}) where another program needs a part. {SMALLER}",
    )


def _context_does_not_fit(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    needed, there, longest = found["needed"], found["there"], found["longest"]
    tokens = plan.context_tokens
    message = f"a context of {tokens} tokens takes {needed} GiB beside {plan.name}, and {there} GiB are left"
    if longest is None:
        return DoesNotFit(message, f"Raise {UTILIZATION}. {SMALLER}")
    return DoesNotFit(f"{message}: the longest that fits is {longest} tokens", f"Use --context {longest}.")


def _no_room_for_context(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    return DoesNotFit(
        f"{plan.name} fills the memory that it may use, and no room is left for a context",
        f"Raise {UTILIZATION} (now {plan.gpu_memory_utilization:g}). {SMALLER}",
    )


def _occupied(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    return DoesNotFit(
        f"{found['device']} has {found['free']} of {found['total']} GiB free, and {plan.name} is to have "
        f"{plan.gpu_memory_utilization:.0%} of it",
        f"End what else uses the GPU (`nvidia-smi` lists it), or lower {UTILIZATION}.",
    )


def _unknown_architecture(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"vLLM does not know the architecture of {plan.name} ({found['name']})",
        "Use --engine transformers, or a newer vLLM.",
    )


def _beyond_trained_context(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"{plan.name} reads {found['longest']} tokens at most, and {plan.context_tokens} are asked for",
        f"Use --context {found['longest']}.",
    )


def _old_gpu(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"this GPU is too old for the quantization of {plan.name}: it needs compute capability "
        f"{_capability(found['least'])}, and this one has {_capability(found['here'])}",
        "Choose a float16 or GGUF sibling of the model, or --engine transformers.",
    )


def _capability(digits: str) -> str:
    return f"{digits[:-1]}.{digits[-1]}"


def _indivisible(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"{plan.tensor_parallel} GPUs cannot share the {found['heads']} attention heads of {plan.name}",
        "Choose a --tensor-parallel that divides them.",
    )


def _no_cuda(plan: Plan, found: re.Match[str]) -> ModelLoadFailed:
    return ModelLoadFailed(
        "this vLLM is the build for CUDA, and it finds no GPU",
        "Check the driver with `nvidia-smi`, or use --engine transformers or --engine llamacpp.",
    )


KNOWN: tuple[tuple[str, Callable[[Plan, re.Match[str]], ModelLoadFailed]], ...] = (
    (
        r"max seq len \(\d+\),? \(?(?P<needed>[\d.]+) GiB.*?KV cache memory \((?P<there>[\d.]+) GiB\)"
        r"(?:.*?estimated maximum model length is (?P<longest>\d+))?",
        _context_does_not_fit,
    ),
    (r"No available memory for the cache blocks", _no_room_for_context),
    (
        r"Free memory on device (?P<device>\S+) \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup",
        _occupied,
    ),
    (r"(?:OutOfMemoryError|CUDA out of memory|HIP out of memory).*", _out_of_memory),
    (
        r"Model architectures? (?P<name>.+?) (?:are not supported|was supported|is not supported)",
        _unknown_architecture,
    ),
    (r"derived max_model_len \(\w+=(?P<longest>\d+)", _beyond_trained_context),
    (
        r"not supported for the current GPU\. Minimum capability: (?P<least>\d+)\. "
        r"Current capability: (?P<here>\d+)",
        _old_gpu,
    ),
    (r"attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel", _indivisible),
    (r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver", _no_cuda),
)
"""What vLLM 0.26 to 0.32, torch and pydantic say, looked for in an error's type and text."""
