"""A transformers folder for tests: the bundled GGUF model, converted once and kept in the cache folder."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from rag import bundled
from rag.places import cache_root


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as sharded float16 safetensors with its tokenizer and chat template."""
    folder = cache_root() / "tests" / f"SmolLM2-135M-Instruct-fp16-{bundled.SMOLLM2.sha256[:8]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            aside = folder.with_name(f"{folder.name}.{os.getpid()}")
            shutil.rmtree(aside, ignore_errors=True)
            _convert(bundled.path(bundled.SMOLLM2), aside)
            aside.rename(folder)
    return folder


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    place = {
        "pretrained_model_name_or_path": str(file.parent),
        "gguf_file": file.name,
        "local_files_only": True,
    }
    read = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float16)
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    plain = LlamaForCausalLM(LlamaConfig(**settings)).to(torch.float16)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder, max_shard_size="50MB")
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
