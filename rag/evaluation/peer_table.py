"""The comparison as Markdown: a row a figure, a column a side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rag.evaluation.peer_judge import REFUSALS


def _share(value: float) -> str:
    return f"{value:.3f}"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f}"


ROWS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("hit@1", "first passage is right", _share),
    ("hit@5", "one of five passages is right", _share),
    ("mrr@10", "MRR@10", _share),
    ("contains_gold", "answer contains the gold answer", _share),
    ("em", "answer is exactly the gold answer", _share),
    ("f1", "F1 with the gold answer", _share),
    ("median_words", "words of an answer, median", "{:g}".format),
    ("cited_gold", "right answers whose footnote quotes the gold answer", _share),
    ("false_refusal", "refused, though answerable", _share),
    ("true_refusal", "refused, near misses", _share),
    ("foreign_refusal", "refused, questions on other things", _share),
    ("chunks", "passages", "{:g}".format),
    ("ingest_s", "s to ingest", _seconds),
    ("first_hit_s", "s from start to the first hit", _seconds),
    ("search_p50_s", "s for a search, median", _seconds),
    ("answer_p50_s", "s to answer an answerable question, median", _seconds),
    ("ingest_peak_bytes", "MB of memory to ingest, peak", _megabytes),
    ("answer_peak_bytes", "MB of memory to answer, peak", _megabytes),
)
"""Figure, what it means, how it is written."""
NONE = "none"


def markdown(found: Mapping[str, Any]) -> str:
    """The record as a page."""
    counts, sides = found["counts"], found["sides"]
    lines = [
        "# Footnote beside the quick starts of LangChain and txtai",
        "",
        f"- {found['paragraphs']} paragraphs of {_name(found['dataset'])}, each a document without a title",
        f"- {counts['search']} questions searched for; answered: {counts['answerable']} answerable ones, "
        f"{counts['near']} near misses, {counts['foreign']} on other things; seed {found['seed']}",
        *(f"- {name}: {', '.join(packages)}" for name, packages in found["packages"].items()),
        "",
        _line(["", *sides]),
        _line(["---", *["---:"] * len(sides)]),
        *(_line([words, *_cells(sides.values(), name, write)]) for name, words, write in ROWS),
        "",
        "A peer's answer counts as a refusal where it has one of: " + "; ".join(REFUSALS) + ".",
    ]
    return "\n".join(lines) + "\n"


def _cells(sides: Any, name: str, write: Callable[[float], str]) -> list[str]:
    return [NONE if side[name] is None else write(side[name]) for side in sides]


def _name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
