"""The quantization table as a picture; the only module that imports matplotlib."""

from __future__ import annotations

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
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EngineMissing(
            f"there is no plot, since matplotlib does not import: {error}",
            "Run `python scripts/run.py shell` once; it installs what is needed.",
        ) from error
    rows = [row for row in found.rows if row.status == "measured"]
    figure = Figure(figsize=(13, HEAD_INCHES + ROW_INCHES * max(len(rows), 2)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (title, value, digits) in zip(panels, PANELS):
        _bars(axes, rows, title, value, digits)
    panels[0].set_yticks(range(len(rows)), _labels(rows))
    panels[0].invert_yaxis()
    _mark_predictions(panels[2], rows)
    cards = ", ".join(card.name for card in found.machine.gpus) or "no GPU"
    figure.suptitle(f"{found.machine.cpu}, {found.machine.cores} cores, {cards}, {found.date}", fontsize=10)
    figure.savefig(file, dpi=110)


def _bars(
    axes: Any, rows: Sequence[Row], title: str, value: Callable[[Row], float | None], digits: int
) -> None:
    values = [value(row) or 0.0 for row in rows]
    bars = axes.barh(range(len(rows)), values, color=[COLOURS.get(row.engine, "grey") for row in rows])
    axes.bar_label(
        bars, [f"{number:,.{digits}f}" if number else "-" for number in values], padding=3, fontsize=9
    )
    axes.set_xlim(0, MARGIN * max([*values, 1e-9]))
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _mark_predictions(axes: Any, rows: Sequence[Row]) -> None:
    known = [(row.predicted_peak_bytes / 1e9, at) for at, row in enumerate(rows) if row.predicted_peak_bytes]
    if not known:
        return
    places, heights = zip(*known)
    axes.plot(places, heights, "|", color="black", markersize=16, label="predicted")
    axes.set_xlim(0, max(axes.get_xlim()[1], MARGIN * max(places)))
    axes.legend(loc="lower right", fontsize=8)


def _labels(rows: Sequence[Row]) -> list[str]:
    """The ways, with their models where there are several."""
    several = len({row.model for row in rows}) > 1
    return [f"{name_of(row)}\n{Path(row.model).name[:36]}" if several else name_of(row) for row in rows]


def _gigabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e9


PANELS: tuple[tuple[str, Callable[[Row], float | None], int], ...] = (
    ("answer, tokens a second", lambda row: row.speeds.tokens_per_s, 1),
    ("prompt, tokens a second", lambda row: row.speeds.prefill_tokens_per_s, 0),
    ("peak memory, GB", lambda row: _gigabytes(row.peak_bytes), 2),
)
