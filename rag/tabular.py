"""Tables in running text, as PDFs have them: which lines are rows, what names their columns (pure)."""

from __future__ import annotations

import itertools
import re

Span = tuple[int, int]

LABEL_WORDS = 10
"""A longer line in a table is neither a row's name nor a column's."""
HEADER_LINES = 8
REACH = 80
"""Lines above a row among which its columns' names are looked for."""
_NUMBER = re.compile(r"[-–(+$€£]*\d(?:[\d.,]*\d)?[)%]*")
_SIGN = re.compile(r"[-–—$€£%()]+")
_YEAR = re.compile(r"\(?(?:19|20)\d\d\)?")


def is_row(line: str) -> bool:
    """Whether a line is a name, or none, and then two numbers or more and nothing else.

    Years alone are no row: they name columns.
    """
    words = line.split()
    first = next((n for n, word in enumerate(words) if _NUMBER.fullmatch(word)), len(words))
    cells = [word for word in words[first:] if not _SIGN.fullmatch(word)]
    if len(cells) < 2 or first > LABEL_WORDS or not all(map(_NUMBER.fullmatch, cells)):
        return False
    return not all(map(_YEAR.fullmatch, cells))


def column_names(text: str, at: int) -> Span | None:
    """Where the lines stand that name the columns of the row at `at`; None where it is no row, or none do.

    They are the short lines above the table's first row; the last of them that has a number ends them,
    so that the name of a group of rows below them is left out.
    """
    lines = _lines_up_to(text, at)
    if not is_row(text[slice(*lines[0])]):
        return None
    top = 0  # the table's first row
    for n, (start, end) in enumerate(lines):
        if is_row(text[start:end]):
            top = n
        elif not _is_name(text[start:end]):
            break
    above: list[Span] = []
    for start, end in lines[top + 1 :]:
        line = text[start:end].strip()
        if not _is_name(line) or len(above) == HEADER_LINES:
            break
        if line:
            above.append((start, end))
    numbered = next((n for n, (start, end) in enumerate(above) if re.search(r"\d", text[start:end])), None)
    if numbered is None:
        names = [(start, end) for start, end in above if text[end - 1] != ":"][:2]
    else:
        names = list(itertools.takewhile(lambda line: text[line[1] - 1] != ":", above[numbered:]))
    return (names[-1][0], names[0][1]) if names else None


def first_row(text: str) -> int | None:
    """Where the text's first row begins, if nothing but names stand above it."""
    start = 0
    for line in text.splitlines(keepends=True)[:HEADER_LINES]:
        if is_row(line):
            return start
        if not _is_name(line):
            break
        start += len(line)
    return None


def _lines_up_to(text: str, at: int) -> list[Span]:
    """The line at `at` and those above it, without their line breaks, from there upwards."""
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    spans: list[Span] = []
    while len(spans) < REACH:
        start = text.rfind("\n", 0, end) + 1
        spans.append((start, end))
        if start == 0:
            break
        end = start - 1
    return spans


def _is_name(line: str) -> bool:
    """Whether a line may stand between the rows of a table, or above them."""
    words = line.split()
    return len(words) <= LABEL_WORDS and not line.rstrip().endswith((".", "?", "!", ";"))
