"""A preset's facts without its files: the tensors that its figures imply, in each form that is published."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rag.loader.hub.presets import Preset
from rag.loader.model.architecture import shape_of
from rag.loader.model.gguf import TENSOR_TYPES
from rag.loader.records import ModelFacts, Quantization, Tensor

BITS_OF = {"F32": 32, "BF16": 16, "F16": 16, "F8_E4M3": 8, "I32": 32, "U8": 8}
BLOCKS = {label: (block, size) for label, block, size in TENSOR_TYPES.values()}
GROUP = 128
"""Weights that share a scale in the published AWQ and GPTQ versions."""
GGUF_MIXES = {
    "Q4_K_M": ("Q4_K", "Q6_K"),
    "Q4_K_S": ("Q4_K", "Q6_K"),
    "Q5_K_M": ("Q5_K", "Q6_K"),
    "Q6_K": ("Q6_K", "Q6_K"),
    "Q8_0": ("Q8_0", "Q8_0"),
    "Q4_0": ("Q4_0", "Q6_K"),
    "MXFP4": ("MXFP4", "Q8_0"),
}
"""A file's name for its mix -> the type of most weights, and that of the ones that matter more."""
NARROW = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""llama.cpp's choice for rows that its blocks of 256 do not divide."""
OWN_FP8 = "Qwen/"
"""Qwen's own FP8 is the method fp8, scaled by blocks of 128 x 128; others' is compressed-tensors, by row."""
MODEL_TYPES = {
    "LlamaForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3MoeForCausalLM": "qwen3_moe",
    "Qwen3_5ForConditionalGeneration": "qwen3_5",
    "Gemma2ForCausalLM": "gemma2",
    "Gemma3ForCausalLM": "gemma3_text",
    "Phi3ForCausalLM": "phi3",
    "MistralForCausalLM": "mistral",
    "GptOssForCausalLM": "gpt_oss",
}


@dataclass(frozen=True, slots=True)
class _Weight:
    """A matrix, `count` of them where there are experts; rows x columns, as a Linear layer keeps them."""

    name: str
    rows: int
    columns: int
    count: int = 1
    quantized: bool = True
    layer: int = -1

    @property
    def elements(self) -> int:
        return self.rows * self.columns * self.count


def sketch(preset: Preset, variant: str) -> ModelFacts:
    """ModelFacts of `preset` in the form `variant`; the shards' sizes and hashes are left out."""
    weights = list(_weights(preset))
    rest = preset.parameters - sum(weight.elements for weight in weights)
    if rest > 0:  # norms and biases
        weights.append(_Weight("other.weight", 1, rest, quantized=False))
    if preset.further_parameters and variant != "gguf":  # a GGUF file leaves them to another one
        weights.append(_Weight("further.weight", 1, preset.further_parameters, quantized=False))
    method, detail, bits = _method(preset, variant)
    tensors = [tensor for weight in weights for tensor in _stored(weight, method, detail, bits, preset)]
    dtypes: Counter[str] = Counter()
    for tensor in tensors:
        dtypes[tensor.dtype] += tensor.elements
    repo = preset.repo_of(variant)
    return ModelFacts(
        target=preset.name,
        name=repo.rpartition("/")[2],
        kind="gguf" if variant == "gguf" else "folder",
        repo=repo,
        architecture=preset.architecture,
        model_type=_model_type(preset),
        parameters=preset.parameters,
        dtypes=dict(dtypes),
        quantization=Quantization(method, detail, bits, (f"the preset {preset.name} says so",)),
        context_tokens=preset.context or None,
        chat_template=True,
        tokenizer=True,
        tensors=tuple(tensors),
        config=_config(preset),
    )


def _config(preset: Preset) -> dict[str, Any]:
    config: dict[str, Any] = {
        "architectures": [preset.architecture],
        "model_type": _model_type(preset),
        "hidden_size": preset.hidden,
        "num_hidden_layers": preset.layers,
        "num_attention_heads": preset.heads,
        "num_key_value_heads": preset.kv_heads,
        "head_dim": preset.head_dim,
        "intermediate_size": preset.intermediate,
        "vocab_size": preset.vocab,
        "max_position_embeddings": preset.context,
        "tie_word_embeddings": preset.tied,
        "torch_dtype": "bfloat16",
    }
    if preset.experts:
        config |= {
            "num_experts": preset.experts,
            "num_experts_per_tok": preset.experts_per_token,
            "moe_intermediate_size": preset.expert_intermediate,
        }
    return config | dict(preset.config)


def _model_type(preset: Preset) -> str:
    return str(preset.config.get("model_type") or MODEL_TYPES.get(preset.architecture, ""))


def _weights(preset: Preset) -> Iterator[_Weight]:
    hidden = preset.hidden
    yield _Weight("model.embed_tokens.weight", preset.vocab, hidden, quantized=False)
    for number, kind in enumerate(shape_of(_config(preset)).kinds):
        stem = f"model.layers.{number}"
        attention = _linear_attention(preset) if kind == "linear" else _attention(preset)
        for name, rows, columns in attention:
            yield _Weight(f"{stem}.{name}.weight", rows, columns, layer=number)
        width, count = preset.expert_intermediate or preset.intermediate, max(preset.experts, 1)
        inner = "mlp.experts" if preset.experts else "mlp"
        yield _Weight(f"{stem}.{inner}.gate_proj.weight", width, hidden, count, layer=number)
        yield _Weight(f"{stem}.{inner}.up_proj.weight", width, hidden, count, layer=number)
        yield _Weight(f"{stem}.{inner}.down_proj.weight", hidden, width, count, layer=number)
        if preset.experts:
            yield _Weight(f"{stem}.mlp.gate.weight", count, hidden, quantized=False)
    if not preset.tied:
        yield _Weight("lm_head.weight", preset.vocab, hidden, quantized=False)


def _attention(preset: Preset) -> list[tuple[str, int, int]]:
    queries, keys = preset.heads * preset.head_dim, preset.kv_heads * preset.head_dim
    gates = queries if preset.config.get("attn_output_gate") else 0
    return [
        ("self_attn.q_proj", queries + gates, preset.hidden),
        ("self_attn.k_proj", keys, preset.hidden),
        ("self_attn.v_proj", keys, preset.hidden),
        ("self_attn.o_proj", preset.hidden, queries),
    ]


def _linear_attention(preset: Preset) -> list[tuple[str, int, int]]:
    """The gated delta rule's projections (transformers: Qwen3_5GatedDeltaNet)."""
    config = preset.config
    keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
    values = config["linear_num_value_heads"] * config["linear_value_head_dim"]
    return [
        ("linear_attn.in_proj_qkv", 2 * keys + values, preset.hidden),
        ("linear_attn.in_proj_z", values, preset.hidden),
        ("linear_attn.out_proj", preset.hidden, values),
    ]


def _method(preset: Preset, variant: str) -> tuple[str, str, float]:
    if variant == "none":
        return preset.stored, "", 4 if preset.stored == "mxfp4" else 16
    if variant == "gguf":
        label = next((mix for mix in GGUF_MIXES if mix.lower() in preset.gguf_file.lower()), "Q4_K_M")
        block, size = BLOCKS[GGUF_MIXES[label][0]]
        return "gguf", label, 8 * size / block
    if variant == "fp8":
        return ("fp8" if preset.fp8.startswith(OWN_FP8) else "compressed-tensors"), "FP8", 8
    bits = 8 if re.search(r"int8", preset.repo_of(variant), re.IGNORECASE) else 4
    return variant, f"{bits}-bit, group {GROUP}", bits


def _stored(weight: _Weight, method: str, detail: str, bits: float, preset: Preset) -> Iterator[Tensor]:
    if method == "gguf":
        yield _gguf(weight, detail, preset)
    elif not weight.quantized or method == "none" or (method == "mxfp4" and ".experts." not in weight.name):
        yield _tensor(weight.name, "BF16", (weight.count, weight.rows, weight.columns))
    elif method in ("awq", "gptq"):
        yield from _packed(weight, method, int(bits))
    elif method == "mxfp4":  # pairs of 4-bit numbers in a byte, and a byte of scale for 32 of them
        yield _tensor(weight.name + "_blocks", "U8", (weight.count, weight.rows, weight.columns // 2))
        yield _tensor(weight.name + "_scales", "U8", (weight.count, weight.rows, weight.columns // 32))
    else:
        yield _tensor(weight.name, "F8_E4M3", (weight.count, weight.rows, weight.columns))
        by_block = method == "fp8"
        scales = (-(-weight.rows // 128), -(-weight.columns // 128)) if by_block else (weight.rows, 1)
        yield _tensor(weight.name + ("_scale_inv" if by_block else "_scale"), "BF16", (weight.count, *scales))


def _packed(weight: _Weight, method: str, bits: int) -> Iterator[Tensor]:
    """AWQ packs several outputs into an int32, GPTQ several inputs, and notes each input's group."""
    stem, per_int = weight.name.removesuffix("weight"), 32 // bits
    inputs, outputs, groups = weight.columns, weight.rows, -(-weight.columns // GROUP)
    shape = (inputs, outputs // per_int) if method == "awq" else (inputs // per_int, outputs)
    yield _tensor(stem + "qweight", "I32", (weight.count, *shape))
    yield _tensor(stem + "qzeros", "I32", (weight.count, groups, outputs // per_int))
    yield _tensor(stem + "scales", "F16", (weight.count, groups, outputs))
    if method == "gptq":
        yield _tensor(stem + "g_idx", "I32", (weight.count, inputs))


def _gguf(weight: _Weight, mix: str, preset: Preset) -> Tensor:
    """As llama.cpp's llama_tensor_get_type chooses for the usual mixes."""
    usual, better = GGUF_MIXES[mix]
    output = "model.embed_tokens.weight" if preset.tied else "lm_head.weight"
    label = usual
    if weight.name == "other.weight" or weight.name.endswith("mlp.gate.weight"):
        label = "F32"
    elif weight.name == output or (mix == "MXFP4" and ".experts." not in weight.name):
        label = better
    elif mix.endswith("_M") and weight.name.endswith(("v_proj.weight", "down_proj.weight")):
        label = better if _matters(weight.layer, preset.layers) else usual
    if weight.columns % BLOCKS[label][0]:
        label = NARROW.get(label, label)
    return _tensor(weight.name, label, (weight.count, weight.rows, weight.columns))


def _matters(layer: int, layers: int) -> bool:
    """llama.cpp's use_more_bits: the first and last eighth, and every third layer between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _tensor(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    shape = shape[1:] if shape[0] == 1 and len(shape) > 2 else shape
    elements = 1
    for length in shape:
        elements *= length
    block, size = BLOCKS.get(dtype) or (8, BITS_OF[dtype])
    return Tensor(name, dtype, shape, -(-elements // block) * size, "")
