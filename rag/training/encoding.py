"""Examples as token ids, cut to a length, with the places of the answer among the tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rag.training.examples import Example

MAX_TOKENS = 320
"""Of one input; a question, a passage of 200 tokens and its headings are shorter."""

SHORTEST_CUT = 64
"""Half of the passages are cut to a random piece, of this many tokens at least, that holds the answer."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One input; `text` is (first, last + 1) of the passage's tokens, `spans` the answers' first and last."""

    ids: tuple[int, ...]
    types: tuple[int, ...]
    text: tuple[int, int]
    spans: tuple[tuple[int, int], ...]
    relevance: float | None
    """None where the passage was cut: the teacher read the whole of it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of shape (batch, tokens); `starts` and `ends` are 1 where an answer may begin or end.

    Without an answer both are 1 at position 0. `allowed` are position 0 and the passage's tokens. `relevance`
    is NaN where it is not known.
    """

    ids: Tensor
    mask: Tensor
    types: Tensor
    allowed: Tensor
    starts: Tensor
    ends: Tensor
    relevance: Tensor


class Encoder:
    """Uses the tokenizer that lies beside the cross-encoder."""

    def __init__(self, tokenizer: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, example: Example, dice: random.Random | None = None) -> Encoded:
        """As the program reads it: question, headings, passage. With `dice` it may be cut."""
        lead = f"{example.context}\n" if example.context else ""
        pair = self._tokenizer.encode(example.question, lead + example.passage)
        first = _token_at(pair, len(lead))
        last = len(pair.ids) - 1  # the closing [SEP]
        spans = [_tokens(pair, len(lead) + a, len(lead) + b) for a, b in example.answers]
        spans = [span for span in spans if first <= span[0] <= span[1] < last]
        window = (first, last)
        cut = dice is not None and dice.random() < 0.5
        if cut or len(pair.ids) > MAX_TOKENS:
            window = _window(first, last, spans, dice or random.Random(0), MAX_TOKENS - first - 1, cut)
        ids = [*pair.ids[:first], *pair.ids[window[0] : window[1]], pair.ids[-1]]
        types = [*pair.type_ids[:first], *[1] * (window[1] - window[0]), 1]
        moved = tuple(
            (a - window[0] + first, b - window[0] + first)
            for a, b in spans
            if window[0] <= a and b < window[1]
        )
        whole = window == (first, last)
        return Encoded(
            tuple(ids),
            tuple(types),
            (first, first + window[1] - window[0]),
            moved,
            example.relevance if whole else None,
        )


def _window(
    first: int,
    last: int,
    spans: Sequence[tuple[int, int]],
    dice: random.Random,
    longest: int,
    shorten: bool,
) -> tuple[int, int]:
    size = min(last - first, longest)
    if shorten:
        size = dice.randint(min(SHORTEST_CUT, size), size)
    low, high = dice.choice(spans) if spans else (first, first)
    earliest = max(first, min(high + 1 - size, last - size))
    latest = min(low, last - size) if spans else last - size
    start = dice.randint(earliest, max(earliest, latest))
    return start, start + size


def _token_at(pair: Any, char: int) -> int:
    token = pair.char_to_token(char, 1)
    while token is None and char > 0:
        char += 1
        token = pair.char_to_token(char, 1)
        if char > 1 << 20:
            raise ValueError("the passage has no tokens")
    return token if token is not None else pair.type_ids.index(1)


def _tokens(pair: Any, start: int, end: int) -> tuple[int, int]:
    """First and last token of the characters [start, end); (-1, -1) where they have none."""
    inside = [pair.char_to_token(at, 1) for at in range(start, end)]
    known = [token for token in inside if token is not None]
    return (known[0], known[-1]) if known else (-1, -1)


def batch(rows: Sequence[Encoded]) -> Batch:
    """Pad to the longest."""
    width = max(len(row.ids) for row in rows)
    shape = (len(rows), width)
    ids, mask, types = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    allowed, starts, ends = (torch.zeros(shape, dtype=torch.bool) for _ in range(3))
    for n, row in enumerate(rows):
        ids[n, : len(row.ids)] = torch.tensor(row.ids)
        types[n, : len(row.ids)] = torch.tensor(row.types)
        mask[n, : len(row.ids)] = 1
        allowed[n, row.text[0] : row.text[1]] = True
        for first, last in row.spans or ((0, 0),):
            starts[n, first] = ends[n, last] = True
    allowed[:, 0] = True
    known = [float("nan") if row.relevance is None else row.relevance for row in rows]
    return Batch(ids, mask, types, allowed, starts, ends, torch.tensor(known))
