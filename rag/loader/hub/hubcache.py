"""What huggingface_hub's own cache already holds, read without the package.

Its layout (huggingface_hub's guide "Understand caching"): models--OWNER--NAME/refs/REVISION names a commit,
snapshots/COMMIT/FILE links to blobs/DIGEST. A file gets its link only when it is complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rag.loader.hub.needed import SHARD

COMMIT = re.compile(r"[0-9a-f]{40}")
TOKENIZERS = {"tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt", "spiece.model"}


def shared_cache(environ: Mapping[str, str]) -> Path:
    """The cache's folder, from the variables that huggingface_hub itself follows."""
    if named := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = environ.get("XDG_CACHE_HOME")
    return (Path(caches).expanduser() if caches else Path.home() / ".cache") / "huggingface" / "hub"


def shared_snapshot(
    repo: str,
    revision: str,
    wanted: Callable[[Mapping[str, int]], Sequence[str]] | Sequence[str],
    environ: Mapping[str, str],
) -> Path | None:
    """The snapshot folder if it holds all that is wanted. Raises as `wanted` does, OSError."""
    model = _model(repo, environ)
    ref = model / "refs" / revision
    commit = revision if COMMIT.fullmatch(revision) else ref.read_text(encoding="utf-8").strip()
    folder = model / "snapshots" / commit
    sizes = {
        file.relative_to(folder).as_posix(): file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file()
    }
    if not callable(wanted):
        return folder if wanted and set(wanted) <= set(sizes) else None
    names = wanted(sizes)
    return folder if _whole(folder, names) else None


def shared_blob(repo: str, digest: str, environ: Mapping[str, str]) -> Path | None:
    """The complete file with this content."""
    blob = _model(repo, environ) / "blobs" / digest
    return blob if digest and blob.is_file() else None


def _model(repo: str, environ: Mapping[str, str]) -> Path:
    return shared_cache(environ) / f"models--{repo.replace('/', '--')}"


def _whole(folder: Path, names: Sequence[str]) -> bool:
    """Whether these are a model, for a cache may hold any part of one: only its config, say."""
    weights = [name for name in names if name.endswith((".safetensors", ".gguf"))]
    for name in names:
        if name.endswith(".safetensors.index.json"):
            index = json.loads((folder / name).read_text(encoding="utf-8"))
            if not set(index["weight_map"].values()) <= set(weights):
                return False
    if not weights or not all(_siblings(name) <= set(weights) for name in weights):
        return False
    if weights[0].endswith(".gguf"):
        return True
    return "config.json" in names and not TOKENIZERS.isdisjoint(names)


def _siblings(name: str) -> set[str]:
    """All parts of what `name` is one part of, as in model-00002-of-00003.safetensors."""
    match = SHARD.search(name)
    if match is None:
        return {name}
    _, number, _, count = match.group().split("-")
    numbers = (f"-{part:0{len(number)}d}-of-{count}" for part in range(1, int(count) + 1))
    return {name[: match.start()] + part + name[match.end() :] for part in numbers}
