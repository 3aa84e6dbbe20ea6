"""How many questions without an answer are refused, at the price of how many that have one."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path

from rag.evaluation.plot import empty_figure

Curve = list[tuple[float, float]]
"""Share of answerable questions refused, share of the others refused, for rising thresholds."""


def curve(answerable: Sequence[float], others: Sequence[float]) -> Curve:
    """One point for each threshold that tells; what lies below a threshold is refused."""
    have, lack = sorted(answerable), sorted(others)
    thresholds = [0.0, *sorted({*have, *lack}), float("inf")]
    return [(_below(have, at), _below(lack, at)) for at in thresholds]


def refused_at(answerable: Sequence[float], others: Sequence[float], price: float) -> float | None:
    """Share of the others refused where at most `price` of the answerable are; None without questions."""
    if not answerable or not others:
        return None
    return max(right for wrong, right in curve(answerable, others) if wrong <= price)


def draw(curves: Mapping[str, Curve], now: float, file: Path) -> None:
    """Write a picture of the curves, and of the false refusals of today's threshold. Raises EngineMissing."""
    figure = empty_figure(6, 4.5)
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(*zip(*points), label=name, drawstyle="steps-post")
    axes.axvline(now, color="grey", linestyle=":", label="the default threshold")
    axes.set(xlim=(0, 0.3), ylim=(0, 1), xlabel="answerable questions refused", ylabel="refused")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)


def _below(values: Sequence[float], threshold: float) -> float:
    return bisect.bisect_left(values, threshold) / max(len(values), 1)
