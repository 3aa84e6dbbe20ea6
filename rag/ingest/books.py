"""Keeps documents and ledger in step while files are taken in: every path in one row, every row true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rag.ingest.changes import File
from rag.store.generation import Writer
from rag.store.ledger import LedgerRow, Status
from rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Books:
    """A writer and a mirror of its ledger; `rows` by path, `holders` the paths of each document.

    `changed` says whether anything is now other than in the generation below.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.changed = False
        self.rows: dict[str, LedgerRow] = {}
        self.holders: dict[str, set[str]] = {}
        for row in writer.base.ledger() if writer.base else ():
            self._note(row)

    def store(
        self,
        document: Document,
        files: Sequence[File],
        chunks: Sequence[Chunk],
        vectors: NDArray[np.float32],
    ) -> None:
        """Add a document that `files` hold; what they held before goes, unless other files hold it too."""
        if self.adopt(document.id, files):
            return  # the file changed while it was read, and is now like another
        row = _row(document, chunks)
        paths = [file.path for file in files]
        self._writer.put_document(document, paths, chunks, vectors)
        for file in files:
            self._put(replace(row, path=file.path, size=file.size, mtime_ns=file.mtime_ns))

    def adopt(self, document_id: str, files: Sequence[File]) -> bool:
        """Say that `files` hold a stored document too; False when it is not stored."""
        holders = self.holders.get(document_id)
        if not holders:
            return False
        row = self.rows[min(holders)]
        self._writer.set_paths(document_id, sorted({*holders, *(file.path for file in files)}))
        for file in files:
            self._put(replace(row, path=file.path, size=file.size, mtime_ns=file.mtime_ns))
        return True

    def note(self, file: File, document: Document) -> None:
        """Record a file that was read and holds no text."""
        self._leave(file.path)
        row = replace(_row(document, ()), path=file.path, status="empty", document_id=None)
        self._put(replace(row, size=file.size, mtime_ns=file.mtime_ns))

    def fail(self, path: str, reason: str, file: File | None = None) -> None:
        """Record a file that could not be read; what it held before is no longer in it, and goes."""
        self._leave(path)
        sha256, size, mtime_ns = (file.sha256, file.size, file.mtime_ns) if file else ("", 0, 0)
        self._put(LedgerRow(path, sha256, size, mtime_ns, "", "failed", reason))

    def forget(self, path: str) -> None:
        """Remove a path, and its document when no other path holds it."""
        self.changed = True
        self._leave(path)
        self._writer.remove_ledger(path)
        self.rows.pop(path, None)

    def settle(self, touched: Iterable[LedgerRow]) -> None:
        """Last of all: note new times of change; all holders of a document but the first are duplicates."""
        for row in touched:
            if row.path in self.rows:
                self._put(replace(self.rows[row.path], mtime_ns=row.mtime_ns))
        for holders in list(self.holders.values()):
            first = min(holders)
            for path in sorted(holders):
                row = self.rows[path]
                status: Status = "ok" if path == first else "duplicate"
                if row.status != status:
                    self._put(replace(row, status=status))

    def _put(self, row: LedgerRow) -> None:
        self.changed = self.changed or self.rows.get(row.path) != row
        self._writer.put_ledger(row)
        self._unlink(row.path)
        self._note(row)

    def _note(self, row: LedgerRow) -> None:
        self.rows[row.path] = row
        if row.document_id:
            self.holders.setdefault(row.document_id, set()).add(row.path)

    def _leave(self, path: str) -> None:
        """Take the path from its document."""
        row = self.rows.get(path)
        self._unlink(path)
        if row and row.document_id:
            self._writer.set_paths(row.document_id, sorted(self.holders.get(row.document_id, ())))

    def _unlink(self, path: str) -> None:
        row = self.rows.get(path)
        if not row or not row.document_id or row.document_id not in self.holders:
            return
        self.holders[row.document_id].discard(path)
        if not self.holders[row.document_id]:
            del self.holders[row.document_id]


def coverage(text: str, chunks: Sequence[Chunk]) -> float:
    """Share, 0 to 1, of a document's characters, blanks aside, that some chunk holds; 1 for no text."""
    total, covered, reached = _solid(text), 0, 0
    for start, end in sorted((chunk.start, chunk.end) for chunk in chunks):
        covered += _solid(text[max(start, reached) : end])
        reached = max(reached, end)
    return covered / total if total else 1.0


def _solid(text: str) -> int:
    return sum(map(len, text.split()))


def _row(document: Document, chunks: Sequence[Chunk]) -> LedgerRow:
    return LedgerRow(
        path=document.path,
        sha256=document.id,
        size=0,
        mtime_ns=0,
        media_type=document.media_type,
        status="ok",
        reason="; ".join(document.notes),
        parser=document.parser,
        characters=len(document.text),
        coverage=coverage(document.text, chunks),
        document_id=document.id,
    )
