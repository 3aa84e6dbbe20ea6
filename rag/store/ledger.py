"""What became of every file that was looked at: one row per path."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass, fields
from typing import Literal

Status = Literal["ok", "failed", "duplicate", "empty"]

SCHEMA = """
CREATE TABLE ledger (
    path TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'duplicate', 'empty')),
    reason TEXT NOT NULL,
    parser TEXT NOT NULL,
    characters INTEGER NOT NULL,
    coverage REAL NOT NULL,
    document_id TEXT REFERENCES documents (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX ledger_document ON ledger (document_id);
"""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One file. `coverage` is the share, 0 to 1, of its characters that reached a chunk.

    `sha256` is that of the file's bytes in hex ("" where it could not be read), `reason` says why a
    file failed or what is remarkable about it, `document_id` is None where nothing was stored.
    """

    path: str
    sha256: str
    size: int
    mtime_ns: int
    media_type: str
    status: Status
    reason: str = ""
    parser: str = ""
    characters: int = 0
    coverage: float = 0.0
    document_id: str | None = None


_COLUMNS = ", ".join(column.name for column in fields(LedgerRow))
_VALUES = ", ".join(
    "CAST(? AS TEXT)" if column.name in ("path", "reason") else "?" for column in fields(LedgerRow)
)


def as_stored(text: str) -> bytes:
    """UTF-8 that keeps the odd bytes of a file name; SQLite takes it as text through CAST."""
    return text.encode("utf-8", "surrogatepass")


def put(database: sqlite3.Connection, row: LedgerRow) -> None:
    """Add or replace the row of a path."""
    values = [as_stored(v) if f.name in ("path", "reason") else v for f, v in zip(fields(row), astuple(row))]
    database.execute(f"INSERT OR REPLACE INTO ledger ({_COLUMNS}) VALUES ({_VALUES})", values)


def remove(database: sqlite3.Connection, path: str) -> None:
    """Forget a path; unknown ones are ignored."""
    database.execute("DELETE FROM ledger WHERE path = CAST(? AS TEXT)", [as_stored(path)])


def rows(database: sqlite3.Connection) -> list[LedgerRow]:
    """All rows, by path."""
    return [LedgerRow(*row) for row in database.execute(f"SELECT {_COLUMNS} FROM ledger ORDER BY path")]
