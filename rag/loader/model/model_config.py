"""What config.json says of a model beyond its quantization: family, context, programs of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rag.loader.records import Problem

CONTEXT_KEYS = (
    *("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len", "max_sequence_length"),
    *("max_seq_length", "model_max_length"),
)
BASE_MODEL = "this is probably a base model, which continues text and does not answer"
NOT_GENERATORS = re.compile(
    r"(For(SequenceClassification|TokenClassification|MaskedLM|QuestionAnswering|MultipleChoice|PreTraining"
    r"|ImageClassification|CTC|RewardModel|ProcessRewardModel)|(?<!LMHead)(?<!Chat)Model)$"
)
ENCODER_DECODERS = (
    "t5",
    "mt5",
    "umt5",
    "bart",
    "mbart",
    "pegasus",
    "whisper",
    "marian",
    "m2m_100",
    "nllb-moe",
    "led",
)
ENCODERS = (
    *("bert", "roberta", "xlm-roberta", "distilbert", "albert", "electra", "mpnet", "deberta", "deberta-v2"),
    *("modernbert", "camembert", "nomic_bert", "clip", "siglip", "vit", "wav2vec2", "hubert"),
)
# fmt: off
BUILT_IN = frozenset({
    "apertus", "bamba", "bloom", "codegen", "cohere", "cohere2", "dbrx", "deepseek_v2", "deepseek_v3",
    "ernie4_5", "ernie4_5_moe", "exaone4", "falcon", "falcon_h1", "glm", "glm4", "glm4_moe",
    "gpt_bigcode", "gpt_neox", "gpt_oss", "granite", "granitemoe", "hunyuan_v1_dense", "hunyuan_v1_moe",
    "jamba", "lfm2", "lfm2_moe", "llama", "longcat_flash", "mamba", "mamba2", "minicpm3", "minimax",
    "mistral", "mixtral", "mpt", "nemotron", "nemotron_h", "olmo", "olmo2", "olmoe", "persimmon", "phi",
    "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next", "seed_oss", "smollm3",
    "stablelm", "starcoder2", "zamba", "zamba2",
})
"""Model types that once needed a program of their own, and that transformers 5 knows itself."""
# fmt: on


def architecture(config: Mapping[str, Any]) -> str:
    """The class that config.json names first; "" where it names none."""
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def tied(config: Mapping[str, Any]) -> bool:
    """Whether input and output embeddings are the same weights."""
    return any(place.get("tie_word_embeddings") is True for place in _places(config))


def context_tokens(config: Mapping[str, Any]) -> int | None:
    """The longest context in tokens, stretched as the rope settings say.

    Linear and dynamic scaling stretch max_position_embeddings, YaRN stretches the original length; Llama 3's
    and LongRoPE's figures are stretched already (vLLM's ModelConfig derives it the same way).
    """
    for place in _places(config):
        for key in CONTEXT_KEYS:
            if _positive(place.get(key)):
                return _stretched(int(place[key]), place)
    return None


def _stretched(known: int, config: Mapping[str, Any]) -> int:
    rope = config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(rope, dict) or not _positive(rope.get("factor")):
        return known
    kind = rope.get("rope_type") or rope.get("type")
    if kind in ("linear", "dynamic"):
        return int(known * rope["factor"])
    original = rope.get("original_max_position_embeddings")
    if kind in ("yarn", "deepseek_yarn") and _positive(original):
        return max(known, int(original * rope["factor"]))
    return known


def sliding_window(config: Mapping[str, Any]) -> int | None:
    """Tokens that a layer with sliding attention sees; None where no layer has it."""
    for place in _places(config):
        if _positive(place.get("sliding_window")) and place.get("use_sliding_window", True):
            return int(place["sliding_window"])
    return None


def window_notes(config: Mapping[str, Any]) -> list[str]:
    """A sentence about sliding attention where there is some."""
    window = sliding_window(config)
    return [f"some or all layers look back only {window:,} tokens (sliding_window)"] if window else []


def remote_code(config: Mapping[str, Any]) -> list[str]:
    """The files with programs that config.json wants to have run (auto_map)."""
    table = config.get("auto_map")
    if not isinstance(table, dict):
        return []
    named = [
        item for value in table.values() for item in (value if isinstance(value, list) else [value]) if item
    ]
    return sorted({f"{str(name).rpartition('.')[0] or name}.py" for name in named})


def not_a_generator(config: Mapping[str, Any], names: Mapping[str, int]) -> Problem | None:
    """The problem of a model that cannot write an answer; `names` are the folder's files."""
    kind, family = architecture(config), str(config.get("model_type", ""))
    what = kind or family
    fix = "Choose a chat model."
    if "modules.json" in names or family in ENCODERS:
        message = f"this is a model for embeddings or classification ({what}): it cannot write text"
        return Problem("not_a_text_generator", message, fix)
    if config.get("is_encoder_decoder") or family in ENCODER_DECODERS:
        message = f"this model translates or transcribes ({what}, encoder and decoder): it does not converse"
        return Problem("not_a_text_generator", message, fix)
    table = config.get("auto_map")
    generates = isinstance(table, dict) and "AutoModelForCausalLM" in table
    if NOT_GENERATORS.search(kind) and not generates:
        message = f"config.json names the architecture {kind}, which does not generate text"
        return Problem("not_a_text_generator", message, fix)
    return None


def _places(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """config.json, and its part about the language model where there are others."""
    inner = [config.get(key) for key in ("text_config", "llm_config", "language_config")]
    return [config, *(part for part in inner if isinstance(part, dict))]


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e12
