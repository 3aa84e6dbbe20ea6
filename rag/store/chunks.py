"""Documents, their paths and their chunks in one SQLite file, which also holds the ledger."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rag.errors import IndexDamaged
from rag.store import ledger
from rag.store.ledger import LedgerRow, as_stored
from rag.types import Chunk, Document

SCHEMA = """
CREATE TABLE documents (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    media_type TEXT NOT NULL,
    unit TEXT NOT NULL,
    parser TEXT NOT NULL,
    notes TEXT NOT NULL,
    characters INTEGER NOT NULL,
    text_zlib BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE paths (
    path TEXT PRIMARY KEY,
    document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX paths_document ON paths (document_id, path);
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    page INTEGER,
    line INTEGER,
    heading TEXT NOT NULL,
    text TEXT NOT NULL,
    text_hash BLOB NOT NULL
);
CREATE INDEX chunks_document ON chunks (document_id);
CREATE INDEX chunks_hash ON chunks (text_hash);
"""
"""A row number is never given twice (AUTOINCREMENT), so it can be the id in the other two indexes."""

_CHUNKS = """
SELECT c.row, c.id, c.document_id, c.text, c.start, c.end,
       coalesce((SELECT min(path) FROM paths WHERE document_id = c.document_id), ''),
       d.title, c.page, c.line, c.heading, d.unit
FROM chunks c JOIN documents d ON d.id = c.document_id
"""
BATCH = 500
"""Values per query; SQLite allows 999 in its older builds."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document without its text; `paths` are the files that hold it, sorted."""

    id: str
    title: str
    media_type: str
    unit: str
    parser: str
    characters: int
    chunks: int
    notes: tuple[str, ...]
    paths: tuple[str, ...]


def text_hash(chunk: Chunk) -> str:
    """The sha256, in hex, of what is embedded: equal hashes, equal vectors."""
    return hashlib.sha256(chunk.searchable.encode("utf-8", "replace")).hexdigest()


class ChunkStore:
    """Rows of one generation; all methods may be called from any thread."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._lock = threading.RLock()
        self.path = path
        database.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")

    @classmethod
    def create(cls, path: Path) -> ChunkStore:
        """A new, empty file."""
        store = cls.edit(path)
        store._database.executescript(SCHEMA + ledger.SCHEMA)
        return store

    @classmethod
    def edit(cls, path: Path) -> ChunkStore:
        """Open for writing a file that nobody else uses and that is thrown away if anything fails."""
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # The file becomes safe when it is published, so flushing on the way only costs time.
        for pragma in ("foreign_keys = ON", "journal_mode = MEMORY", "synchronous = OFF"):
            database.execute(f"PRAGMA {pragma}")
        return cls(database, path)

    @classmethod
    def open(cls, path: Path) -> ChunkStore:
        """Open a published file, which never changes. Raises IndexDamaged."""
        posix = path.resolve().as_posix()
        uri = "file://" + quote(posix if posix.startswith("/") else f"/{posix}") + "?mode=ro&immutable=1"
        try:
            database = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
            database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            raise IndexDamaged(
                f"{path} is not a readable database: {error}", "Run ingest.py --rebuild."
            ) from error
        return cls(database, path)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # Reading

    def count(self, table: str) -> int:
        return int(self._rows(f"SELECT count(*) FROM {table}")[0][0])

    def chunks(self, rows: Iterable[int]) -> dict[int, Chunk]:
        """The chunks with these row numbers, by row number; unknown ones are left out."""
        found = self._in(f"{_CHUNKS} WHERE c.row IN", [int(row) for row in rows])
        return {row: _chunk(fields) for row, *fields in found}

    def document_chunks(self, document_id: str) -> dict[int, Chunk]:
        """The chunks of one document, by row number, in reading order."""
        found = self._rows(f"{_CHUNKS} WHERE c.document_id = ? ORDER BY c.start, c.row", [document_id])
        return {row: _chunk(fields) for row, *fields in found}

    def rows(self, document_ids: Sequence[str] | None = None) -> list[int]:
        """The row numbers of all chunks, or of those documents' chunks."""
        if document_ids is None:
            return [row for (row,) in self._rows("SELECT row FROM chunks")]
        return [row for (row,) in self._in("SELECT row FROM chunks WHERE document_id IN", document_ids)]

    def document_ids(self, rows: Iterable[int]) -> dict[int, str]:
        """The document of each of these rows, by row number; unknown ones are left out."""
        return dict(self._in("SELECT row, document_id FROM chunks WHERE row IN", [int(row) for row in rows]))

    def names(self, document_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Path and title of each of these documents, by its id."""
        path = "coalesce((SELECT min(path) FROM paths WHERE document_id = documents.id), '')"
        found = self._in(f"SELECT id, {path}, title FROM documents WHERE id IN", document_ids)
        return {id: (path, title) for id, path, title in found}

    def opening(self, document_id: str, characters: int) -> str:
        """How a document begins, as far as its passages hold it."""
        sql = "SELECT text FROM chunks WHERE document_id = ? AND start < ? ORDER BY start"
        return "\n".join(text for (text,) in self._rows(sql, [document_id, characters]))[:characters]

    def rows_by_hash(self, hashes: Sequence[str]) -> dict[str, int]:
        """One row number for each of these text hashes that is known."""
        wanted = [bytes.fromhex(each) for each in hashes]
        found = self._in("SELECT text_hash, row FROM chunks WHERE text_hash IN", wanted)
        return {digest.hex(): row for digest, row in found}

    def hashes(self, document_id: str) -> dict[int, str]:
        """The text hash of each chunk of a document, by row number."""
        found = self._rows("SELECT row, text_hash FROM chunks WHERE document_id = ?", [document_id])
        return {row: digest.hex() for row, digest in found}

    def document_text(self, document_id: str) -> str:
        """The whole text that chunk offsets point into. Raises KeyError."""
        found = self._rows("SELECT text_zlib FROM documents WHERE id = ?", [document_id])
        if not found:
            raise KeyError(document_id)
        return zlib.decompress(found[0][0]).decode()

    def documents(self) -> list[StoredDocument]:
        """All documents, by their first path."""
        paths: dict[str, list[str]] = {}
        for path, document_id in self._rows("SELECT path, document_id FROM paths ORDER BY path"):
            paths.setdefault(document_id, []).append(path)
        found = self._rows(
            "SELECT id, title, media_type, unit, parser, characters,"
            " (SELECT count(*) FROM chunks WHERE document_id = documents.id), notes FROM documents"
        )
        documents = [
            StoredDocument(*(*head, tuple(json.loads(notes)), tuple(paths.get(head[0], ()))))
            for *head, notes in found
        ]
        return sorted(documents, key=lambda document: (document.paths[:1], document.id))

    def last_pages(self) -> dict[str, int]:
        """The last page, slide or sheet on which a passage begins, by document, of those that have any."""
        found = self._rows("SELECT document_id, max(page) FROM chunks GROUP BY document_id")
        return {id: page for id, page in found if page is not None}

    def paths(self) -> dict[str, str]:
        """The document id of every path."""
        return dict(self._rows("SELECT path, document_id FROM paths"))

    def ledger(self) -> list[LedgerRow]:
        """One row per file that was looked at, by path."""
        with self._lock:
            return ledger.rows(self._database)

    # Writing

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is done inside."""
        with self._lock:
            self._database.execute("BEGIN")
            try:
                yield self._database
            except BaseException:
                if self._database.in_transaction:  # SQLite ends it itself when the disk is full
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def add_document(self, document: Document, chunks: Sequence[Chunk]) -> list[int]:
        """Add a document that is not there yet, and its chunks; returns their row numbers in order."""
        with self.transaction() as database:
            text = _utf8(document.text)
            notes = json.dumps(document.notes)
            head = (document.id, _plain(document.title), document.media_type, document.unit, document.parser)
            packed = zlib.compress(text, 1)
            database.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*head, notes, len(document.text), packed),
            )
            return [_add_chunk(database, chunk) for chunk in chunks]

    def set_paths(self, document_id: str, paths: Iterable[str]) -> list[str]:
        """Say which files hold a document; returns the ids of documents that are left without any."""
        with self.transaction() as database:
            database.execute("DELETE FROM paths WHERE document_id = ?", [document_id])
            holders = {document_id}
            for path in map(as_stored, paths):
                found = database.execute("SELECT document_id FROM paths WHERE path = CAST(? AS TEXT)", [path])
                holders.update(holder for (holder,) in found)
                database.execute(
                    "INSERT OR REPLACE INTO paths VALUES (CAST(? AS TEXT), ?)", [path, document_id]
                )
            has_path = "SELECT 1 FROM paths WHERE document_id = ? LIMIT 1"
            return [
                holder for holder in sorted(holders) if not database.execute(has_path, [holder]).fetchone()
            ]

    def remove_document(self, document_id: str) -> list[int]:
        """Remove a document with its paths, chunks and ledger rows; returns the chunks' row numbers."""
        with self.transaction() as database:
            rows = self.rows([document_id])
            database.execute("DELETE FROM documents WHERE id = ?", [document_id])
            return rows

    def put_ledger(self, row: LedgerRow) -> None:
        with self.transaction() as database:
            ledger.put(database, row)

    def remove_ledger(self, path: str) -> None:
        with self.transaction() as database:
            ledger.remove(database, path)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()

    def _in(self, sql: str, values: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        for first in range(0, len(values), BATCH):
            batch = values[first : first + BATCH]
            found += self._rows(f"{sql} ({','.join('?' * len(batch))})", batch)
        return found


def _add_chunk(database: sqlite3.Connection, chunk: Chunk) -> int:
    values = (
        chunk.id,
        chunk.document_id,
        chunk.start,
        chunk.end,
        chunk.page,
        chunk.line,
        json.dumps(chunk.heading),
        _plain(chunk.text),
        bytes.fromhex(text_hash(chunk)),
    )
    columns = "id, document_id, start, end, page, line, heading, text, text_hash"
    cursor = database.execute(f"INSERT INTO chunks ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _chunk(fields: Sequence[Any]) -> Chunk:
    values = list(fields)  # in the order of Chunk's own fields, see _CHUNKS
    values[-2] = tuple(json.loads(values[-2]))
    return Chunk(*values)


def _utf8(text: str) -> bytes:
    """Half a surrogate pair, which JSON can express, becomes one '?', so that offsets still hold."""
    return text.encode("utf-8", "replace")


def _plain(text: str) -> str:
    return text if text.isascii() else _utf8(text).decode()
