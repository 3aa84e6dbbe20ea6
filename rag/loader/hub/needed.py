"""Which of a repository's files an engine needs: weights in one safe format, and what reads text for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from rag.errors import ModelNotFound, ModelRefused

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Formats whose reading runs whatever the file says."""
SIDE_FILES = (".json", ".jinja", ".model", ".tiktoken")
SIDE_NAMES = {"merges.txt", "vocab.txt"}
NOT_NEEDED = re.compile(r"(.*\.(bin|h5|msgpack)\.index\.json|.*\.onnx\.json)", re.IGNORECASE)
SHARD = re.compile(r"-\d+-of-\d+(?=\.(safetensors|gguf)$)")
PREFERRED_GGUF = ("Q4_K_M", "Q5_K_M", "Q4_K_S", "Q6_K", "Q8_0", "Q4_0", "MXFP4")
"""Where none is named: the usual middle way first, then what is better rather than smaller."""


def files_for(
    names: Iterable[str], engine: str, gguf_name: str | None = None, trust_remote_code: bool = False
) -> list[str]:
    """What to download for `engine`; `names` may be a mapping of sizes.

    `gguf_name` is a file's name or its quantization ("Q4_K_M"), and implies one GGUF file, with all its parts
    where it is split. Else safetensors with config, tokenizer and chat template, and *.py only when trusted.
    Raises ModelNotFound where there is nothing that the engine reads, ModelRefused for pickles alone.
    """
    names = sorted(names)
    if gguf_name or engine == "llamacpp":
        return _gguf(names, gguf_name)
    weights = _safetensors([name for name in names if "/" not in name])
    if not weights:
        raise _no_safetensors(names)
    consolidated = weights[0].startswith("consolidated")
    return weights + [name for name in names if _beside(name, consolidated, trust_remote_code)]


def _safetensors(names: list[str]) -> list[str]:
    """One set of weights: a repository may hold the same model twice, whole and in Mistral's own layout."""
    found = [name for name in names if name.endswith(".safetensors")]
    if "model.safetensors" in found:
        return ["model.safetensors"]
    for index in (name for name in names if name.endswith(".safetensors.index.json")):
        stem = index.removesuffix(".safetensors.index.json")
        shards = [name for name in found if name.startswith(stem) and SHARD.search(name)]
        if shards and stem != "consolidated":
            return shards
    usual = [name for name in found if not name.startswith("consolidated")]
    return usual or found


def _beside(name: str, consolidated: bool, trust_remote_code: bool) -> bool:
    path = PurePosixPath(name)
    if path.suffix == ".py":
        return trust_remote_code
    if "/" in name:
        return path.parts[0] == "additional_chat_templates"
    if name.startswith("."):
        return False
    if name == "params.json":
        return consolidated
    return (path.suffix in SIDE_FILES or name in SIDE_NAMES) and not NOT_NEEDED.fullmatch(name)


def _no_safetensors(names: list[str]) -> ModelRefused | ModelNotFound:
    pickled = [name for name in names if name.lower().endswith(PICKLES)]
    if pickled:
        return ModelRefused(
            f"the repository holds its weights only pickled ({pickled[0]}), and reading those runs programs",
            "Choose a version of the model with safetensors or GGUF weights.",
        )
    if any(name.endswith(".gguf") for name in names):
        return ModelNotFound(
            "the repository holds GGUF files and no safetensors",
            "Leave --engine out, or use --engine llamacpp.",
        )
    return ModelNotFound("the repository holds no weights", "Check the model's name on the hub.")


def _gguf(names: list[str], wanted: str | None) -> list[str]:
    # the projector of a multimodal model and an importance matrix are GGUF files, too
    models = [n for n in names if n.endswith(".gguf") and not re.search(r"(^|/)(mmproj|imatrix)", n, re.I)]
    groups: dict[str, list[str]] = {}
    for name in models:
        groups.setdefault(SHARD.sub("", name), []).append(name)
    if not groups:
        raise ModelNotFound(
            "the repository holds no GGUF file, which llama.cpp needs",
            "Look for the model's name with -GGUF at the end, or use another engine.",
        )
    for label in [wanted] if wanted else PREFERRED_GGUF:
        for whole, parts in groups.items():
            if label in (*parts, whole) or _labelled(whole, label):
                return parts
    if wanted:
        raise ModelNotFound(
            f"the repository holds no GGUF file {wanted}", f"Name one of these: {', '.join(groups)}."
        )
    return next(iter(groups.values()))


def _labelled(name: str, label: str) -> bool:
    """Whether the file's name carries the quantization, not merely one that begins alike (Q4_K, Q4_K_M)."""
    return re.search(rf"(^|[^a-z0-9]){re.escape(label)}([^a-z0-9_]|$)", name, re.IGNORECASE) is not None
