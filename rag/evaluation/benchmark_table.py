"""The quantization table for people: aligned on a terminal, and as Markdown, from the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rag.evaluation.perplexity import SOURCE
from rag.evaluation.quantizations import CANARY, Comparison, Row
from rag.loader.machine.hardware import describe

SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
HEADER = (
    "way",
    "load s",
    "GB predicted",
    "GB measured",
    "prompt tok/s",
    "answer tok/s",
    "first token s",
    "perplexity",
    "to unquantized",
)
LEFT_OUT = ("Disk", "Speed", "Note")
"""What `describe` says of the machine that has no part in these figures."""


def terminal(found: Comparison) -> str:
    """The whole comparison as lines of plain text."""
    lines = [*(f"{label}: {value}" for label, value in hardware(found)), ""]
    for model in _models(found):
        lines += [_short(model), *_aligned(_cells(model, found)), ""]
    for heading, items in _remarks(found):
        lines += [heading, *(f"  {item}" for item in items), ""]
    return "\n".join([*lines, legend(found)]) + "\n"


def markdown(found: Comparison, plot: str | None = None) -> str:
    """The same in Markdown, with the file of the plot where there is one."""
    lines = ["# Ways to run a model, measured", ""]
    lines += [f"- {label}: {value}" for label, value in hardware(found)]
    for model in _models(found):
        lines += ["", f"## {_short(model)}", "", *_piped(_cells(model, found))]
    for heading, items in _remarks(found):
        lines += ["", f"## {heading}", "", *(f"- {item}" for item in items)]
    lines += ["", legend(found)]
    if plot:
        lines += ["", f"![Speed and memory of each way]({plot})"]
    return "\n".join(lines) + "\n"


def hardware(found: Comparison) -> list[tuple[str, str]]:
    """Label and value of each line about the machine, versions and date included."""
    lines = [pair for pair in describe(found.machine) if pair[0] not in LEFT_OUT]
    return [*lines, ("Python", found.python), ("Date", found.date)]


def legend(found: Comparison) -> str:
    """What the columns mean, and what was not counted."""
    options = found.options
    told = (
        f"Each way in a fresh process, with a context of {options.context_tokens} tokens. "
        "Load: from the start of the process until the model answers, checks included. "
        "GB (10^9 bytes): memory that nothing can take back, at its peak; on cuda the GPUs' own. "
        f"Prompt: {options.prompt_tokens} tokens until the first answering token. "
        f"Answer: up to {options.answer_tokens} tokens, the first left out. First token: a short question's. "
        "The first request to each is a warm-up and not counted; every prompt after it is a new one, so that "
        "no cache helps."
    )
    if options.dummy:
        return f"{told} The weights are random numbers: perplexity and answers would mean nothing."
    return f"{told} Perplexity: of {SOURCE}; only figures of models with the same tokens compare."


def name_of(row: Row) -> str:
    """A row's way in a few words; where it runs is told only when that is not the processor."""
    if not row.engine:
        return row.way
    device = "" if row.device == "cpu" else f"on {row.device}"
    parts = (row.engine, row.quantization, SHORT.get(row.dtype or "", row.dtype or ""), device)
    return " ".join(filter(None, parts))


def _short(model: str) -> str:
    """A folder's or file's name: where it lies is nobody else's business."""
    return Path(model).name or model


def _models(found: Comparison) -> list[str]:
    return list(dict.fromkeys(row.model for row in found.rows if row.status == "measured"))


def _cells(model: str, found: Comparison) -> list[tuple[str, ...]]:
    rows = [row for row in found.rows if row.model == model and row.status == "measured"]
    return [HEADER, *map(_line, rows)]


def _line(row: Row) -> tuple[str, ...]:
    speeds, scored = row.speeds, row.perplexity
    return (
        name_of(row),
        _number(row.load_s, 1),
        _number(row.predicted_peak_bytes and row.predicted_peak_bytes / 1e9, 2),
        _number(row.peak_bytes and row.peak_bytes / 1e9, 2),
        _number(speeds.prefill_tokens_per_s, 0),
        _number(speeds.tokens_per_s, 1),
        _number(speeds.first_token_s, 2),
        _number(scored.value if scored else None, 2),
        _number(row.perplexity_ratio, 3),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _remarks(found: Comparison) -> list[tuple[str, list[str]]]:
    """Headings with what stands below them; those without anything are left out."""
    failed = [
        f"{_short(row.model)}, {name_of(row)}: {row.reason}" for row in found.rows if row.status == "failed"
    ]
    not_run = [
        f"{_short(row.model)}, {name_of(row)}: {row.reason}" for row in found.rows if row.status == "not run"
    ]
    kept = [f"{_short(row.model)}, {name_of(row)}: {row.kept_back}" for row in found.rows if row.kept_back]
    measured = [row for row in found.rows if row.status == "measured"]
    notes = [f"{_short(row.model)}, {name_of(row)}: {note}" for row in measured for note in row.notes]
    said = [
        f"{_short(row.model)}, {name_of(row)}: {row.answer}" for row in measured if row.answer is not None
    ]
    headings = [
        ("Failed", failed),
        ("Not run", not_run),
        ("Memory that did not come back", kept),
        ("Notes", notes),
        (f"Asked: {CANARY}", said),
    ]
    return [(heading, [" ".join(item.split()) for item in items]) for heading, items in headings if items]


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cells[at]) for cells in table) for at in range(len(table[0]))]
    return [
        "  ".join([cells[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(cells[1:], widths[1:]))])
        for cells in table
    ]


def _piped(table: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(table[0]) - 1)]
    return [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        for cells in (table[0], rule, *table[1:])
    ]
