"""The bundled language model as a plain transformers folder, for libraries that do not read GGUF files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from rag import bundled


def plain_folder(folder: Path, dtype: str, shard_size: str = "5GB") -> Path:
    """`folder`, with SmolLM2-135M-Instruct as safetensors of this dtype, its tokenizer and chat template.

    Made once, aside, and renamed when whole. Raises BundledModelMissing.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        _convert(bundled.path(bundled.SMOLLM2), aside, dtype, shard_size)
        aside.rename(folder)
    return folder


def _convert(file: Path, folder: Path, dtype: str, shard_size: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    kind = getattr(torch, dtype)
    place: dict[str, Any] = {
        "pretrained_model_name_or_path": str(file.parent),
        "gguf_file": file.name,
        "local_files_only": True,
    }
    read = AutoModelForCausalLM.from_pretrained(**place, dtype=kind)
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    plain = LlamaForCausalLM(LlamaConfig(**settings)).to(kind)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder, max_shard_size=shard_size)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
