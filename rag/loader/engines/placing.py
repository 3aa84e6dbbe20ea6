"""Where transformers is to put a model: the arguments of `from_pretrained` that a plan amounts to."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import psutil

from rag.errors import DoesNotFit, ModelLoadFailed
from rag.heap import give_back_at_once
from rag.loader.machine.limits import available_bytes
from rag.loader.planning import memory, sizes
from rag.loader.records import ModelFacts, Plan
from rag.places import cache_root

READ_AGAIN_BYTES = 256 << 10
"""Weights of this size and more are read from the disk for every token, and must not pile up in the heap."""

COPIED_BYTES = 1 << 20
"""bitsandbytes copies a matrix several times while it reduces and repacks it: up to 500 MB of holes.

Experts that are merged left as much as they hold.
"""

DTYPES = ("float32", "float16", "bfloat16")


def arguments(plan: Plan, facts: ModelFacts) -> dict[str, Any]:
    """dtype, quantization and placement. Raises ModelLoadFailed, DoesNotFit."""
    remove_left_over()
    if any(sizes.merged(tensor.name) for tensor in facts.tensors):
        give_back_at_once(COPIED_BYTES)
    return {"dtype": _dtype(plan), **_quantization(plan), **_placement(plan, facts)}


def _dtype(plan: Plan) -> Any:
    """torch's dtype; "auto", which is the stored one, where quantized weights come with their own."""
    import torch

    named = plan.dtype or ("auto" if plan.stored != "none" else "float32")
    if named != "auto" and named not in DTYPES:
        raise ModelLoadFailed(
            f"a model cannot be computed in {named}", f"Choose --dtype among {', '.join(DTYPES)}."
        )
    return named if named == "auto" else getattr(torch, named)


def _quantization(plan: Plan) -> dict[str, Any]:
    """Nothing for weights that are stored quantized: the model's own config knows better."""
    if plan.quantization not in ("bnb-4bit", "bnb-8bit"):
        return {}
    give_back_at_once(COPIED_BYTES)
    # It warns at every single product that float32 inputs are cast: thousands of lines for an answer.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if plan.stored != "none":
        return {}
    from transformers import BitsAndBytesConfig

    if plan.quantization == "bnb-8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    reduced = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_dtype(plan),
    )
    return {"quantization_config": reduced}


def _placement(plan: Plan, facts: ModelFacts) -> dict[str, Any]:
    if plan.device == "cuda":
        return _on_gpus(plan)
    if plan.device == "disk":
        give_back_at_once(READ_AGAIN_BYTES)
        return {
            "device_map": "auto",
            "max_memory": {"cpu": budget(plan, facts)},
            "offload_folder": str(new_offload_folder()),
        }
    return {"device_map": {"": "cpu"}}  # said outright, because bitsandbytes takes a GPU where there is one


def _on_gpus(plan: Plan) -> dict[str, Any]:
    """The GPUs with most memory free, as many as the plan wants."""
    import torch

    if not torch.cuda.is_available():
        built = "sees no GPU" if torch.version.cuda else "is built for processors alone"
        raise ModelLoadFailed(
            f"{plan.name} cannot be loaded on a GPU: torch {torch.__version__} {built}",
            "Leave --device out, or install torch for CUDA and the GPU's driver.",
        )
    free = {index: torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())}
    wanted = max(1, plan.tensor_parallel * plan.pipeline_parallel)
    chosen = sorted(free, key=lambda index: -free[index])[:wanted]
    if wanted == 1:
        return {"device_map": {"": chosen[0]}}
    return {"device_map": "auto", "max_memory": {index: free[index] for index in sorted(chosen)}}


def budget(plan: Plan, facts: ModelFacts) -> int:
    """Bytes of weights that stay in memory: what the cap leaves, less one tensor on its way from the disk.

    accelerate fills a processor's share to the last byte, and reads the rest one module at a time.
    """
    cap = plan.max_memory_bytes or available_bytes() + psutil.Process().memory_info().rss
    kept = memory.offload_budget(
        facts,
        cap,
        engine=plan.engine,
        quantization=plan.quantization,
        dtype=plan.dtype,
        context_tokens=plan.context_tokens,
        threads=plan.threads,
    )
    if kept is None:
        raise DoesNotFit(
            f"{plan.name} cannot be read from the disk layer by layer within {cap / 1e6:,.0f} MB",
            "Raise --max-memory, shorten the context (--context), or choose a smaller model.",
        )
    return kept - max(round(sizes.loaded_bytes(t, facts, "none", plan.dtype)) for t in facts.tensors)


def new_offload_folder() -> Path:
    """An empty folder of this process.

    Dense weights are read again from the model's own files; only what is converted on loading is written.
    """
    root = cache_root() / "offload"
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{psutil.Process().pid}-", dir=root))


def remove_left_over() -> None:
    """Remove the offload folders of processes that are gone: a killed worker cannot do it itself."""
    root = cache_root() / "offload"
    for folder in root.iterdir() if root.exists() else ():
        owner = folder.name.partition("-")[0]
        if not owner.isdigit() or not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
