"""Telling each tensor before vLLM reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rag.loader.base import Report
from rag.loader.model.files import LocalFiles
from rag.loader.model.safetensors import read_shard
from rag.loader.records import Plan, Tensor

LOAD_FORMAT = "reported"


def reporting_load_format(plan: Plan, report: Report) -> str:
    """The name under which vLLM finds its usual loader with a report of every tensor."""
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    tensors = stored_tensors(Path(plan.model))

    class ReportingLoader(DefaultModelLoader):
        def __init__(self, load_config: Any) -> None:
            super().__init__(dataclasses.replace(load_config, load_format="auto"))

        def get_all_weights(self, model_config: Any, model: Any) -> Iterator[tuple[str, Any]]:
            # What it yields is mapped, not read: the bytes come when the model copies them.
            return reported(super().get_all_weights(model_config, model), tensors, report)

    register_model_loader(LOAD_FORMAT)(ReportingLoader)
    return LOAD_FORMAT


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder's safetensors files by its name, file by file."""
    files = LocalFiles(folder)
    sizes = files.sizes()
    shards = sorted(name for name in sizes if name.endswith(".safetensors") and "/" not in name)
    return {tensor.name: tensor for name in shards for tensor in read_shard(files, name, sizes[name])[1]}


def reported(
    weights: Iterable[tuple[str, Any]], tensors: dict[str, Tensor], report: Report
) -> Iterator[tuple[str, Any]]:
    """Pass named weights on, each told first; `done_bytes` are those before it."""
    import psutil

    process = psutil.Process()
    shards = list(dict.fromkeys(tensor.shard for tensor in tensors.values()))
    total, done = sum(tensor.bytes for tensor in tensors.values()), 0
    for name, value in weights:
        if tensor := tensors.get(name):
            report(
                {
                    "event": "tensor",
                    "shard": tensor.shard,
                    "shard_number": shards.index(tensor.shard) + 1,
                    "shards": len(shards),
                    "tensor": name,
                    "done_bytes": done,
                    "total_bytes": total,
                    "resident_bytes": process.memory_info().rss,
                }
            )
            done += tensor.bytes
        yield name, value
