"""What a GGUF file, or a set of its parts, says of the model in it, under the names that config.json has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rag.loader.model import gguf
from rag.loader.model.files import DOWNLOAD_AGAIN, Files, amount, lfs_pointer
from rag.loader.model.model_config import BASE_MODEL, window_notes
from rag.loader.records import ModelFacts, Problem, Quantization, Shard, Tensor

PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.I)
CONFIG = {  # config.json's name -> GGUF's, after the architecture
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "v_head_dim": "attention.value_length",
    "intermediate_size": "feed_forward_length",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "sliding_window_pattern": "attention.sliding_window_pattern",
    "num_kv_shared_layers": "attention.shared_kv_layers",
    "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "rope_theta": "rope.freq_base",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "full_attention_interval": "full_attention_interval",
    "conv_kernel": "ssm.conv_kernel",
    "state_size": "ssm.state_size",
    "ssm_inner_size": "ssm.inner_size",
}
PER_LAYER = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
ENCODERS = (
    "bert",
    "modern-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "t5encoder",
)
NAMED_TYPE = re.compile(r"(?<![a-z\d])((?:i?q|tq)\d_\w+|bf16|f16|f32|fp16)(?![a-z\d])", re.I)
FLOATS = ("F32", "F16", "BF16", "F64")


@dataclass
class _Parts:
    """The headers of a model's files that can be read, and what is wrong with the others."""

    headers: list[gguf.Header]
    shards: list[Shard]
    problems: list[Problem]

    @property
    def metadata(self) -> dict[str, Any]:
        return self.headers[0].metadata if self.headers else {}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(tensor for header in self.headers for tensor in header.tensors)


def gguf_facts(
    files: Files, file: str, target: str, name: str, place: Path | None, repo: str | None
) -> ModelFacts:
    """The facts of one model; `file` is its only file, or any of its numbered parts."""
    names = _names(file)
    parts = _read(files, names, files.sizes())
    metadata, tensors = parts.metadata, parts.tensors
    family = str(metadata.get("general.architecture", ""))
    config = _config(metadata, family, tensors) if metadata else {}
    template = "tokenizer.chat_template" in metadata
    tokenizer = "tokenizer.ggml.tokens" in metadata or "tokenizer.huggingface.json" in metadata
    problems = parts.problems
    if metadata:
        problems += _problems(file, metadata, family, tensors, template, tokenizer)
    quantization, contradictions = _quantization(metadata, tensors)
    return ModelFacts(
        target=target,
        name=name,
        kind="gguf",
        place=place.with_name(PurePosixPath(names[0]).name) if place else None,
        repo=repo,
        architecture=family,
        model_type=family,
        parameters=sum(tensor.elements for tensor in tensors) or None,
        dtypes=dict(_elements(tensors)),
        quantization=quantization,
        context_tokens=gguf.context_length(metadata),
        chat_template=template,
        tokenizer=tokenizer,
        shards=tuple(parts.shards),
        tensors=tensors,
        config=config,
        contradictions=tuple(contradictions or _against_name(name, quantization)),
        warnings=tuple(window_notes(config)),
        problems=tuple(problems),
    )


def _names(file: str) -> list[str]:
    match = PART.fullmatch(file)
    if not match:
        return [file]
    return [f"{match[1]}-{number:05}-of-{match[3]}.gguf" for number in range(1, int(match[3]) + 1)]


def _read(files: Files, names: Sequence[str], sizes: Mapping[str, int]) -> _Parts:
    parts = _Parts([], [], [])
    for name in names:
        if name not in sizes:
            message = f"{name} is not there: the model has {len(names)} parts"
            fix = f"Download {name} into the same folder."
            parts.problems.append(Problem("shard_missing", message, fix))
            continue
        header, problem = _header(files, name, sizes[name])
        tensors = len(header.tensors) if header else 0
        parts.shards.append(Shard(name, sizes[name], tensors, problem.message if problem else None))
        parts.headers += [header] if header else []
        parts.problems += [problem] if problem else []
    return parts


def _header(files: Files, name: str, size: int) -> tuple[gguf.Header | None, Problem | None]:
    again = DOWNLOAD_AGAIN.format(name=name)
    if size == 0:
        return None, Problem("shard_empty", f"{name} is empty: it has 0 bytes", again)
    try:
        if pointer := lfs_pointer(name, files.read(name, 0, 200) if size < 1000 else b""):
            return None, pointer
        header = gguf.read_header(files, name, size)
    except (OSError, ValueError) as error:
        return None, _unreadable(name, size, str(error))
    if header.end > size:
        lost = amount(header.end - size)
        message = f"{name} is cut short: it has {size:,} bytes of {header.end:,}, so {lost} are missing"
        return header, Problem("shard_truncated", message, again)
    return header, None


def _unreadable(name: str, size: int, reason: str) -> Problem:
    again = DOWNLOAD_AGAIN.format(name=name)
    if "ends within" in reason:
        message = f"{name} is cut short: it ends within its header, after {size:,} bytes"
        return Problem("shard_truncated", message, again)
    if "big-endian" in reason:
        fix = "Choose the model's usual (little-endian) GGUF file."
        return Problem("big_endian", f"{name} cannot be read: {reason}", fix)
    if "unknown tensor type" in reason:
        fix = "It needs a program of its own, or is damaged: choose another quantization of the model."
        return Problem("unknown_tensor_type", f"{name} cannot be read: {reason}", fix)
    return Problem("header_damaged", f"{name} is no readable GGUF file: {reason}", again)


def _config(metadata: Mapping[str, Any], family: str, tensors: Sequence[Tensor]) -> dict[str, Any]:
    found: dict[str, Any] = {"model_type": family}
    for ours, theirs in CONFIG.items():
        value = metadata.get(f"{family}.{theirs}")
        if ours in PER_LAYER and isinstance(value, list | tuple):
            found[f"{ours}_per_layer"] = list(value)
            value = max(value, default=0)
        if value is not None:
            found[ours] = list(value) if isinstance(value, tuple) else value
    if "vocab_size" not in found and (tokens := metadata.get("tokenizer.ggml.tokens")) is not None:
        found["vocab_size"] = tokens.count if isinstance(tokens, gguf.Counted) else len(tokens)
    if "head_dim" not in found and found.get("num_attention_heads"):
        found["head_dim"] = found.get("hidden_size", 0) // found["num_attention_heads"]
    if "kv_lora_rank" not in found:  # elsewhere it is no width of its own
        found.pop("qk_rope_head_dim", None)
    if kind := metadata.get(f"{family}.rope.scaling.type"):
        factor = metadata.get(f"{family}.rope.scaling.factor")
        found["rope_scaling"] = {"rope_type": kind, "factor": factor}
    found["tie_word_embeddings"] = not any(tensor.name == "output.weight" for tensor in tensors)
    return found


def _problems(
    file: str,
    metadata: Mapping[str, Any],
    family: str,
    tensors: Sequence[Tensor],
    template: bool,
    tokenizer: bool,
) -> list[Problem]:
    if other := _not_a_generator(file, metadata, family, tensors):
        return [other]
    found = []
    if not tokenizer:
        message = f"{file} holds no tokenizer, so text cannot be turned into tokens"
        found.append(Problem("tokenizer_missing", message, "Choose another GGUF file of the model."))
    if not template:
        message = f"{file} holds no chat template: {BASE_MODEL}"
        fix = "Choose the model's Instruct or Chat variant."
        found.append(Problem("no_chat_template", message, fix))
    return found


def _not_a_generator(
    file: str, metadata: Mapping[str, Any], family: str, tensors: Sequence[Tensor]
) -> Problem | None:
    kind = metadata.get("general.type")
    main = "Name the GGUF file of the language model itself."
    if family == "clip" or kind == "mmproj":
        message = f"{file} is the image or sound encoder that goes with a model (mmproj), not the model"
        return Problem("not_a_text_generator", message, main)
    if kind == "adapter":
        return Problem(
            "adapter_only", f"{file} is a LoRA adapter: the model that it changes is not in it", main
        )
    if kind == "imatrix" or family == "imatrix":
        return Problem("not_a_text_generator", f"{file} is an importance matrix, not a model", main)
    if not tensors:
        return Problem("vocabulary_only", f"{file} holds a vocabulary and no weights", main)
    if family in ENCODERS or f"{family}.pooling_type" in metadata:
        message = f"{file} is a model for embeddings or ranking ({family}): it cannot write text"
        return Problem("not_a_text_generator", message, "Choose a chat model.")
    return None


def _elements(tensors: Sequence[Tensor]) -> Counter[str]:
    count: Counter[str] = Counter()
    for tensor in tensors:
        count[tensor.dtype] += tensor.elements
    return count


def _quantization(metadata: Mapping[str, Any], tensors: Sequence[Tensor]) -> tuple[Quantization, list[str]]:
    """The tensor types decide; general.file_type is a label, whose finer name stands where it agrees."""
    label = gguf.quantization(dict(metadata))
    count = _elements(tensors).most_common()
    if not count:
        return Quantization("gguf", label, None, ("no tensors could be read",), declared="gguf"), []
    main = count[0][0]
    agrees = _agrees(label, main)
    evidence = (_shares(count), f"general.file_type says {label}")
    found = Quantization("gguf", label if agrees else main, _bits(main), evidence, declared="gguf")
    if agrees or label == "unknown":
        return found, []
    return found, [f"the file's label (general.file_type) says {label}, but its tensors are {_shares(count)}"]


def _shares(count: Sequence[tuple[str, int]]) -> str:
    """As in "mostly Q4_K (81 %), some Q6_K (18 %) and F32 (1 %)"."""
    total = sum(number for _, number in count) or 1
    told = [f"{dtype} ({_percent(number / total)})" for dtype, number in count[:3]]
    if len(told) == 1:
        return f"all {count[0][0]}"
    return f"mostly {told[0]}, some {' and '.join(told[1:])}"


def _against_name(name: str, found: Quantization) -> list[str]:
    """A file may have been renamed; mixes may differ by a bit from what they are called."""
    match = NAMED_TYPE.search(name)
    if not match or found.bits is None or abs(_bits(match[1]) - found.bits) <= 1:
        return []
    return [f"the name {name} speaks of {match[1].upper()}, but the weights are {found.detail}"]


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _bits(dtype: str) -> float:
    digits = re.search(r"\d+", dtype)
    return float(digits[0]) if digits else 0.0


def _agrees(label: str, main: str) -> bool:
    """Whether tensors of the type `main` may be the most in a file of this label.

    "Q4_K_M" is a mix with Q4_K in front; the IQ labels mix types of about the same number of bits.
    """
    if label.startswith(("IQ", "TQ")):
        return abs(_bits(label) - _bits(main)) <= 1 and main not in FLOATS
    return label.startswith(main)
