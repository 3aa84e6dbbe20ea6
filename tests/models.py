"""A transformers folder for tests: the bundled GGUF model, converted once and kept in the cache folder."""

from pathlib import Path

import pytest
from filelock import FileLock

from rag import bundled
from rag.evaluation.plain_model import plain_folder
from rag.places import cache_root


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as sharded float16 safetensors with its tokenizer and chat template."""
    folder = cache_root() / "tests" / f"SmolLM2-135M-Instruct-fp16-{bundled.SMOLLM2.sha256[:8]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        return plain_folder(folder, "float16", shard_size="50MB")
