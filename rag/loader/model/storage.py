"""How weights are stored, told from the names, shapes and dtypes of their tensors alone.

Sources of the shapes: AutoAWQ's WQLinear_GEMM, GPTQ's and GPTQModel's QuantLinear, bitsandbytes' Params4bit
and Int8Params, compressed-tensors' packed compressors, exllamav2's and v3's Linear, mlx's QuantizedLinear.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rag.loader.model.safetensors import BITS
from rag.loader.records import Tensor

Parts = Mapping[str, Tensor]
"""A module's tensors by the last part of their name: {"qweight": ..., "scales": ...}."""

MAIN = {
    **dict.fromkeys(("awq", "gptq", "squeezellm"), "qweight"),
    **{"exl2": "q_weight", "exl3": "trellis", "hqq": "W_q", "packed": "weight_packed", "mxfp4": "blocks"},
    **dict.fromkeys(("bnb-4bit", "bnb-8bit", "fp8", "int8", "nvfp4", "mlx", "packed-weight"), "weight"),
    **{"torchao": "weight_qdata", "marlin": "B", "codebook": "codes"},
}
"""Each way to store weights, and the tensor of a module that holds them."""
EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in")
FUSED = re.compile(r"(\w+_proj)(?:_(\w+))?")
"""All experts' weights of one kind in a single tensor, which then has no module of its own."""
FLOATS = re.compile(r"B?F\d")
NOT_COUNTED = ("inv_freq", "masked_bias")
INT32_PACKED = ("I32", "U32")


@dataclass(frozen=True, slots=True)
class Storage:
    """The way in which most quantized modules are stored; `family` is a key of MAIN, "plain" or "unknown".

    `bits` and `group` (weights that share a scale; -1: a whole row) are None where the shapes do not tell
    them; `bits_times_group` is what they tell of some formats instead. `example` names one module's tensors;
    `scales` says what shares a scale among 8-bit weights.
    """

    family: str = "plain"
    modules: int = 0
    bits: float | None = None
    group: int | None = None
    bits_times_group: float | None = None
    example: str = ""
    scales: str = ""


def storage(tensors: Sequence[Tensor]) -> Storage:
    """How these tensors are stored."""
    by_family: dict[str, list[tuple[str, Parts]]] = {}
    for module, its in modules(tensors).items():
        if family := family_of(its):
            by_family.setdefault(family, []).append((module, its))
    if not by_family:
        return Storage() if _mostly_numbers(tensors) else Storage("unknown")
    family, found = max(by_family.items(), key=lambda item: len(item[1]))
    name, parts = found[0]
    bits = Counter(bits_of(parts, family) for _, parts in found).most_common(1)[0][0]
    if family == "exl2":
        bits = _average_bits(parts for _, parts in found)
    groups = Counter(_group(parts, family, bits) for _, parts in found)
    # A short row may hold a single group, and then its length is not the group's.
    group = max(groups, key=lambda size: (size is not None and size > 0, groups[size]))
    product = _bits_times_group(parts, family)
    return Storage(
        family, len(found), bits, group, product, _example(name, parts, family), _scales(parts, family)
    )


def _mostly_numbers(tensors: Sequence[Tensor]) -> bool:
    """Whether most elements are floating-point numbers, and so weights as they are."""
    integers = sum(tensor.elements for tensor in tensors if not FLOATS.match(tensor.dtype))
    return 2 * integers <= sum(tensor.elements for tensor in tensors)


def modules(tensors: Iterable[Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors grouped by the module that they belong to."""
    found: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        module, part = split_name(tensor.name)
        found.setdefault(module, {})[part] = tensor
    return found


def split_name(name: str) -> tuple[str, str]:
    """A tensor's module and its part in it: ("model.layers.0.mlp.up_proj", "qweight")."""
    if ".weight." in name:  # bitsandbytes: up_proj.weight.absmax
        module, _, part = name.partition(".weight.")
        return module, f"weight.{part}"
    module, _, part = name.rpartition(".")
    if fused := FUSED.fullmatch(part):  # gpt-oss: experts.gate_up_proj_blocks; Llama 4: experts.down_proj
        rest = fused[2] or "weight"
        whole = rest in ("weight", "blocks", "scales", "bias")
        return f"{module}.{fused[1]}", rest if whole else f"weight_{rest}"
    if part.startswith("_weight_"):  # torchao's safetensors form: up_proj._weight_qdata
        return module, part[1:]
    return module, part


def family_of(parts: Parts) -> str | None:
    """How one module is stored; None where its weights are plain numbers."""
    if "qweight" in parts and "scales" in parts:
        return _awq_or_gptq(parts["qweight"], parts["scales"])
    marks = {
        **{"trellis": "exl3", "q_weight": "exl2", "W_q": "hqq", "weight_packed": "packed"},
        **{"weight.absmax": "bnb-4bit", "SCB": "bnb-8bit", "weight.SCB": "bnb-8bit"},
        **{
            "weight_qdata": "torchao",
            "blocks": "mxfp4",
            "codebooks": "codebook",
            "lookup_table": "squeezellm",
        },
    }
    for mark, family in marks.items():
        if mark in parts and MAIN[family] in parts:
            return family
    if "B" in parts and "s" in parts:
        return "marlin"
    return _by_dtype(parts)


def _awq_or_gptq(qweight: Tensor, scales: Tensor) -> str | None:
    if len(qweight.shape) != 2 or len(scales.shape) != 2:
        return None
    if qweight.shape[1] == scales.shape[1]:  # packed along the inputs
        return "gptq"
    return "awq"  # packed along the outputs: qweight [in, out / 8], scales [in / group, out]


def _by_dtype(parts: Parts) -> str | None:
    weight = parts.get("weight")
    if weight is None:
        return None
    if weight.dtype.startswith("F8_"):
        return "fp8"
    if weight.dtype == "U32" and "scales" in parts:
        return "mlx"
    if weight.dtype in ("U8", "F4"):
        return "nvfp4" if "weight_scale_2" in parts else "packed-weight"
    if weight.dtype == "I8":
        return "int8"
    return "packed-weight" if weight.dtype in INT32_PACKED else None


def bits_of(parts: Parts, family: str) -> float | None:
    """Bits of one weight of this module, where the shapes tell."""
    main = parts[MAIN[family]]
    if family == "awq" and (scales := parts["scales"]).shape[1]:
        return 32 * main.shape[1] / scales.shape[1]
    if family == "gptq":
        return _gptq_bits(parts)
    if family == "squeezellm":
        return float(max(parts["lookup_table"].shape[-1] - 1, 1).bit_length())
    if family == "exl3":
        return main.shape[-1] / 16
    if family == "exl2":
        return _average_bits([parts])
    known = {
        "bnb-4bit": 4.0,
        "bnb-8bit": 8.0,
        "fp8": 8.0,
        "int8": 8.0,
        "nvfp4": 4.0,
        "mxfp4": 4.0,
        "marlin": 4.0,
    }
    if family == "torchao" and main.dtype == "I8":
        return 8.0
    return 4.0 if family == "packed" and main.dtype == "U8" else known.get(family)


def _gptq_bits(parts: Parts) -> float | None:
    qweight, scales = parts["qweight"], parts["scales"]
    if "qzeros" in parts and scales.shape[1]:
        return 32 * parts["qzeros"].shape[-1] / scales.shape[1]
    inputs = parts["g_idx"].elements if "g_idx" in parts else 0
    return 32 * qweight.shape[0] / inputs if inputs else None


def _average_bits(found: Iterable[Parts]) -> float | None:
    """exl2 mixes 2 to 8 bits within a module: 32 bits of each stored element over the weights."""
    stored = weights = 0
    for parts in found:
        if "q_invperm" in parts:
            stored += parts["q_weight"].elements
            weights += parts["q_invperm"].elements * parts["q_weight"].shape[-1]
    return round(32 * stored / weights, 2) if weights else None


def _group(parts: Parts, family: str, bits: float | None) -> int | None:
    if family not in ("awq", "gptq") or not bits:
        return None
    rows = parts["scales"].shape[0]
    inputs = parts["qweight"].shape[0] * (32 / bits if family == "gptq" else 1)
    return -1 if rows == 1 else round(inputs / rows) if rows else None


def _bits_times_group(parts: Parts, family: str) -> float | None:
    """Of [out, in * bits / 32] and scales [out, in / group]; neither factor is told alone."""
    scales = parts.get("scales" if family == "mlx" else "weight_scale")
    main = parts[MAIN[family]]
    if family not in ("mlx", "packed") or scales is None or len(scales.shape) != 2 or scales.shape[1] < 2:
        return None
    return (32 if main.dtype in INT32_PACKED else 8) * main.shape[-1] / scales.shape[1]


def _scales(parts: Parts, family: str) -> str:
    scale = parts.get("weight_scale_inv") or parts.get("weight_scale")
    if family not in ("fp8", "int8") or scale is None:
        return ""
    if scale.elements == 1:
        return "per tensor"
    return "per row" if scale.elements == parts["weight"].shape[0] else "in blocks"


def _example(module: str, parts: Parts, family: str) -> str:
    """A module's telling tensors, as in "layers.0.mlp.up_proj: qweight I32 [64, 16], scales F16 [1, 128]"."""
    first = MAIN[family]
    names = [first, *sorted(part for part in parts if part not in (first, "bias"))][:5]
    told = ", ".join(f"{part} {parts[part].dtype} {list(parts[part].shape)}" for part in names)
    return f"{module}: {told}"


def parameters(tensors: Sequence[Tensor], bits: float | None, tied: bool) -> int | None:
    """Weights, unpacked; `bits` are those of the whole model, for formats whose shapes do not tell them.

    Tied embeddings count once, though some files carry them twice. Scales, zero points and the like are not
    weights. None where there are no tensors.
    """
    if not tensors:
        return None
    count = 0.0
    by_module = modules(tensors)
    tied = tied and len(by_module) > 1 and any(name.endswith(EMBEDDINGS) for name in by_module)
    for name, parts in by_module.items():
        if tied and name.rpartition(".")[2] == "lm_head":
            continue
        count += _module_parameters(parts, bits)
    return round(count)


def _module_parameters(parts: Parts, bits: float | None) -> float:
    family = family_of(parts)
    if family is None:
        return sum(tensor.elements for part, tensor in parts.items() if part not in NOT_COUNTED)
    bias = parts["bias"].elements if "bias" in parts else 0
    return parts[MAIN[family]].elements * _unpacked(parts, family, bits) + bias


def _unpacked(parts: Parts, family: str, bits: float | None) -> float:
    """Weights in one element of the main tensor."""
    dtype = parts[MAIN[family]].dtype
    width = bits_of(parts, family) or bits or (4.0 if dtype in ("U8", *INT32_PACKED) else 8.0)
    if family in ("fp8", "int8", "bnb-8bit", "codebook") or dtype in ("F4", "I8"):
        return 1.0
    return max(BITS[dtype] / width, 1.0)
