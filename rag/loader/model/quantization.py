"""Which quantization a folder's weights have: tensor shapes first, then config.json, then side files.

A repository's name is a hint only: it never decides, and is named where the weights contradict it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rag.loader.model.declared import Declared, declarations
from rag.loader.model.storage import Storage, storage
from rag.loader.records import Quantization, Tensor

NAMES = {
    **{"none": "plain", "awq": "AWQ", "gptq": "GPTQ", "bnb-4bit": "bitsandbytes 4-bit", "fp8": "FP8"},
    **{"bnb-8bit": "bitsandbytes 8-bit", "modelopt": "ModelOpt", "mxfp4": "MXFP4", "auto-round": "AutoRound"},
    **{"squeezellm": "SqueezeLLM", "hqq": "HQQ", "mlx": "MLX", "quark": "Quark"},
}
# fmt: off
FAMILIES = {  # a method, and the ways in which it may store weights
    "awq": ("awq",), "gptq": ("gptq", "marlin"), "bnb-4bit": ("bnb-4bit",), "bnb-8bit": ("bnb-8bit",),
    "fp8": ("fp8",), "compressed-tensors": ("packed", "fp8", "int8", "marlin"), "hqq": ("hqq",),
    "modelopt": ("nvfp4", "fp8", "int8", "packed-weight"), "mxfp4": ("mxfp4",), "squeezellm": ("squeezellm",),
    "torchao": ("torchao", "int8", "fp8", "packed-weight"), "auto-round": ("gptq", "awq", "fp8", "packed"),
    "quark": ("packed-weight", "fp8", "int8"), "exl2": ("exl2",), "exl3": ("exl3",), "mlx": ("mlx",),
    "other": ("unknown", "packed-weight", "codebook", "int8", "fp8", "packed", "nvfp4"),
}
OTHER_NAMES = {  # the method of a family where no file names one that fits; else they are called alike
    "plain": "none", "packed": "compressed-tensors", "int8": "compressed-tensors", "nvfp4": "modelopt",
    "marlin": "gptq", "packed-weight": "other", "codebook": "other", "unknown": "other",
}
SHAPES = {
    "packed": "compressed-tensors' shape", "packed-weight": "packed integers", "codebook": "codebooks",
    "int8": "8-bit integers", "nvfp4": "NVFP4's shape", "marlin": "Marlin's shape",
}
# fmt: on
NAME_HINTS = re.compile(
    r"(?<![a-z])(awq|gptq|fp8|bnb-[48]bit|exl[23]|mxfp4|nvfp4|hqq|w4a16|w8a8|int[48])(?![a-z\d])", re.I
)
DTYPE_WORDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "half": "F16", "float": "F32"}


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
    if first and (not seen or stored.family in FAMILIES[first.method]):
        return first.method
    return OTHER_NAMES.get(stored.family, stored.family)


def _detail(method: str, stored: Storage, said: Declared | None, bits: float | None) -> str:
    if method == "none":
        return ""
    group = stored.group if stored.group is not None else (said.group if said else None)
    shared = {None: "", 0: "", -1: "a scale per row"}.get(group, f"group {group}")
    words = [f"{bits:g}-bit" if bits else "", shared, (said.detail if said else "") or stored.scales]
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
    if stored.group and stored.group > 0 and said.group and stored.group != said.group:
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
