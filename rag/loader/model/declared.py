"""What a folder's files say of its quantization: config.json's block, and the side files of older tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

SIDE_FILES = {"quant_config.json": "awq", "quantize_config.json": "gptq", "hf_quant_config.json": "modelopt"}
"""Files of older tools, and the method that each stands for where it names none."""

METHOD_OF_WORD = {  # config.json's quant_method -> ours
    **{"awq": "awq", "awq_marlin": "awq", "gptq": "gptq", "gptq_marlin": "gptq", "marlin": "gptq"},
    **{"fp8": "fp8", "fbgemm_fp8": "fp8", "compressed-tensors": "compressed-tensors", "mxfp4": "mxfp4"},
    **{"compressed_tensors": "compressed-tensors", "modelopt": "modelopt", "modelopt_fp4": "modelopt"},
    **{"torchao": "torchao", "auto-round": "auto-round", "intel/auto-round": "auto-round", "quark": "quark"},
    **{"hqq": "hqq", "squeezellm": "squeezellm", "exl2": "exl2", "exl3": "exl3", "mlx": "mlx"},
}
OLD_WORDS = ("intel/auto-round", "awq_marlin", "gptq_marlin")


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


def modern_block(config: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """config.json's quantization_config as AWQ's and GPTQ's tools write it today, made from a side file.

    None where config.json has its own, and where there is no such side file: nothing has to be told then.
    """
    if config.get("quantization_config"):
        return None
    if old := sides.get("quant_config.json"):
        bits, group = _numbers(old)
        zero = old.get("zero_point", True)
        version = str(old.get("version", "gemm")).lower()
        named = {"bits": int(bits or 4), "group_size": group or 128, "zero_point": zero, "version": version}
        return {"quant_method": "awq", **named}
    if old := sides.get("quantize_config.json"):
        return {**old, "quant_method": "gptq"}
    return None


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
    legacy = (legacy or (file in SIDE_FILES and not spoken)) and method != "mlx"
    where = f"{file}: {key}" if key else file
    return Declared(method, where, word, bits, group, _spoken_detail(block, method), legacy)


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
    return "unknown" if key else SIDE_FILES.get(file)


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
        return f"blocks of {size[0]} x {size[1]}" if isinstance(size, list) and len(size) == 2 else ""
    if method == "modelopt":
        inner = block.get("quantization")
        return str((inner if isinstance(inner, dict) else block).get("quant_algo") or "")
    if method == "bnb-8bit":  # its settings carry the 4-bit ones along, unused
        return ""
    words = [block.get(key) for key in ("format", "quant_type", "bnb_4bit_quant_type", "packing_format")]
    return next((word if isinstance(word, str) else "" for word in words if word), "")
