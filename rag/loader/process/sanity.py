"""Does the model that was just loaded speak? Weights read wrongly raise no error by themselves.

Garbage is an error with its likely cause, never an answer. The whole costs one short text and a few tokens.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rag.errors import ModelError, ModelLoadFailed, ModelRefused
from rag.heap import trim
from rag.loader.base import LoadedModel, Sampling
from rag.loader.process.death import memory_refused, out_of_memory
from rag.loader.records import Plan
from rag.types import Message

WORDS = "Monday, Tuesday, Wednesday"
"""What every language model can go on with: 5 tokens in most vocabularies, each a step to llama.cpp."""

LARGEST_PERPLEXITY = 300.0
"""Over WORDS. SmolLM2-135M has 9.8, reduced to 4 bits 15. With scales lost, packed numbers in a wrong order,
rows permuted or random weights it has 38,000 and more; guessing evenly gives the size of the vocabulary.
Small faults pass: what the rest of a model makes up for, as for one permuted layer of thirty.
"""

CANARY = "Say hello."
CANARY_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Sanity:
    """What the model did when it was tried: the perplexity of WORDS, and its answer to CANARY."""

    perplexity: float
    canary: str
    seconds: float


def check(model: LoadedModel, plan: Plan) -> Sanity:
    """Try a loaded model.

    Raises ModelRefused where what it says is garbage, with the likely cause; ModelLoadFailed where it cannot
    be run at all, and DoesNotFit where memory runs out over it.
    """
    began = time.monotonic()
    try:
        perplexity = _perplexity(model.token_logprobs(WORDS))
        pieces = list(model.stream([Message("user", CANARY)], Sampling(CANARY_TOKENS)))
    except Exception as error:  # the first words are where a library meets what it cannot compute
        raise _failed(plan, error) from error
    if not perplexity <= LARGEST_PERPLEXITY:
        amount = f"{perplexity:,.0f}" if perplexity < 1e6 else "over a million"
        raise _garbage(plan, f"to it the days of the week have a perplexity of {amount}")
    if _stuck(pieces):
        raise _garbage(plan, f"asked to say hello, it repeats {pieces[0]!r}")
    trim()  # bitsandbytes repacks weights for their first use, and left 300 MB of holes for 440M parameters
    return Sanity(round(perplexity, 2), "".join(pieces).strip(), round(time.monotonic() - began, 3))


def _perplexity(logprobs: Sequence[float]) -> float:
    """Infinite where the model has no numbers to judge by, or certain of none of the words."""
    if not logprobs:
        return math.inf
    mean = sum(logprobs) / len(logprobs)
    return math.exp(-mean) if mean > -700 else math.inf


def _stuck(pieces: Sequence[str]) -> bool:
    """Whether the answer is one piece over and over; spaces do not count, as models differ in them."""
    said = [piece.strip() for piece in pieces]
    return len(said) >= CANARY_TOKENS and len(set(said)) == 1


def _failed(plan: Plan, error: Exception) -> ModelError:
    if out_of_memory(error):
        return memory_refused(plan, (str(error).strip().splitlines() or [""])[0])
    if isinstance(error, ModelError):
        return _garbage(plan, error.message)
    reason = (str(error).strip().splitlines() or [""])[0]
    return ModelLoadFailed(
        f"{plan.name} was loaded and fails at its first words: {type(error).__name__}: {reason}",
        "Choose another --quantization or --dtype, or another model with --model.",
    )


def _garbage(plan: Plan, sign: str) -> ModelRefused:
    cause, fix = _cause(plan)
    return ModelRefused(f"{plan.name} was loaded and answers nonsense: {sign}. {cause}", fix)


def _cause(plan: Plan) -> tuple[str, str]:
    """What most likely went wrong, and what to do about it, by how the model was loaded."""
    if plan.stored not in ("none", "gguf"):
        return (
            f"Its weights are stored as {plan.stored}, and {plan.engine} seems to read them wrongly.",
            "Choose another --engine, or the model's unquantized or GGUF variant.",
        )
    if plan.dtype == "float16" and plan.quantization == "none":
        return (
            "Its numbers may be too large for float16, as those of models made in bfloat16 sometimes are.",
            "Use --dtype bfloat16 or --dtype float32.",
        )
    if plan.requantize or (plan.stored == "none" and plan.quantization != "none"):
        return (
            f"Reducing it to {plan.requantize or plan.quantization} may have lost too much.",
            "Use --quantization none, or more bits.",
        )
    return (
        "Its files are probably damaged, or do not belong together.",
        "Download the model again, or choose another one with --model.",
    )
