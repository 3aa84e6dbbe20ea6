"""The one SQLite file of the page: opened for each task, so that any thread and process may have one.

Short-lived connections cost a millisecond, and the last one to close empties the write-ahead log.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rag.errors import HistoryDamaged, HistoryError
from rag.store import files

SCHEMA_VERSION = 1
APPLICATION = int.from_bytes(b"Foot", "big")
"""SQLite's application_id, which tells our file from another program's."""
BUSY_S = 20.0
"""How long to wait for another tab's or server's write."""
RETRY_S = 0.02

SCHEMA = f"""
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    collection TEXT NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL
);
CREATE TABLE exchanges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    question TEXT NOT NULL,
    text TEXT NOT NULL,
    answer TEXT NOT NULL,
    created TEXT NOT NULL,
    vote TEXT CHECK (vote IN ('up', 'down')),
    note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX exchanges_conversation ON exchanges (conversation_id, id);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA_VERSION};
"""
"""`answer` is a JSON record, `text` the words of it that are searched. An id is never given twice
(AUTOINCREMENT): a tab that still shows a deleted conversation must not write into another."""

_ELSEWHERE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
}
"""Primary result codes that are the disk's or another process's fault, not the file's."""


class Database:
    """The file at `path`, which comes to exist with the first write.

    Every method may raise HistoryError (disk full, no permission, locked for long) and HistoryDamaged;
    whatever is wrong with a file, it is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file, whatever is written meanwhile; without a file, an empty one."""
        with self._translated(), closing(self._open(create=False)) as database:
            database.execute("BEGIN")
            yield database

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is done inside; other writers wait."""
        with self._translated(), closing(self._open(create=True)) as database:
            database.execute("BEGIN IMMEDIATE")  # a read that turns into a write could not wait
            yield database
            database.execute("COMMIT")

    def scrub(self) -> None:
        """Leave no byte of what was deleted, neither in the file nor in its write-ahead log.

        SQLite's secure_delete clears what is deleted, but not copies of it that stayed behind when rows
        moved from one page of the file to another; only writing the file anew does.
        """
        with self._translated(), closing(self._open(create=True)) as database:
            database.execute("VACUUM")
            deadline = time.monotonic() + BUSY_S
            while database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    raise HistoryError(
                        f"deleted, but another program is reading {self.path}, whose log still has the text",
                        "Close it: the last program that closes the file empties the log.",
                    )
                time.sleep(RETRY_S)  # SQLite does not wait for another process that empties the log itself

    def _open(self, create: bool) -> sqlite3.Connection:
        if create and self._absent():
            self._begin()
        absent = self._absent()
        database = _connect(":memory:" if absent else self.path)
        try:
            if absent:
                database.executescript(SCHEMA)
            self._check(database)
        except BaseException:
            database.close()
            raise
        return database

    def _absent(self) -> bool:
        return not self.path.exists() or (self.path.is_file() and not self.path.stat().st_size)

    def _begin(self) -> None:
        """Put a whole, empty database in place, unless another process does.

        Made elsewhere, because SQLite does not wait when two want to begin a write-ahead log in one file.
        """
        from filelock import FileLock

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=BUSY_S)
        with lock, TemporaryDirectory(dir=self.path.parent) as folder:
            if self._absent():
                new = Path(folder, self.path.name)
                new.touch(mode=0o600)  # private, and SQLite gives its log the same rights
                with closing(_connect(new)) as database:
                    database.execute("PRAGMA journal_mode = WAL")
                    database.executescript(SCHEMA)
                files.replace(new, self.path)
                files.sync_folder(self.path.parent)

    def _check(self, database: sqlite3.Connection) -> None:
        """Refuse what is not ours to write."""
        ((application,),) = database.execute("PRAGMA application_id")
        ((version,),) = database.execute("PRAGMA user_version")
        if application != APPLICATION:
            raise HistoryDamaged(f"{self.path} is the database of another program", self._fix)
        if version > SCHEMA_VERSION:
            raise HistoryDamaged(
                f"{self.path} was written by a newer version of Footnote (schema {version}, this one reads "
                f"{SCHEMA_VERSION})",
                "Update Footnote, or let FOOTNOTE_DATA name another folder.",
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(error.strerror or error) from error
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _ELSEWHERE:
                raise self._unusable(error) from error
            raise self.damaged(error) from error

    def _unusable(self, reason: object) -> HistoryError:
        return HistoryError(
            f"the conversations in {self.path} cannot be read or written: {reason}",
            "Free some space or make the folder writable, or let FOOTNOTE_DATA name another folder.",
        )

    def damaged(self, reason: object) -> HistoryDamaged:
        """The error for a file that does not hold what it should."""
        return HistoryDamaged(f"the conversations in {self.path} are damaged: {reason}", self._fix)

    @property
    def _fix(self) -> str:
        return f"Put a backup in its place, or move {self.path.name} elsewhere to begin anew."


def _connect(place: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(place, timeout=BUSY_S, isolation_level=None)
    # secure_delete clears replaced answers; in memory, as what VACUUM copies is as private as the file
    for pragma in ("foreign_keys = ON", "secure_delete = ON", "temp_store = MEMORY"):
        database.execute(f"PRAGMA {pragma}")
    return database
