"""A known architecture without its weights: folders that vLLM's dummy load format fills with random numbers.

Memory and speed are those of the real model, since neither depends on what the numbers are; answers and
perplexity mean nothing. Each form gets a config.json with the quantization settings of published models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rag.errors import EvaluationError, ModelNotFound
from rag.loader.hub.presets import FIGURES, Preset, find_preset
from rag.loader.hub.sketch import sketch
from rag.loader.records import Candidate, ModelFacts

FORMS = ("none", "awq", "gptq", "fp8")
SETTINGS: dict[str, dict[str, Any]] = {
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "compressed-tensors": {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {
                    "num_bits": 8,
                    "type": "float",
                    "strategy": "channel",
                    "symmetric": True,
                    "dynamic": False,
                },
                "input_activations": {
                    "num_bits": 8,
                    "type": "float",
                    "strategy": "token",
                    "symmetric": True,
                    "dynamic": True,
                },
            }
        },
    },
}
"""quantization_config as AutoAWQ, GPTQModel, Qwen's FP8 and llm-compressor's FP8-dynamic models carry it."""

CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
LEAST_VOCABULARY = 256


def write_dummies(model: str, folder: Path, forms: Sequence[str] = FORMS) -> list[ModelFacts]:
    """Write a folder for each form of a preset, or of a folder's config.json, and say what is in it.

    Raises ModelNotFound, EvaluationError.
    """
    preset, config = _architecture(model)
    if preset.vocab < LEAST_VOCABULARY:
        raise EvaluationError(
            f"{model} has a vocabulary of {preset.vocab}", f"At least {LEAST_VOCABULARY} are needed."
        )
    return [_write(preset, config, form, folder / f"{preset.name}-{form}") for form in forms]


def without_weights(candidate: Candidate) -> Candidate:
    """The same way, with random numbers for weights, and nobody asking whether it speaks sense."""
    return replace(candidate, plan=replace(candidate.plan, load_format="dummy", sanity=False))


def _architecture(model: str) -> tuple[Preset, dict[str, Any]]:
    place = Path(model).expanduser() / "config.json"
    if place.is_file():
        config = json.loads(place.read_text(encoding="utf-8"))
        preset = _preset(Path(model).resolve().name, config)
    else:
        preset = find_preset(model)
        if not preset.variants:
            raise ModelNotFound(
                f"the preset {model} does not tell its sizes", f"Give all of {', '.join(FIGURES)} there."
            )
        config = {}
    preset = replace(
        preset,
        awq=preset.awq or f"{preset.repo}-AWQ",
        gptq=preset.gptq or f"{preset.repo}-GPTQ-Int4",
        fp8=preset.fp8 or f"{preset.repo}-FP8-dynamic",
    )
    return preset, config or dict(sketch(preset, "none").config)


def _preset(name: str, config: dict[str, Any]) -> Preset:
    """A preset with the figures of a config.json. Raises EvaluationError."""
    if "quantization_config" in config:
        raise EvaluationError(f"{name} is a quantized form already", "Name the unquantized model's folder.")
    try:
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        preset = Preset(
            name,
            repo=name,
            parameters=1,
            context=config["max_position_embeddings"],
            architecture=config["architectures"][0],
            hidden=hidden,
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            intermediate=config["intermediate_size"],
            vocab=config["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", False)),
            experts=config.get("num_experts") or config.get("num_local_experts") or 0,
            experts_per_token=config.get("num_experts_per_tok") or 0,
            expert_intermediate=config.get("moe_intermediate_size") or 0,
            config=config,
        )
    except (KeyError, IndexError) as error:
        raise EvaluationError(
            f"the config.json of {name} does not tell {error}", "Name a preset, or another folder."
        ) from error
    found = sketch(preset, "none")
    return replace(preset, parameters=sum(tensor.elements for tensor in found.tensors))


def _write(preset: Preset, config: dict[str, Any], form: str, folder: Path) -> ModelFacts:
    facts = sketch(preset, form)
    folder.mkdir(parents=True)
    method = facts.quantization.method
    settings = {} if form == "none" else {"quantization_config": SETTINGS[method]}
    # No token ends an answer: random weights would end it at random.
    whole = {**config, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None, **settings}
    (folder / "config.json").write_text(json.dumps(whole, indent=2), encoding="utf-8")
    _write_tokenizer(folder, preset.vocab, preset.context)
    return replace(facts, place=folder, repo=None, name=f"{preset.name} without weights", kind="folder")


def _write_tokenizer(folder: Path, vocabulary: int, context: int) -> None:
    """A token for each byte, and one for every other number that the model may answer with.

    So every prompt is within the vocabulary and any answer can be shown, whatever the architecture.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"<{number}>" for number in range(len(letters), vocabulary))]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "chat_template": CHAT_TEMPLATE,
        # transformers takes its own class for some architectures, which would add tokens of these kinds
        **dict.fromkeys(["unk_token", "bos_token", "eos_token", "pad_token"]),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
