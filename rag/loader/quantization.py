"""Which quantization a folder's weights have: tensor shapes first, then config.json, then side files.

A repository's name is a hint only: it never decides, and is named where the weights contradict it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from rag.loader.records import Quantization, Tensor
from rag.loader.storage import Storage, storage

SIDE_FILES = ("quant_config.json", "quantize_config.json", "hf_quant_config.json")

NAMES = {
    **{"none": "plain", "awq": "AWQ", "gptq": "GPTQ", "bnb-4bit": "bitsandbytes 4-bit", "fp8": "FP8"},
    **{"bnb-8bit": "bitsandbytes 8-bit", "modelopt": "ModelOpt", "mxfp4": "MXFP4", "auto-round": "AutoRound"},
    **{"squeezellm": "SqueezeLLM", "hqq": "HQQ", "mlx": "MLX", "quark": "Quark"},
}
METHOD_OF_WORD = {  # config.json's quant_method -> ours
    **{"awq": "awq", "awq_marlin": "awq", "gptq": "gptq", "gptq_marlin": "gptq", "marlin": "gptq"},
    **{"fp8": "fp8", "fbgemm_fp8": "fp8", "compressed-tensors": "compressed-tensors", "mxfp4": "mxfp4"},
    **{"compressed_tensors": "compressed-tensors", "modelopt": "modelopt", "modelopt_fp4": "modelopt"},
    **{"torchao": "torchao", "auto-round": "auto-round", "intel/auto-round": "auto-round", "quark": "quark"},
    **{"hqq": "hqq", "squeezellm": "squeezellm", "exl2": "exl2", "exl3": "exl3", "mlx": "mlx"},
}
OLD_WORDS = ("intel/auto-round", "awq_marlin", "gptq_marlin")
FAMILIES = {  # a method, and the ways in which it may store weights; the first is its usual one
    **{"awq": ("awq",), "gptq": ("gptq", "marlin"), "bnb-4bit": ("bnb-4bit",), "bnb-8bit": ("bnb-8bit",)},
    **{"fp8": ("fp8",), "compressed-tensors": ("packed", "fp8", "int8", "marlin"), "hqq": ("hqq",)},
    **{
        "modelopt": ("nvfp4", "fp8", "int8", "packed-weight"),
        "mxfp4": ("mxfp4",),
        "squeezellm": ("squeezellm",),
    },
    **{
        "torchao": ("torchao", "int8", "fp8", "packed-weight"),
        "auto-round": ("gptq", "awq", "fp8", "packed"),
    },
    **{"other": ("unknown", "packed-weight", "codebook", "int8", "fp8", "packed", "nvfp4")},
    **{"quark": ("packed-weight", "fp8", "int8"), "exl2": ("exl2",), "exl3": ("exl3",), "mlx": ("mlx",)},
}
METHOD_OF_FAMILY = {  # where no file says anything that fits
    **{
        family: family for family in ("awq", "gptq", "bnb-4bit", "bnb-8bit", "fp8", "mxfp4", "torchao", "hqq")
    },
    **{family: family for family in ("squeezellm", "exl2", "exl3", "mlx")},
    **{"plain": "none", "packed": "compressed-tensors", "int8": "compressed-tensors", "nvfp4": "modelopt"},
    **{"marlin": "gptq", "packed-weight": "other", "codebook": "other", "unknown": "other"},
}
SHAPES = {
    **{
        "awq": "AWQ's shape",
        "gptq": "GPTQ's shape",
        "marlin": "Marlin's shape",
        "packed": "compressed-tensors' shape",
    },
    **{
        "packed-weight": "packed integers",
        "codebook": "codebooks",
        "int8": "8-bit integers",
        "nvfp4": "NVFP4's shape",
    },
}
NAME_HINTS = re.compile(
    r"(?<![a-z])(awq|gptq|fp8|bnb-4bit|bnb-8bit|exl2|exl3|mxfp4|nvfp4|hqq)(?![a-z])", re.I
)
DTYPE_WORDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "half": "F16", "float": "F32"}


@dataclass(frozen=True, slots=True)
class Declared:
    """What one file says of the quantization; `where` is the file, and the place in it."""

    method: str
    where: str
    word: str
    bits: float | None = None
    group: int | None = None
    detail: str = ""
    legacy: bool = False

    @property
    def file(self) -> str:
        return self.where.partition(":")[0]


def detect(
    tensors: Sequence[Tensor], config: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]], name: str
) -> tuple[Quantization, list[str]]:
    """The quantization with its evidence, and a sentence for each contradiction.

    `sides` are the side files that exist, by name; without tensors the files' words stand.
    """
    stored = storage(tensors)
    said = list(declarations(config, sides))
    first = said[0] if said else None
    method = _method(stored, first, bool(tensors))
    agreeing = next((one for one in said if one.method == method), None)
    bits = stored.bits or (agreeing.bits if agreeing else None)
    found = Quantization(
        method,
        _detail(method, stored, agreeing, bits),
        None if method == "none" else bits,
        tuple(_evidence(stored, said, tensors)),
        bool(agreeing and agreeing.legacy),
        next((one.method for one in said if one.file == "config.json"), "none"),
    )
    against = [*_against_files(found, stored, said, tensors), *_against_numbers(stored, agreeing)]
    return found, [*against, *_against_dtype(found, config, tensors), *_against_name(found, name)]


def _method(stored: Storage, first: Declared | None, seen: bool) -> str:
    """Shapes win: what a file says counts only where the weights can be stored that way."""
    if first is None:
        return METHOD_OF_FAMILY[stored.family]
    fits = not seen or stored.family in FAMILIES[first.method]
    return first.method if fits else METHOD_OF_FAMILY[stored.family]


def declarations(config: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]]) -> Iterator[Declared]:
    """What config.json and the side files say, in the order in which engines believe them."""
    inner = config.get("text_config")
    for settings in (config, inner if isinstance(inner, dict) else {}):
        for key in ("quantization_config", "compression_config", "quantization"):
            block = settings.get(key)
            if isinstance(block, dict) and block and (said := _declared(block, "config.json", key)):
                yield said
                break
    for name in SIDE_FILES:
        if (block := sides.get(name)) and (said := _declared(block, name, "")):
            yield said


def _declared(block: Mapping[str, Any], file: str, key: str) -> Declared | None:
    word = _word(block, file, key)
    if word is None:
        return None
    bits, group = _numbers(block)
    if word == "bitsandbytes":
        bits = 4.0 if block.get("load_in_4bit") or block.get("_load_in_4bit") else 8.0
        method = "bnb-4bit" if bits == 4.0 else "bnb-8bit"
    else:
        method = METHOD_OF_WORD.get(word, "other")
    if word == "bitnet":
        bits = 2.0  # three values, four of them in a byte
    spoken = "quant_method" in block
    legacy = word in OLD_WORDS or (key == "quantization_config" and not spoken) or key == "compression_config"
    legacy = (legacy or (bool(sides_word(file)) and not spoken)) and method != "mlx"
    where = f"{file}: {key}" if key else file
    return Declared(method, where, word, bits, group, _spoken_detail(block, method), legacy)


def sides_word(file: str) -> str | None:
    """The method that a side file stands for where it names none."""
    return {
        "quant_config.json": "awq",
        "quantize_config.json": "gptq",
        "hf_quant_config.json": "modelopt",
    }.get(file)


def _word(block: Mapping[str, Any], file: str, key: str) -> str | None:
    """The method as the file words it; None where the block is about something else."""
    if isinstance(block.get("quant_method"), str):
        return block["quant_method"].lower()
    if any(block.get(flag) for flag in ("load_in_4bit", "load_in_8bit", "_load_in_4bit", "_load_in_8bit")):
        return "bitsandbytes"
    producer = block.get("producer")
    if isinstance(producer, dict) and producer.get("name"):
        return str(producer["name"]).lower()
    if key == "compression_config" or "config_groups" in block:
        return "compressed-tensors"
    if key == "quantization" or (key == "quantization_config" and {"bits", "group_size"} <= block.keys()):
        return "mlx" if {"bits", "group_size"} <= block.keys() else None
    if "wbits" in block:
        return "squeezellm"
    return "unknown" if key else sides_word(file)


def _numbers(block: Mapping[str, Any]) -> tuple[float | None, int | None]:
    """Bits and group size, under the names that the methods give them."""
    inner = block.get("quantization") if isinstance(block.get("quantization"), dict) else None
    places = [block, inner or {}, *_weight_schemes(block)]
    bits = _first(places, ("bits", "w_bit", "wbits", "num_bits", "nbits"))
    group = _first(places, ("group_size", "q_group_size"))
    return bits, (None if group is None else int(group))


def _weight_schemes(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """compressed-tensors' config_groups.*.weights, and HQQ's quant_config.*.weight_quant_params."""
    for outer, inner in (("config_groups", "weights"), ("quant_config", "weight_quant_params")):
        groups = block.get(outer)
        for group in [groups, *groups.values()] if isinstance(groups, dict) else []:
            if isinstance(group, dict) and isinstance(group.get(inner), dict):
                yield group[inner]


def _first(places: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> float | None:
    for place in places:
        for key in keys:
            value = place.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
                return float(value)
    return None


def _spoken_detail(block: Mapping[str, Any], method: str) -> str:
    """What else a file says of the format, in few words."""
    if method == "fp8":
        size = block.get("weight_block_size")
        return (
            f"blocks of {size[0]} x {size[1]}" if isinstance(size, list) and len(size) == 2 else "per tensor"
        )
    if method == "modelopt":
        inner = block.get("quantization")
        return str((inner if isinstance(inner, dict) else block).get("quant_algo") or "")
    words = [block.get(key) for key in ("format", "quant_type", "bnb_4bit_quant_type", "packing_format")]
    return next((word if isinstance(word, str) else "" for word in words if word), "")


def _detail(method: str, stored: Storage, said: Declared | None, bits: float | None) -> str:
    if method == "none":
        return ""
    group = stored.group if stored.group is not None else (said.group if said else None)
    shared = {None: "", 0: "", -1: "a scale per row"}.get(group, f"group {group}")
    words = [f"{bits:g}-bit" if bits else "", shared, said.detail if said else ""]
    if method == "other" and said:
        words.insert(0, said.word)
    return ", ".join(word for word in words if word)


def _evidence(stored: Storage, said: Sequence[Declared], tensors: Sequence[Tensor]) -> Iterator[str]:
    if stored.modules:
        count = f"{stored.modules} modules" if stored.modules > 1 else "1 module"
        yield f"{count} like {stored.example}"
    elif tensors:
        form = "in no known form" if stored.family == "unknown" else "none of them packed"
        yield f"{len(tensors)} tensors, {form}; most weights are {_main_dtype(tensors)}"
    for one in said:
        yield f"{one.where} says {one.word}" + (f" ({one.bits:g}-bit)" if one.bits else "")


def _against_files(
    found: Quantization, stored: Storage, said: Sequence[Declared], tensors: Sequence[Tensor]
) -> Iterator[str]:
    if not said and stored.modules:
        yield (
            f"config.json says nothing of a quantization, but {stored.modules} modules have {_shape(stored)} "
            f"({stored.example})"
        )
    if said and tensors and said[0].method != found.method:
        but = (
            f"have {_shape(stored)} ({stored.example})"
            if stored.modules
            else f"are plain {_main_dtype(tensors)} tensors: nothing in them is packed"
        )
        yield f"{said[0].file} says the weights are quantized with {_name(said[0].method)}, but they {but}"
    for other in said[1:]:
        yield from _between(said[0], other)


def _between(first: Declared, other: Declared) -> Iterator[str]:
    if other.method != first.method:
        yield f"{first.file} says {_name(first.method)}, but {other.file} says {_name(other.method)}"
        return
    for what, one, two in (("bits", first.bits, other.bits), ("a group size of", first.group, other.group)):
        if one is not None and two is not None and one != two:
            told = (f"{one:g} bits", f"{two:g}") if what == "bits" else (f"{what} {one}", f"{two}")
            yield f"{first.file} says {told[0]}, but {other.file} says {told[1]}"


def _against_numbers(stored: Storage, said: Declared | None) -> Iterator[str]:
    if said is None:
        return
    if stored.bits and said.bits and stored.family not in ("exl2", "exl3") and stored.bits != said.bits:
        yield f"{said.file} says {said.bits:g} bits, but the tensors hold {stored.bits:g} ({stored.example})"
    if stored.group and said.group and stored.group != said.group:
        yield (
            f"{said.file} says a group size of {said.group}, but the scales are for groups of {stored.group} "
            f"({stored.example})"
        )
    product = stored.bits_times_group
    if product and said.bits and said.group and said.group > 0 and said.bits * said.group != product:
        yield (
            f"{said.file} says {said.bits:g} bits in groups of {said.group}, but the tensors hold "
            f"{product:g} bits for each scale, not {said.bits * said.group:g} ({stored.example})"
        )


def _against_dtype(
    found: Quantization, config: Mapping[str, Any], tensors: Sequence[Tensor]
) -> Iterator[str]:
    inner = config.get("text_config")
    places = [config, inner if isinstance(inner, dict) else {}]
    word = next((place[key] for place in places for key in ("dtype", "torch_dtype") if place.get(key)), None)
    dtype = DTYPE_WORDS.get(str(word).removeprefix("torch."))
    if found.method == "none" and tensors and dtype and dtype != _main_dtype(tensors):
        yield f"config.json says the weights are {word}, but most are {_main_dtype(tensors)}"


def _against_name(found: Quantization, name: str) -> Iterator[str]:
    match = NAME_HINTS.search(name)
    hint = match.group(1).lower() if match else None
    rivals = {"awq": "gptq", "gptq": "awq"}
    if hint and (found.method == "none" or rivals.get(hint) == found.method):
        are = "not quantized" if found.method == "none" else f"quantized with {_name(found.method)}"
        yield f"the name {name} speaks of {_name(hint)}, but the weights are {are}"


def _main_dtype(tensors: Sequence[Tensor]) -> str:
    count: Counter[str] = Counter()
    for tensor in tensors:
        count[tensor.dtype] += tensor.elements
    return count.most_common(1)[0][0]


def _shape(stored: Storage) -> str:
    return SHAPES.get(stored.family, f"{_name(stored.family)}'s shape")


def _name(method: str) -> str:
    return NAMES.get(method, method)
