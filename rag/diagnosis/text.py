"""Tables and wrapped lines that fit the reader's terminal, whatever its width."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rag.console import clean_line

NARROWEST, WIDEST = 32, 160
INDENT = "    "
LEAST_NOTE = 36
"""A row's remark stands beside it where it gets so many columns, else below."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row's cells, and a remark that may be long."""

    cells: Sequence[str]
    remark: str = ""


def width() -> int:
    """Columns to fill: the terminal's or COLUMNS; 100 where nobody knows."""
    return max(NARROWEST, min(shutil.get_terminal_size((100, 24)).columns, WIDEST))


def wrapped(text: str, columns: int, first: str = "", rest: str | None = None) -> list[str]:
    """Lines of at most `columns` characters; what is longer than a line, such as a path, is broken."""
    again = " " * len(first) if rest is None else rest
    lines = textwrap.wrap(
        clean_line(text),
        columns,
        initial_indent=first,
        subsequent_indent=again,
        break_on_hyphens=False,
    )
    return lines or [first.rstrip()]


def pairs(lines: Sequence[tuple[str, str]], columns: int) -> list[str]:
    """Label and value, values beneath each other; on a narrow terminal each below its label."""
    label_width = max((len(label) for label, _ in lines), default=0) + 2
    if columns - label_width < LEAST_NOTE:
        return [
            line
            for label, value in lines
            for line in wrapped(f"{label}: {value}" if label else value, columns, "" if label else "  ", "  ")
        ]
    return [line for label, value in lines for line in wrapped(value, columns, label.ljust(label_width))]


def bullets(items: Sequence[str], columns: int) -> list[str]:
    return [line for item in items for line in wrapped(item, columns, "- ")]


def table(header: Sequence[str], rows: Sequence[Row], columns: int, remark: str = "") -> list[str]:
    """Lines of a table; `remark` heads the rows' remarks, which wrap beside the cells or below
    them; below, the same remark stands once for all its rows.

    Where not even the cells fit, each row becomes a block of "header: cell" lines.
    """
    widths = [
        max(len(cells[at]) for cells in [header, *(row.cells for row in rows)]) for at in range(len(header))
    ]
    gap = next((gap for gap in ("  ", " ") if sum(widths) + len(gap) * (len(widths) - 1) <= columns), None)
    if gap is None:
        return _blocks(header, rows, columns)
    head = _line(header, widths, gap)
    full = sum(widths) + len(gap) * len(widths)
    if columns - full >= LEAST_NOTE:
        lines = [f"{head.ljust(full)}{remark}".rstrip()]
        for row in rows:
            lines += wrapped(row.remark, columns, _line(row.cells, widths, gap).ljust(full), " " * full)
        return lines
    lines = [head.rstrip()]
    for row, following in zip(rows, [*rows[1:], Row(())]):
        lines.append(_line(row.cells, widths, gap).rstrip())
        if row.remark and row.remark != following.remark:
            lines += wrapped(row.remark, columns, INDENT)
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], gap: str) -> str:
    return gap.join(cell.ljust(width) for cell, width in zip(cells, widths))


def _blocks(header: Sequence[str], rows: Sequence[Row], columns: int) -> list[str]:
    lines: list[str] = []
    for row in rows:
        named = [
            " ".join(f"{name} {cell}".split()) for name, cell in zip(header, row.cells) if cell.strip(" -?")
        ]
        lines += wrapped(", ".join(named), columns, rest="  ")
        lines += wrapped(row.remark, columns, INDENT) if row.remark else []
    return lines
