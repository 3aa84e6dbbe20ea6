"""vLLM's engine for a plan: which of its many settings, and what it needs to be told beforehand."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

from rag.errors import EngineMissing
from rag.loader.base import BATCH_TOKENS, Report
from rag.loader.engines.vllm_failures import first_line
from rag.loader.engines.vllm_progress import reporting_load_format
from rag.loader.machine.installed import installed_engines
from rag.loader.model.declared import SIDE_FILES, modern_block
from rag.loader.model.files import LocalFiles, read_json
from rag.loader.records import Plan

ANSWERS_AT_ONCE = 32
"""More of them wait. On a processor vLLM sets aside room for so many, on a GPU for several hundred."""


def one_process(plan: Plan) -> bool:
    """Whether the model lies in this process: one GPU, or the processor."""
    return plan.tensor_parallel * plan.pipeline_parallel == 1 and plan.distributed_executor in (None, "uni")


def build(plan: Plan, report: Report) -> Any:
    """vLLM's engine with the model in memory; raises whatever vLLM raises."""
    try:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine
    except (ImportError, OSError, RuntimeError) as error:  # a library built for another torch, for one
        raise EngineMissing(
            f"{plan.name} needs vLLM, which does not import: {_versions()}: {first_line(error)}",
            installed_engines()["vllm"].fix or "Install vLLM again, with the torch that it names.",
        ) from error
    _check_platform(plan, current_platform)
    _inspect_here(plan)
    arguments = _arguments(plan)
    if not one_process(plan):
        report({"event": "note", "message": "each GPU loads its own share; progress per tensor is not shown"})
    elif plan.load_format == "auto":
        arguments["load_format"] = reporting_load_format(plan, report)
    config = EngineArgs(**arguments).create_engine_config()
    if plan.device != "cuda":
        config.cache_config.kv_cache_memory_bytes = _kv_bytes(config)
    elif plan.least_memory:
        # The attention that vLLM chooses later may count in larger blocks.
        config.cache_config.kv_cache_memory_bytes = _kv_bytes(config) * 5 // 4
    return LLMEngine.from_vllm_config(config, disable_log_stats=True)


def _check_platform(plan: Plan, platform: Any) -> None:
    """Raises EngineMissing when vLLM's build and the planned device do not belong together."""
    if plan.device == "cuda" and platform.is_cpu():
        raise EngineMissing(
            f"{plan.name} is to run on a GPU, and the vLLM installed here is the build for processors",
            "Install requirements/vllm.txt in its place, or use --device cpu.",
        )
    if not platform.is_cpu() and platform.is_unspecified():
        raise EngineMissing(
            "this vLLM is the build for CUDA, and it finds no GPU",
            "Check the driver with `nvidia-smi`, or use --engine transformers or --engine llamacpp.",
        )


def _arguments(plan: Plan) -> dict[str, Any]:
    arguments = {
        "model": plan.model,
        "served_model_name": plan.name,
        "dtype": plan.dtype or "auto",
        "max_model_len": plan.context_tokens,
        "load_format": plan.load_format,
        "quantization": _quantization(plan),
        "tensor_parallel_size": plan.tensor_parallel,
        "pipeline_parallel_size": plan.pipeline_parallel,
        "distributed_executor_backend": plan.distributed_executor,
        "trust_remote_code": plan.trust_remote_code,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if block := _side_file_block(plan):
        arguments["hf_overrides"] = {"quantization_config": block}
    if plan.device == "cuda":
        return {**arguments, "gpu_memory_utilization": plan.gpu_memory_utilization}
    # Compiling takes a C++ compiler and half a minute, and gains nothing for one reader.
    return {
        **arguments,
        "enforce_eager": True,
        "max_num_batched_tokens": BATCH_TOKENS["vllm"],
        "max_num_seqs": ANSWERS_AT_ONCE,
    }


def _side_file_block(plan: Plan) -> dict[str, Any] | None:
    """What config.json should say of old AWQ and GPTQ weights; without it vLLM takes them for unquantized."""
    if plan.stored not in ("awq", "gptq"):
        return None
    files = LocalFiles(Path(plan.model))
    read = {name: read_json(files, name)[0] for name in ("config.json", *SIDE_FILES) if name in files.sizes()}
    return modern_block(read.pop("config.json", {}), read)


def _quantization(plan: Plan) -> str | None:
    """What vLLM is to do to weights that the files carry unquantized; the rest it reads from the files.

    Naming "awq" or "gptq" here would keep it from picking the Marlin kernels. Raises EngineMissing.
    """
    if plan.stored != "none" or plan.quantization == "none":
        return None
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    named = {"fp8": ("fp8_per_tensor", "fp8"), "bnb-4bit": ("bitsandbytes",)}
    for method in named.get(plan.quantization, ()):
        if method in QUANTIZATION_METHODS:
            return method
    raise EngineMissing(
        f"{_versions()} cannot reduce {plan.name} to {plan.quantization} while loading",
        "Use --engine transformers for that, or --quantization fp8, or a model that is published quantized.",
    )


def _inspect_here(plan: Plan) -> None:
    """Spare vLLM the process that it starts to look at a model's class: it would import torch again.

    It does so to keep CUDA out of a process that may fork, and spawns instead where CUDA got in. Nothing
    would end that process together with this one.
    """
    from vllm.model_executor.models.registry import ModelRegistry
    from vllm.transformers_utils.config import get_config

    for name in getattr(get_config(plan.model, plan.trust_remote_code), "architectures", None) or ():
        if known := ModelRegistry.models.get(name):
            ModelRegistry.register_model(name, known.load_model_cls())


def _kv_bytes(config: Any) -> int:
    """The least key-value cache that holds one whole context, in bytes.

    Two vectors of `head size` for each layer, key-value head and token, in whole blocks; vLLM keeps one
    block for itself.
    """
    import torch

    model, block = config.model_config, config.cache_config.block_size
    heads = model.get_num_kv_heads(config.parallel_config)
    layers = model.get_num_layers(config.parallel_config)
    width = torch.empty((), dtype=model.dtype).element_size()
    blocks = math.ceil(model.max_model_len / block) + 1
    return blocks * block * 2 * layers * heads * model.get_head_size() * width


def environment(plan: Plan) -> dict[str, str]:
    """vLLM reads these once, when it is imported."""
    settings = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    if plan.device != "cuda":
        # Only its worker processes choose a number of threads by themselves.
        settings["OMP_NUM_THREADS"] = str(max(1, plan.threads))
    return settings


def bind_children() -> None:
    """Let Linux end every process that is forked from here together with this one.

    vLLM's workers for several GPUs watch a pipe for their parent's end, in a thread that stands still
    while a library loads gigabytes.
    """
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    pr_set_pdeathsig = 1
    libc = ctypes.CDLL(None)
    os.register_at_fork(after_in_child=lambda: libc.prctl(pr_set_pdeathsig, signal.SIGKILL))


def _versions() -> str:
    packages = installed_engines()["vllm"].packages
    return ", ".join(f"{name} {number}" for name, number in packages.items() if name != "transformers")
