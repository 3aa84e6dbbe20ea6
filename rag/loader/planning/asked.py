"""What the user asked for against what the files carry: corrected where it is plain, refused where not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

from rag.errors import ModelRefused, NotQuantized, UsageError
from rag.loader.model import gguf
from rag.loader.planning.support import ELSEWHERE
from rag.loader.records import METHODS, ModelFacts, Quantization, Request

ALIASES = {
    **dict.fromkeys(["4bit", "4-bit", "bnb", "bnb4", "bnb-4", "int4", "nf4", "bitsandbytes"], "bnb-4bit"),
    **dict.fromkeys(["8bit", "8-bit", "bnb8", "bnb-8", "int8", "llm.int8"], "bnb-8bit"),
    **dict.fromkeys(["awq_marlin", "awq-marlin", "marlin-awq"], "awq"),
    **dict.fromkeys(["gptq_marlin", "gptq-marlin", "marlin"], "gptq"),
    **dict.fromkeys(["unquantized", "no", "off"], "none"),
}
DTYPES = {
    **dict.fromkeys(["float32", "fp32", "f32", "float"], "float32"),
    **dict.fromkeys(["float16", "fp16", "f16", "half"], "float16"),
    **dict.fromkeys(["bfloat16", "bf16"], "bfloat16"),
    "auto": "auto",
}
ON_LOAD = ("bnb-4bit", "bnb-8bit", "fp8")
"""What unquantized weights can be reduced to while they load."""

PREPARED = ("awq", "gptq")
REQUANTIZED_TO = ("Q8_0", "Q4_0")
"""The types that `rag.loader.process.requantize` can write."""

GGUF_TYPES = {name.lower(): name for name in gguf.FILE_TYPES.values()}


def settle(request: Request, facts: ModelFacts, siblings: Mapping[str, str], certain: bool = True) -> Request:
    """The request with every word in its usual form and in keeping with the files.

    `siblings` maps a method to the published version of this model in that form, or while not `certain` to
    its likely name. Raises UsageError for words that mean nothing, NotQuantized and ModelRefused for what the
    files cannot give.
    """
    request = replace(request, dtype=_dtype(request.dtype), quantization=_word(request.quantization))
    asked, stored = request.quantization, facts.quantization
    if stored.method == "gguf":
        _check_gguf(request, facts)
    elif asked in ("auto", stored.method):
        return request
    elif stored.method == "none":
        _check_unquantized(asked, facts, siblings, certain)
    else:
        raise _carries_another(asked, facts)
    return request


def notes(asked: str, facts: ModelFacts) -> tuple[str, ...]:
    """What was corrected in the user's words, to be told."""
    if "marlin" in asked.lower():
        return (
            "Marlin is no quantization of its own: vLLM picks its kernels itself where the GPU has them.",
        )
    return ()


def _word(asked: str) -> str:
    word = asked.strip().lower()
    word = ALIASES.get(word, word)
    known = {"auto", *METHODS}
    if word in known or word in GGUF_TYPES:
        return word
    near = difflib.get_close_matches(word, [*known, *ALIASES, *GGUF_TYPES], n=1)
    hint = f"Did you mean {near[0]}?" if near else "Write auto, none, bnb-4bit, bnb-8bit, awq, gptq or fp8."
    raise UsageError(f"there is no quantization called {asked!r}", hint)


def _dtype(asked: str) -> str:
    found = DTYPES.get(asked.strip().lower())
    if found is None:
        raise UsageError(f"there is no dtype called {asked!r}", "Write float32, bfloat16, float16 or auto.")
    return found


def _check_unquantized(asked: str, facts: ModelFacts, siblings: Mapping[str, str], certain: bool) -> None:
    if asked in ON_LOAD:
        return
    if asked in PREPARED:
        published = siblings.get(asked, "")
        use = f"{'Use' if certain else 'Look for'} {published}, or " if published else ""
        raise NotQuantized(
            f"{facts.name} carries no {asked.upper()} weights: they must be prepared beforehand and "
            f"published as files of their own",
            f"{use}{'add' if use else 'Add'} --quantization bnb-4bit, which reduces a model while it loads.",
        )
    raise NotQuantized(
        f"{facts.name} is not quantized, and cannot be reduced to {asked} while it loads",
        "Use --quantization bnb-4bit or bnb-8bit, or leave it out.",
    )


def _carries_another(asked: str, facts: ModelFacts) -> ModelRefused:
    have = _carried(facts.quantization)
    if asked == "none":
        return ModelRefused(
            f"{facts.name} carries {have}; read as if it were not quantized it would answer nonsense",
            "Leave --quantization out to read it as what it is, or take the model's unquantized version.",
        )
    return ModelRefused(
        f"{facts.name} carries {have}, and cannot be read as {asked}",
        "Leave --quantization out, or take the model's unquantized version, which can be reduced on load.",
    )


def _check_gguf(request: Request, facts: ModelFacts) -> None:
    label = facts.quantization.label
    asked = request.quantization
    if asked not in ("auto", "gguf", label.lower()):
        target = GGUF_TYPES.get(asked)
        if target not in REQUANTIZED_TO:
            raise ModelRefused(
                f"{facts.name} carries weights in {label} and cannot be read as {asked}",
                f"Leave --quantization out, or name a file in that form ({', '.join(REQUANTIZED_TO)} "
                "can be made from this one).",
            )
    if request.dtype != "auto":
        raise UsageError(
            f"--dtype means nothing for {facts.name}: a GGUF file's weights keep their own types",
            "Leave --dtype out.",
        )


def _carried(quantization: Quantization) -> str:
    detail = f" ({quantization.detail})" if quantization.detail else ""
    elsewhere = ELSEWHERE.get(quantization.method)
    return f"{quantization.method} weights{detail}" + (f"; {elsewhere}" if elsewhere else "")
