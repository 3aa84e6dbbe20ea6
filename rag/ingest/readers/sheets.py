"""XLSX, XLSB, XLS and ODS through python-calamine: one section per sheet, rows that stand alone."""

from __future__ import annotations

import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from rag.errors import Unreadable
from rag.ingest.readers import tables
from rag.ingest.readers.base import Limits, Parsed
from rag.ingest.readers.guards import check_zip
from rag.types import Section


def read_sheets(path: Path, limits: Limits) -> Parsed:
    """Sheets and rows up to the limits. Raises Unreadable."""
    import python_calamine

    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            check_zip(path)
    try:
        workbook = python_calamine.load_workbook(str(path))
    except python_calamine.PasswordError as error:
        raise Unreadable(
            "is protected by a password", "Save a copy without the password and ingest that."
        ) from error
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise Unreadable(
            f"is no spreadsheet that can be opened: {error}", "Open it and save it again."
        ) from error
    names = [
        sheet.name for sheet in workbook.sheets_metadata if "Work" in str(sheet.typ)
    ] or workbook.sheet_names
    sections: list[Section] = []
    notes: list[str] = []
    rows_left = limits.rows
    for number, name in enumerate(names[: limits.pages], start=1):
        sheet = workbook.get_sheet_by_name(name)
        rows = [[_cell(value) for value in row] for row in islice(sheet.iter_rows(), rows_left)]
        if sheet.height > rows_left:
            notes.append(f"only the first {rows_left:,} of {sheet.height:,} rows of sheet {name!r} were read")
        rows_left -= len(rows)
        sections.append(Section(tables.render(rows), number, None, (name,)))
        if rows_left <= 0:
            notes.append(f"rows past {limits.rows:,} were not read")
            break
    if len(names) > limits.pages:
        notes.append(f"only the first {limits.pages:,} of {len(names):,} sheets were read")
    return Parsed(tuple(sections), "python-calamine", "", "sheet", tuple(notes))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.12g}"
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
    return str(value)
