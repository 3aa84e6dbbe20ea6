"""How well a model foretells a fixed text: the opening of Darwin's "On the Origin of Species".

perplexity.txt holds the first five paragraphs of its introduction (London: John Murray, 1859; the fifth
without its last sentence). Charles Darwin died in 1882, so the text is in the public domain everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rag.errors import ModelError

FILE = Path(__file__).with_name("perplexity.txt")
SOURCE = "Charles Darwin, On the Origin of Species, 1859, Introduction"
LARGEST_LOSS = 700.0
"""Nats a token; the exponential of more is no number any more."""


class Scoring(Protocol):
    def token_logprobs(self, text: str) -> list[float]:
        """See `LoadedModel.token_logprobs`."""


@dataclass(frozen=True, slots=True)
class Perplexity:
    """`tokens` are those foretold. Two perplexities compare only where the tokens are the same."""

    value: float
    tokens: int


def fixed_text() -> str:
    return FILE.read_text(encoding="utf-8").strip()


def perplexity(model: Scoring, text: str) -> Perplexity:
    """The exponential of the mean negative logarithm of each token's probability.

    Jelinek et al. 1977, "Perplexity - a measure of the difficulty of speech recognition tasks". Raises
    ModelError, PromptTooLong where the context does not hold the text.
    """
    found = model.token_logprobs(text)
    if not found:
        raise ModelError("the model gives no probabilities for the text", "Choose another engine.")
    loss = -sum(found) / len(found)
    return Perplexity(math.exp(min(loss, LARGEST_LOSS)), len(found))
