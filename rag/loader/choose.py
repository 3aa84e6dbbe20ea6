"""Which engine runs the model that the settings name: simple rules, from the kind of file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.cores import usable_cores
from rag.errors import ModelLoadFailed, ModelNotFound, UsageError
from rag.loader import gguf
from rag.loader.records import Plan

if TYPE_CHECKING:
    from rag.settings import ModelSettings

CONTEXT_TOKENS = 2048
AS_IT_IS = {"auto", "none"}
SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def choose(settings: ModelSettings, context_tokens: int = CONTEXT_TOKENS) -> Plan:
    """Plan how to run the model that `settings` name.

    `context_tokens` is what prompt and answer need together; a model that knows less gets less.
    Raises ModelNotFound, ModelLoadFailed, UsageError, BundledModelMissing.
    """
    cap = None if settings.max_memory is None else parse_bytes(settings.max_memory)
    threads = settings.threads or usable_cores()
    plan = _plan_for(settings.model, context_tokens, threads)
    _refuse_other_engine(settings.engine, plan)
    _refuse_other_quantization(settings.quantization, plan)
    return replace(plan, max_memory_bytes=cap, load_seconds=settings.load_seconds)


def parse_bytes(text: str) -> int:
    """Bytes in "8GB" (powers of 1000), "8GiB" (powers of 1024) or plain "8000000000"."""
    match = SIZE.fullmatch(text.strip())
    amount = 0
    if match:
        number, prefix, binary = match.groups()
        amount = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " "))
    if amount < 1:
        raise UsageError(f"{text!r} is not an amount of memory", "Write it as in 8GB, 7.5GiB or 8000000000.")
    return amount


def _plan_for(model: str, context_tokens: int, threads: int) -> Plan:
    if model == "bundled":
        return _bundled(context_tokens, threads)
    path = Path(model).expanduser()
    if path.is_file() and path.suffix.lower() == ".gguf":
        return _gguf_file(path, context_tokens, threads)
    if path.is_file():
        raise ModelNotFound(
            f"{model} is not a model that can be read",
            "Name a GGUF file, or the folder that holds config.json.",
        )
    if (path / "config.json").is_file():
        return _folder(path, context_tokens, threads)
    if path.is_dir():
        files = sorted(file.name for file in path.glob("*.gguf"))
        fix = f"Name the file: {path / files[0]}" if files else "Name a folder that holds config.json."
        raise ModelNotFound(f"the folder {model} holds no config.json", fix)
    raise ModelNotFound(
        f"there is no file or folder {model}",
        "Download the model, then name its GGUF file or its folder; 'bundled' needs no download.",
    )


def _bundled(context_tokens: int, threads: int) -> Plan:
    from rag import bundled

    path = str(bundled.path(bundled.SMOLLM2))
    name, parameters = bundled.SMOLLM2.name, 134_515_008
    context = min(context_tokens, 8192)
    return Plan(path, name, "llamacpp", "Q4_1", None, context, threads, parameters=parameters)


def _gguf_file(path: Path, context_tokens: int, threads: int) -> Plan:
    metadata = gguf.read_metadata(path)
    context = min(context_tokens, gguf.context_length(metadata) or context_tokens)
    quantization = gguf.quantization(metadata)
    return Plan(str(path.resolve()), path.stem, "llamacpp", quantization, None, context, threads)


def _folder(path: Path, context_tokens: int, threads: int) -> Plan:
    name = path.resolve().name
    config = _config(path / "config.json")
    if method := (config.get("quantization_config") or {}).get("quant_method"):
        raise ModelLoadFailed(
            f"{name} is quantized with {method}, which is not supported yet",
            "Use the model's unquantized folder, or a GGUF file of it.",
        )
    if not any(path.glob("*.safetensors")):
        raise ModelLoadFailed(
            f"{name} has no .safetensors files; pickled weights can run programs and are not read",
            "Download the model's safetensors variant.",
        )
    context = min(context_tokens, config.get("max_position_embeddings") or context_tokens)
    return Plan(str(path.resolve()), name, "transformers", "none", "float32", context, threads)


def _config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(config, dict):
            return config
        reason = "it holds no settings"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise ModelLoadFailed(f"{file} cannot be read: {reason}", "Download the model's folder again.")


def _refuse_other_engine(engine: str, plan: Plan) -> None:
    if engine in ("auto", plan.engine):
        return
    kind = "a GGUF file" if plan.engine == "llamacpp" else "a model folder"
    raise UsageError(
        f"the engine {engine} cannot run {plan.name}, which is {kind}",
        f"Leave --engine out, or use --engine {plan.engine}.",
    )


def _refuse_other_quantization(quantization: str, plan: Plan) -> None:
    if quantization.lower() in {*AS_IT_IS, plan.quantization.lower()}:
        return
    have = "not quantized" if plan.quantization == "none" else f"quantized as {plan.quantization}"
    raise UsageError(
        f"{plan.name} is {have} and cannot be read as {quantization} yet",
        "Leave --quantization out, or name a file that is quantized that way.",
    )
