"""The training loop: a fixed order of batches, checkpoints to go on from, a loss of three parts."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rag.training.encoding import Batch, Encoded, Encoder, batch
from rag.training.examples import Example
from rag.training.network import ReaderNetwork

RATE, HEAD_RATE = 6e-5, 1e-3
WARM_UP = 0.06
"""Share of the steps in which the learning rate rises; afterwards it falls in a line to 0."""

BATCH = 16
BUCKET = 32
"""Batches sorted by length together: padding costs as much as text."""

ANSWERABLE_WEIGHT, RELEVANCE_WEIGHT = 0.5, 0.02
"""Beside 1 for the span. The relevance loss is squared logits: 1 is a good fit for numbers from -11 to 11."""

SAVE_S = 300.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the result, beside the examples."""

    epochs: float = 3.0
    wrong_passages: float = 0.5
    """Of the examples whose passage is merely a wrong one, the share that is read in each epoch."""
    seed: int = 0
    steps: int | None = None
    """End after so many instead: for trying things out."""


def learn(
    network: ReaderNetwork,
    examples: Sequence[Example],
    encoder: Encoder,
    recipe: Recipe,
    checkpoint: Path,
    tell: Callable[[int, int, float], None],
    stop_at: int | None = None,
) -> None:
    """Train in place; goes on from `checkpoint` where there is one, and saves to it every few minutes.

    `tell(step, steps, loss)` hears a running mean of the loss. `stop_at` ends a run early, as a crash would.
    """
    for parameter in network.bert.embeddings.parameters():
        parameter.requires_grad = False  # few examples say nothing of most words
    optimizer = _optimizer(network)
    steps = recipe.steps or _steps(examples, recipe)
    begun = _restore(checkpoint, network, optimizer)
    network.train()
    saved, running = time.monotonic(), math.nan
    for step, rows in enumerate(_batches(examples, encoder, recipe)):
        if step >= min(steps, stop_at or steps):
            break
        if step < begun:
            continue
        torch.manual_seed(recipe.seed + step)  # dropout, the same after an interruption
        _set_rate(optimizer, step, steps)
        value = _step(network, optimizer, batch(rows))
        running = value if math.isnan(running) else 0.98 * running + 0.02 * value
        tell(step + 1, steps, running)
        if time.monotonic() - saved > SAVE_S:
            _save(checkpoint, network, optimizer, step + 1)
            saved = time.monotonic()
    _save(checkpoint, network, optimizer, min(steps, stop_at or steps))
    network.eval()


def loss(outputs: tuple[Tensor, Tensor, Tensor], target: Batch) -> Tensor:
    """Span: -log of the chance of any right beginning and end. Answerable: binary. Relevance: squared."""
    relevance, answerable, span = (output.float() for output in outputs)
    closed = ~target.allowed[:, :, None]
    chances = span.masked_fill(closed, -math.inf).log_softmax(1)
    right = torch.stack([target.starts, target.ends], 2)
    spans = -chances.masked_fill(~right, -math.inf).logsumexp(1).mean()
    holds = (~target.starts[:, 0]).float()
    there = functional.binary_cross_entropy_with_logits(answerable, holds)
    known = ~target.relevance.isnan()
    gap = (relevance[known] - target.relevance[known]).square().sum() / max(len(known), 1)
    return spans + ANSWERABLE_WEIGHT * there + RELEVANCE_WEIGHT * gap


def _step(network: ReaderNetwork, optimizer: Any, target: Batch) -> float:
    # bfloat16 for the multiplications halves the time where the processor has them
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(target.ids, target.mask, target.types)
    value = loss(outputs, target)
    value.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(value.detach())


def _optimizer(network: ReaderNetwork) -> Any:
    heads = [*network.span.parameters(), *network.answerable.parameters()]
    known = {id(parameter) for parameter in heads}
    body = [p for p in network.parameters() if id(p) not in known and p.requires_grad]
    groups = [{"params": body, "peak": RATE}, {"params": heads, "peak": HEAD_RATE}]
    return torch.optim.AdamW(groups, lr=RATE, weight_decay=0.01)


def _set_rate(optimizer: Any, step: int, steps: int) -> None:
    rising = (step + 1) / max(1.0, WARM_UP * steps)
    falling = (steps - step) / max(1.0, (1 - WARM_UP) * steps)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * min(1.0, rising, falling)


def _read(examples: Sequence[Example], recipe: Recipe, dice: random.Random) -> list[Example]:
    """One epoch's examples, in the order in which they are read."""
    told = [e for e in examples if e.answers or e.hard or dice.random() < recipe.wrong_passages]
    dice.shuffle(told)
    return told


def _steps(examples: Sequence[Example], recipe: Recipe) -> int:
    told = sum(1 if e.answers or e.hard else recipe.wrong_passages for e in examples)
    return max(1, round(recipe.epochs * told / BATCH))


def _batches(examples: Sequence[Example], encoder: Encoder, recipe: Recipe) -> Iterator[list[Encoded]]:
    """Batches without end, the same for the same recipe."""
    dice = random.Random(recipe.seed)
    while True:
        told = _read(examples, recipe, dice)
        for start in range(0, len(told), BATCH * BUCKET):
            rows = [encoder.encode(example, dice) for example in told[start : start + BATCH * BUCKET]]
            rows.sort(key=lambda row: len(row.ids))
            groups = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
            dice.shuffle(groups)
            yield from groups


def _save(file: Path, network: ReaderNetwork, optimizer: Any, step: int) -> None:
    aside = file.with_suffix(".part")
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, aside)
    aside.replace(file)


def _restore(file: Path, network: ReaderNetwork, optimizer: Any) -> int:
    """Steps that are done already."""
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
