"""Settings: one frozen object per concern, defaults < footnote.toml < FOOTNOTE_* < flags."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag.errors import SettingsError
from rag.places import CHECKOUT

SETTINGS_FILE = "footnote.toml"
DEFAULT_COLLECTION = "default"
ENV_PREFIX = "FOOTNOTE_"
SPECIAL_ENV = {
    "FOOTNOTE_INDEX",
    "FOOTNOTE_CONFIG",
    "FOOTNOTE_CACHE",
    "FOOTNOTE_DATA",
    "FOOTNOTE_TEST_DATA",
    "FOOTNOTE_API_KEY",
}
"""Environment variables that are no settings: places, and a secret, which belongs into no file."""
PRESETS = "presets"
"""The table of footnote.toml that `rag.loader.hub.presets` reads."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IngestSettings(_Frozen):
    """Reading files: limits per file, pool size, OCR."""

    workers: int = Field(2, ge=1, le=64, description="parser processes")
    file_seconds: float = Field(60.0, gt=0, description="time limit per file, in seconds")
    file_memory_mb: int = Field(1024, ge=128, description="memory limit per file, in MiB")
    max_file_mb: int = Field(256, ge=1, description="larger files are not read, in MiB")
    max_pages: int = Field(5000, ge=1, description="pages, slides or sheets read per file")
    ocr: Literal["auto", "off"] = Field("auto", description="read scanned pages with Tesseract")
    ocr_language: str = Field("eng", description="Tesseract language codes, joined by +")
    exclude: tuple[str, ...] = Field((), description="patterns as in .gitignore")


class ChunkSettings(_Frozen):
    """Cutting documents into passages, sized in the embedder's own tokens."""

    tokens: int = Field(200, ge=32, description="aim per passage, in embedder tokens")
    overlap: int = Field(0, ge=0, description="tokens repeated between neighbours")


class EmbeddingSettings(_Frozen):
    """Which model turns passages and questions into vectors."""

    model: str = Field("bundled", description="'bundled' or a sentence-transformers name or folder")
    threads: int = Field(0, ge=0, description="0 means all usable cores")


class RetrievalSettings(_Frozen):
    """Searching and rereading; the defaults come from scripts/evaluate.py, see docs/retrieval.md."""

    top_k: int = Field(5, ge=1, le=100, description="passages handed to the answer")
    dense_depth: int = Field(100, ge=1, description="candidates from the vector search")
    lexical_depth: int = Field(100, ge=1, description="candidates from the word search")
    dense_weight: float = Field(0.8, ge=0, le=1, description="share of cosine in the fused score")
    name_weight: float = Field(
        0.1, ge=0, description="worth of a file's name that has the question's words; 0: names do not count"
    )
    documents: int = Field(
        8,
        ge=0,
        le=100,
        description="passages, one a document, where a question asks of several; 0: as for one",
    )
    rerank: str = Field(
        "reader",
        description="'reader', 'bundled', a sentence-transformers cross-encoder's name or folder, or 'off'",
    )
    rerank_pairs: int = Field(10, ge=0, le=100, description="candidates that are reread at most")
    rerank_ms: int = Field(
        150, ge=0, description="fewer candidates where this machine needs longer; 0 sets no limit"
    )
    rerank_lead: float = Field(
        0.1, ge=0, description="where the best one leads by so much, only two are reread at first; 0: never"
    )
    rerank_weight: float = Field(0.07, ge=0, description="worth of one logit of it in the final score")
    per_document: int = Field(0, ge=0, description="passages of one document while others match; 0: any")


class AnswerSettings(_Frozen):
    """From passages to words."""

    context_tokens: int = Field(1024, ge=256, description="prompt budget, in the model's tokens")
    answer_tokens: int = Field(160, ge=16, description="longest answer of the model, in its tokens")
    max_history_tokens: int = Field(
        512,
        ge=0,
        description="a model may read so much of a conversation to make a question whole; 0: rules do",
    )
    temperature: float = Field(0.0, ge=0, le=2, description="0 always takes the likeliest word")
    refusal_threshold: float = Field(0.2, ge=0, le=1, description="below it: 'not in your documents'")
    lead: Literal["auto", "evidence", "model"] = Field(
        "auto", description="who speaks first; auto lets models that are small or read badly only support"
    )


class ModelSettings(_Frozen):
    """Which language model answers, and how it is loaded."""

    model: str = Field(
        "bundled", description="'bundled', a preset, a GGUF file, a model folder, a hub id, or a server's URL"
    )
    engine: Literal["auto", "llamacpp", "transformers", "vllm", "remote"] = Field(
        "auto", description="what runs the model; auto goes by its files and this machine"
    )
    quantization: str = Field(
        "auto", description="auto, none, bnb-4bit, bnb-8bit, awq, gptq, fp8, or a GGUF type"
    )
    dtype: str = Field("auto", description="auto, float32, bfloat16 or float16")
    device: Literal["auto", "cpu", "cuda", "disk"] = Field(
        "auto", description="where the weights lie; disk reads them again for every token"
    )
    context: int = Field(0, ge=0, description="tokens of prompt and answer; 0 means what answers need")
    max_memory: str | None = Field(None, description="cap for the model process, as in '8GB'")
    threads: int = Field(0, ge=0, description="0 means all usable cores")
    load_seconds: float = Field(600.0, gt=0, description="give up loading after this long")
    requantize: Literal["auto", "off"] = Field(
        "auto", description="keep a faster copy of a GGUF file whose type is slow here"
    )
    tensor_parallel: int = Field(
        0, ge=0, description="GPUs that share each layer (vLLM); 0 means as many as needed"
    )
    pipeline_parallel: int = Field(
        1, ge=1, description="GPUs or machines that share the layers in turn (vLLM)"
    )
    distributed_executor: Literal["auto", "mp", "ray"] = Field(
        "auto", description="what starts vLLM's processes; ray for several machines"
    )
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of each GPU that vLLM may take")
    trust_remote_code: bool = Field(False, description="run programs that a model folder brings along")


class Settings(_Frozen):
    """Everything that can be set, by concern."""

    ingest: IngestSettings = IngestSettings()
    chunk: ChunkSettings = ChunkSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
    model: ModelSettings = ModelSettings()


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Merge the four layers and check every name and value.

    `flags` maps dotted names ("retrieval.top_k") to values; None values are left out. `file`
    defaults to FOOTNOTE_CONFIG, else footnote.toml in the checkout, where it exists.
    Raises SettingsError naming the layer, the setting, and the nearest known name.
    """
    environ = os.environ if environ is None else environ
    merged: dict[str, dict[str, Any]] = {}
    for layer, values in (
        _file_layer(file, environ),
        ("environment", _env_values(environ)),
        ("command line", {k: v for k, v in (flags or {}).items() if v is not None}),
    ):
        for name, value in values.items():
            section, key = _known(name, layer)
            merged.setdefault(section, {})[key] = value
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        variable = ENV_PREFIX + name.upper().replace(".", "_")
        raise SettingsError(
            f"{name} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}",
            f"Correct {name} where it was set (flag, {variable} or {SETTINGS_FILE}).",
        ) from error


def known_names() -> list[str]:
    """Every setting as a dotted name."""
    return [
        f"{section}.{key}"
        for section, field in Settings.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]


def _file_layer(file: Path | None, environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    named = file or (Path(environ["FOOTNOTE_CONFIG"]) if environ.get("FOOTNOTE_CONFIG") else None)
    path = named or CHECKOUT / SETTINGS_FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            raise SettingsError(
                f"the settings file {path} does not exist", "Create it, or correct FOOTNOTE_CONFIG."
            ) from None
        return str(path), {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "Correct the file or remove it.") from error
    flat: dict[str, Any] = {}
    for section, keys in content.items():
        if section == PRESETS:
            continue
        if isinstance(keys, dict):
            flat.update({f"{section}.{key}": value for key, value in keys.items()})
        else:
            flat[section] = keys
    return str(path), flat


def _env_values(environ: Mapping[str, str]) -> dict[str, Any]:
    by_variable = {name.upper().replace(".", "_"): name for name in known_names()}
    values: dict[str, Any] = {}
    for variable, value in environ.items():
        if not variable.startswith(ENV_PREFIX) or variable in SPECIAL_ENV:
            continue
        rest = variable.removeprefix(ENV_PREFIX)
        name = by_variable.get(rest)
        if name is None:
            near = difflib.get_close_matches(rest, by_variable, n=1, cutoff=0.0)
            raise SettingsError(f"no setting is called {variable}", f"Did you mean {ENV_PREFIX}{near[0]}?")
        values[name] = value.split(",") if name == "ingest.exclude" else value
    return values


def _known(name: str, layer: str) -> tuple[str, str]:
    names = known_names()
    if name in names:
        section, _, key = name.partition(".")
        return section, key
    leaf = name.rpartition(".")[2]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [
        full for full in names if difflib.get_close_matches(leaf.lower(), [full.split(".")[1]])
    ]
    hint = f"Did you mean '{near[0]}'?" if near else f"Known settings: {', '.join(names)}."
    raise SettingsError(f"no setting '{name}' ({layer})", hint)
