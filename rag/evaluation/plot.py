"""The quantization table as a picture; the only module that imports matplotlib."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rag.errors import EngineMissing
from rag.evaluation.benchmark_table import name_of
from rag.evaluation.quantizations import Comparison, Row

COLOURS = {"llamacpp": "#4c72b0", "transformers": "#dd8452", "vllm": "#55a868"}
ROW_INCHES, HEAD_INCHES = 0.42, 1.5
MARGIN = 1.2
"""Room for the figures behind the longest bar."""


def draw(found: Comparison, file: Path) -> None:
    """Write a PNG with a bar for each way: writing, reading, memory. Raises EngineMissing."""
    rows = [row for row in found.rows if row.status == "measured"]
    figure = empty_figure(13, HEAD_INCHES + ROW_INCHES * max(len(rows), 2))
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (title, value, digits) in zip(panels, PANELS):
        predicted = [_gigabytes(row.predicted_peak_bytes) for row in rows] if axes is panels[2] else []
        _bars(axes, rows, [value(row) for row in rows], predicted, digits)
        axes.set_title(title, fontsize=10)
    panels[0].set_yticks(range(len(rows)), _labels(rows))
    panels[0].invert_yaxis()
    cards = ", ".join(card.name for card in found.machine.gpus) or "no GPU"
    figure.suptitle(f"{found.machine.cpu}, {found.machine.cores} cores, {cards}, {found.date}", fontsize=10)
    figure.savefig(file, dpi=110)


def empty_figure(width: float, height: float) -> Any:
    """A matplotlib figure of so many inches that needs no screen. Raises EngineMissing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EngineMissing(
            f"there is no plot, since matplotlib does not import: {error}",
            "Run `python scripts/run.py shell` once; it installs what is needed.",
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bars(
    axes: Any,
    rows: Sequence[Row],
    values: Sequence[float | None],
    predicted: Sequence[float | None],
    digits: int,
) -> None:
    """A bar a row with its figure behind it, and a mark where it was predicted to end."""
    axes.barh(
        range(len(rows)), [v or 0.0 for v in values], color=[COLOURS.get(r.engine, "grey") for r in rows]
    )
    ends = []
    for at, (value, mark) in enumerate(itertools.zip_longest(values, predicted)):
        if mark:
            axes.plot([mark], [at], "|", color="black", markersize=16)
        ends.append(max(value or 0.0, mark or 0.0))
        text = "-" if value is None else f"{value:,.{digits}f}"
        axes.annotate(text, (ends[-1], at), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xlim(0, MARGIN * max([*ends, 1e-9]))
    axes.spines[["top", "right"]].set_visible(False)


def _labels(rows: Sequence[Row]) -> list[str]:
    """The ways, with their models where there are several."""
    several = len({row.model for row in rows}) > 1
    return [f"{name_of(row)}\n{Path(row.model).name[:36]}" if several else name_of(row) for row in rows]


def _gigabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e9


PANELS: tuple[tuple[str, Callable[[Row], float | None], int], ...] = (
    ("answer, tokens a second", lambda row: row.speeds.tokens_per_s, 1),
    ("prompt, tokens a second", lambda row: row.speeds.prefill_tokens_per_s, 0),
    ("peak memory, GB (mark: predicted)", lambda row: _gigabytes(row.peak_bytes), 2),
)
