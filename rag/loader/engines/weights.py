"""A folder's weights on their way into torch: what may be read, which tensor is next, what is left over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from rag.errors import EngineMissing, ModelLoadFailed, ModelRefused
from rag.heap import trim
from rag.loader.base import Report
from rag.loader.machine.installed import how_to_install
from rag.loader.model.inspect import inspect_local
from rag.loader.records import ModelFacts, Plan, Tensor

WRONGLY_READ = {
    "modelopt": "vLLM",
    "squeezellm": "no engine of today",
    "exl2": "ExLlamaV2",
    "exl3": "ExLlamaV3",
    "mlx": "MLX",
    "other": "no engine that is known here",
}
"""Methods whose weights transformers reads as something else without a word, and who runs them."""

PACKAGES = {
    "bnb-4bit": ("bitsandbytes",),
    "bnb-8bit": ("bitsandbytes",),
    "awq": ("gptqmodel",),
    "gptq": ("optimum", "gptqmodel"),
    "compressed-tensors": ("compressed_tensors",),
    "torchao": ("torchao",),
    "auto-round": ("auto_round",),
    "quark": ("quark",),
    "hqq": ("hqq",),
}
"""Modules that read a method's weights."""
GPU_PACKAGES = {"mxfp4": ("kernels",)}
"""As PACKAGES, on a GPU only: on a processor transformers itself expands these weights."""

LEFTOVERS = (
    *("qweight", "qzeros", "scales", "g_idx", "absmax", "quant_map", "SCB", "lookup_table", "weight_packed"),
    *("weight_scale", "weight_scale_inv", "weight_shape", "bitsandbytes__nf4", "bitsandbytes__fp4"),
)
"""Last words of tensor names that only quantized weights have."""

TRIM_BYTES = 128 << 20
"""Freed temporaries go back to the system each time so much was loaded.

Loading 440M parameters in 8 bits without that, glibc kept 343 MB that nobody used.
"""


def examined(plan: Plan) -> ModelFacts:
    """The folder's facts. Raises ModelRefused where the plan takes its weights for something else.

    The plan was made from the same facts, perhaps by another program and some time ago.
    """
    facts = inspect_local(Path(plan.model))
    stored = facts.quantization.method
    if stored != plan.stored:
        raise ModelRefused(
            f"the weights of {plan.name} are stored as {_said(stored)}, and the plan takes them for "
            f"{_said(plan.stored)}: the model would answer nonsense",
            "Make the plan again: the folder may have changed since.",
        )
    if stored in WRONGLY_READ:
        raise ModelRefused(
            f"transformers would read the {stored} weights of {plan.name} wrongly and answer nonsense",
            f"They are for {WRONGLY_READ[stored]}. Choose the model's unquantized, AWQ or GGUF variant.",
        )
    if plan.quantization != stored and not (
        stored == "none" and plan.quantization in ("bnb-4bit", "bnb-8bit")
    ):
        raise ModelLoadFailed(
            f"transformers cannot turn {_said(stored)} weights into {plan.quantization} while it loads them",
            "Leave --quantization out.",
        )
    return facts


def _said(method: str) -> str:
    return "unquantized" if method == "none" else method


def need_packages(plan: Plan) -> None:
    """Raise EngineMissing, naming what is absent of the packages that read the plan's weights."""
    wanted = PACKAGES.get(plan.quantization, ())
    if plan.device == "cuda":
        wanted += GPU_PACKAGES.get(plan.quantization, ())
    missing = [module.replace("_", "-") for module in wanted if find_spec(module) is None]
    if missing:
        raise EngineMissing(
            f"{plan.quantization} weights are read with {' and '.join(missing)}, not installed here",
            f"{how_to_install(*missing)} Or choose the model's unquantized or GGUF variant.",
        )


def refuse_incomplete(plan: Plan, found: Mapping[str, Any]) -> None:
    """Raise ModelRefused by what transformers says of absent and of superfluous tensors."""
    wrong = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in found.get(kind) or ())
    if wrong:
        raise ModelRefused(
            f"{plan.name} lacks {len(wrong)} of its weights, first of them {wrong[0]}",
            "The model would answer nonsense. Download the folder again.",
        )
    unread = [str(key) for key in found.get("unexpected_keys") or ()]
    if left := sorted(key for key in unread if key.rpartition(".")[2] in LEFTOVERS):
        raise ModelRefused(
            f"the weights of {plan.name} are quantized and were read as if they were not: {left[0]} is left",
            "Its config.json is incomplete. Download the folder again, or choose its unquantized variant.",
        )


@contextmanager
def told(tensors: Mapping[str, Tensor], shards: list[str], report: Report) -> Iterator[None]:
    """Report each tensor before transformers loads it: shard, bytes so far with this one, resident memory.

    transformers 5 loads without a loop over shards; its progress bar is what tells one tensor from the next.
    """
    from transformers.utils import logging

    def bar(factory: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if options.get("desc") != "Loading weights":
            return factory(*arguments, **options)
        return _told(arguments[0], tensors, shards, report)

    before = logging.set_tqdm_hook(bar)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


def _told(items: Any, tensors: Mapping[str, Tensor], shards: list[str], report: Report) -> Iterator[Any]:
    """`items` are pairs of a parameter and how it is made, which knows the names of its sources."""
    items = list(items)
    sources = [sorted({name for group in how.layer_targets.values() for name in group}) for _, how in items]
    total = sum(tensors[name].bytes for names in sources for name in names)
    me = psutil.Process()
    done = trimmed = 0
    for item, names in zip(items, sources, strict=True):
        for tensor in (tensors[name] for name in names):
            done += tensor.bytes
            report(
                {
                    "event": "tensor",
                    "shard": tensor.shard,
                    "shard_number": shards.index(tensor.shard) + 1,
                    "shards": len(shards),
                    "tensor": tensor.name,
                    "done_bytes": done,
                    "total_bytes": total,
                    "resident_bytes": me.memory_info().rss,
                }
            )
        if done - trimmed > TRIM_BYTES:
            trim()
            trimmed = done
        yield item
