"""CSV and TSV: sniffed dialect, header row, "Column: value" lines with line numbers."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rag.ingest.readers import tables
from rag.ingest.readers.base import Limits, Parsed, clean, one_line
from rag.ingest.readers.decoding import decode
from rag.ingest.readers.text import SECTION_LINES, line_sections
from rag.types import Section

SAMPLE = 64_000
DELIMITERS = ",;\t|"


def read_csv(path: Path, limits: Limits) -> Parsed:
    """Rows up to the limit; a file without columns is read as plain text."""
    text = clean(decode(path.read_bytes()))
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    delimiter = _delimiter(text)
    if delimiter is None:
        return Parsed(tuple(line_sections(text)), "text")
    notes: list[str] = []
    try:
        sections = tuple(_sections(_records(text, delimiter, limits.rows, notes)))
    except csv.Error as error:
        note = f"read as plain text: {error}"
        return Parsed(tuple(line_sections(text)), "text", notes=(note,))
    return Parsed(sections, "csv", notes=tuple(notes))


def _delimiter(text: str) -> str | None:
    """The mark that cuts most lines into the same number of fields, at least two; None if none does."""
    sample = text[:SAMPLE]
    best: tuple[float, int, str] | None = None
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in csv.reader(io.StringIO(sample), delimiter=delimiter) if row]
        except csv.Error:
            continue
        widths = [len(row) for row in (rows[:-1] if len(text) > SAMPLE else rows)]
        usual = max(set(widths), key=widths.count) if widths else 0
        if usual > 1 and (best is None or (widths.count(usual) / len(widths), usual) > best[:2]):
            best = (widths.count(usual) / len(widths), usual, delimiter)
    return best[2] if best else None


def _records(text: str, delimiter: str, most: int, notes: list[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each record that is not empty."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    line = 1
    for n, row in enumerate(reader):
        if n >= most:
            notes.append(f"only the first {most:,} rows were read")
            return
        if any(cell.strip() for cell in row):
            yield line, [cell.strip() for cell in row]
        line = reader.line_num + 1


def _sections(records: Iterable[tuple[int, list[str]]]) -> Iterator[Section]:
    """Runs of rows whose text lines match the file's lines, so that counting newlines finds the line."""
    rows = list(records)
    names: list[str] | None = None
    if tables.is_header([row for _, row in rows[:50]], forms=False):
        names = [one_line(cell) for cell in rows[0][1]]
    block: list[str] = []
    start = expected = 0
    for n, (number, row) in enumerate(rows):
        text = " | ".join(filter(None, row)) if n == 0 and names else tables.line(row, names)
        if block and (number != expected or number - start >= SECTION_LINES):
            yield Section("\n".join(block), None, start)
            block = []
        if not block:
            start = number
        block.append(text)
        expected = number + text.count("\n") + 1
    if block:
        yield Section("\n".join(block), None, start)
