"""Rows of cells to lines that stand alone: "Column: value; Column: value"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.ingest.readers.base import one_line

HEADER_CELL = 80
FORM_ROWS = 12
_NUMBER = re.compile(r"[\s$€£¥(+\-–]*\d[\d\s.,:/]*[%)]*")
_YEAR = re.compile(r"(19|20)\d\d")

Row = Sequence[str]


def render(rows: Sequence[Row], header: bool | None = None) -> str:
    """The table as text, one line per row; `header` says whether row 1 names the columns.

    With None that is judged from the cells. Titles above the header stay lines of their own, and
    the header's names are printed once too, so nothing that stood in a cell is lost.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    lines: list[str] = []
    names: list[str] | None = None
    blocks = _blocks(cells)
    for n, block in enumerate(blocks):
        while (
            block and len(_filled(block[0])) == 1 and _width(block) > 1 and (names is None or len(block) > 1)
        ):
            lines.append(_filled(block.pop(0))[0])
        if not block:
            continue
        below = (
            blocks[n + 1] if len(block) == 1 and n + 1 < len(blocks) else []
        )  # an empty row under the header
        if header or (header is None and is_header([*block, *below])):
            names, header = block.pop(0), None
            lines.append(" | ".join(_filled(names)))
        lines.extend(line(row, names) for row in block)
    return "\n".join(lines)


def line(row: Row, names: Row | None) -> str:
    """One row in words; a first column without a name leads the line as the row's own name."""
    if names is None:
        filled = _filled(row)
        if len(filled) == 2:
            return f"{filled[0].rstrip(':')}: {filled[1]}"
        return " | ".join(filled)
    pairs = [(names[n] if n < len(names) else "", cell) for n, cell in enumerate(row)]
    label = ""
    if pairs and pairs[0][1] and not pairs[0][0] and len(_filled(row)) > 1:
        label, pairs = f"{pairs[0][1]}: ", pairs[1:]
    return label + "; ".join(f"{name.rstrip(':')}: {cell}" if name else cell for name, cell in pairs if cell)


def is_header(rows: Sequence[Row], forms: bool = True) -> bool:
    """Whether the first of `rows` names the columns: short, distinct words over other rows.

    With `forms` a short table of two columns counts as a form (label, value) unless figures stand
    below a word.
    """
    if len(rows) < 2:
        return False
    first = rows[0]
    names = _filled(first)
    if len(names) < 2 or len(set(names)) < len(names) or max(map(len, names)) > HEADER_CELL:
        return False
    inner = [cell for cell in first[1:] if not cell]
    if len(inner) * 2 > len(first) or names[0].endswith(":"):
        return False
    if forms and max(len(_filled(row)) for row in rows) == 2 and not _figures_below(rows):
        return len(rows) > FORM_ROWS
    return not any(_NUMBER.fullmatch(name) and not _YEAR.fullmatch(name) for name in names)


def _figures_below(rows: Sequence[Row]) -> bool:
    """Whether the second column holds words above figures."""
    cells = [_filled(row)[1] for row in rows if len(_filled(row)) == 2]
    figures = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells[1:])
    return len(cells) > 1 and not _NUMBER.fullmatch(cells[0]) and figures * 2 > len(cells) - 1


def _filled(row: Row) -> list[str]:
    return [cell for cell in row if cell]


def _width(rows: Sequence[Row]) -> int:
    return max(len(_filled(row)) for row in rows)


def _blocks(rows: Sequence[list[str]]) -> list[list[list[str]]]:
    """The rows in runs without an empty row between them."""
    blocks: list[list[list[str]]] = [[]]
    for row in rows:
        if any(row):
            blocks[-1].append(row)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]
