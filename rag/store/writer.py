"""The next generation while it is being made: nothing of it is visible before `publish`."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import IndexWriteFailed
from rag.store import files
from rag.store.chunks import ChunkStore
from rag.store.ledger import LedgerRow
from rag.store.lexical import LexicalIndex
from rag.store.live import (
    KEPT,
    TEMPORARY,
    Step,
    lineage,
    live_folders,
    numbers_on_disk,
    prune,
    write_current,
)
from rag.store.lock import WriterLock
from rag.store.manifest import (
    CHUNKS,
    LEXICAL,
    MANIFEST,
    VECTORS,
    Counts,
    FileEntry,
    Manifest,
    Pointer,
    folder_name,
)
from rag.store.reader import Generation
from rag.store.vectors import VectorIndex
from rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Writer:
    """Collects changes on top of `base` (None: starts from nothing) and publishes them at once.

    Use it in a `with`: leaving without `publish` discards everything. It holds the collection's
    lock. Any method may raise IndexWriteFailed (disk full, read-only), after which the writer is
    closed and the previous generation serves on.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, base: Generation | None, lock: WriterLock, step: Step
    ) -> None:
        self.folder = folder
        self.base = base
        self.changed = base is None
        self._manifest = manifest
        self._lock = lock
        self._step = step
        self._closed = False
        self._removed: list[int] = []
        self._vectors: VectorIndex | None = None if base else VectorIndex.create(manifest.embedder.dimension)
        self._work = folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            with files.writing(folder):
                self._start()
        except BaseException:
            self.close()
            raise

    def known_vectors(self, hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors, shape (dimension,), by text hash: of those that `base` or this writer already holds."""
        known: dict[str, NDArray[np.float32]] = {}
        if self.base:
            rows = self.base.rows.rows_by_hash(hashes)
            known = dict(zip(rows, self.base.vectors.reconstruct(list(rows.values()))))
        new = self._rows.rows_by_hash([each for each in hashes if each not in known])
        return (
            known | dict(zip(new, self._editable_vectors().reconstruct(list(new.values())))) if new else known
        )

    def put_document(
        self,
        document: Document,
        paths: Sequence[str],
        chunks: Sequence[Chunk],
        vectors: NDArray[np.float32],
    ) -> None:
        """Add or replace a document that the files `paths` hold; `vectors`: (len(chunks), dimension).

        A path that another document held is taken from it, and a document without paths goes.
        Interrupted, it leaves the document out. Raises ValueError, IndexWriteFailed.
        """
        if len(chunks) != len(vectors) or any(chunk.document_id != document.id for chunk in chunks):
            raise ValueError(f"chunks and vectors do not belong to document {document.id}")
        with self._changing():
            self._forget(document.id)
            try:
                rows = self._rows.add_document(document, chunks)
                self._editable_vectors().add(rows, vectors)
                for row, chunk in zip(rows, chunks):
                    self._lexical.add(row, chunk.searchable)
                self._own(document.id, paths or [document.path])
            except IndexWriteFailed:
                raise
            except BaseException:  # Ctrl-C too: what is whole can still be published
                self._forget(document.id)
                raise

    def set_paths(self, document_id: str, paths: Sequence[str]) -> None:
        """Say which files hold a document; with none left it is removed."""
        with self._changing():
            self._own(document_id, paths)

    def remove_document(self, document_id: str) -> None:
        """Remove a document and all that points to it, ledger rows too; unknown ones are ignored."""
        with self._changing():
            self._forget(document_id)

    def put_ledger(self, row: LedgerRow) -> None:
        """Add or replace the row of a path. Raises ValueError for a document that is not stored."""
        with self._changing():
            self._rows.put_ledger(row)

    def remove_ledger(self, path: str) -> None:
        """Forget a path; unknown ones are ignored. Its document is another matter: see `set_paths`."""
        with self._changing():
            self._rows.remove_ledger(path)

    def publish(self) -> Generation:
        """Make what was put the live generation, and open it; the writer is closed. Raises IndexWriteFailed.

        Killed at any instant, it leaves the old or the new generation live, and whole.
        """
        with self._changing():
            counts = self._finish_parts()
            text = self._describe(counts)
            pointer = self._name(text)
            self._point_to(pointer)
        self.close()
        return Generation.open(self.folder, pointer, check=False)  # hashed a moment ago

    def close(self) -> None:
        """Discard what was not published and free the lock; harmless when done twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._close_parts()
        finally:
            if self.base:
                self.base.close()
            if self._work.name not in live_folders(self.folder):
                shutil.rmtree(self._work, ignore_errors=True)
            self._lock.release()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        self._step("make folder")
        self._work.mkdir()
        settings = self._manifest.lexical
        if self.base is None:
            self._rows = ChunkStore.create(self._work / CHUNKS)
            self._lexical = LexicalIndex.create(self._work / LEXICAL, settings)
            return
        self._step("copy rows")
        shutil.copyfile(self.base.folder / CHUNKS, self._work / CHUNKS)
        self._rows = ChunkStore.edit(self._work / CHUNKS)
        self._step("link words")
        self.base.lexical.link_to(self._work / LEXICAL)
        self._lexical = LexicalIndex.open(self._work / LEXICAL, settings)

    def _own(self, document_id: str, paths: Iterable[str]) -> None:
        for orphan in self._rows.set_paths(document_id, paths):
            self._forget(orphan)

    def _forget(self, document_id: str) -> None:
        rows = self._rows.remove_document(document_id)
        self._lexical.remove(rows)
        self._removed += rows  # one pass over all vectors for all of them, in the end

    def _editable_vectors(self) -> VectorIndex:
        if self._vectors is None:
            assert self.base is not None
            self._vectors = VectorIndex.open(self.base.folder / VECTORS, read_only=False)
        return self._vectors

    def _finish_parts(self) -> Counts:
        """Write the parts, see that they hold the same ids, and let go of their files."""
        self._step("commit words")
        self._lexical.commit()
        self._step("save vectors")
        if self._removed:
            self._editable_vectors().remove(self._removed)
        if self._vectors is not None:
            self._vectors.save(self._work / VECTORS)
        else:
            assert self.base is not None
            files.link_or_copy(self.base.folder / VECTORS, self._work / VECTORS)
        counts = self._agreed_counts()
        self._step("close rows")
        self._close_parts()  # Windows renames no folder with open files in it
        return counts

    def _agreed_counts(self) -> Counts:
        vectors = self._vectors
        if vectors is None:
            assert self.base is not None
            vectors = self.base.vectors
        rows = sorted(self._rows.rows())
        for part, ids in (("vectors", vectors.ids()), ("words", self._lexical.ids())):
            if sorted(ids.tolist()) != rows:
                raise IndexWriteFailed(
                    f"the new index contradicts itself: {len(rows)} chunks, but {part} for {len(ids)}; "
                    "the previous index is untouched",
                    "Run the command again; report it if it happens twice.",
                )
        return Counts(self._rows.count("documents"), len(rows), len(vectors))

    def _describe(self, counts: Counts) -> str:
        """Write the manifest and flush all that is new; returns the manifest's text."""
        linked = self._linked_files()
        self._step("hash")
        text = self._manifest.describing(self._work, counts, linked).to_json()
        self._step("write manifest")
        (self._work / MANIFEST).write_bytes(text.encode())
        self._step("flush")
        for name in files.list_files(self._work):
            if name not in linked:
                files.sync_file(self._work / name)
        for folder in (self._work / LEXICAL, self._work):
            files.sync_folder(folder)
        return text

    def _linked_files(self) -> dict[str, FileEntry]:
        """Entries of the files that are the base's own, whose bytes were verified when it was opened."""
        if self.base is None:
            return {}
        shared = {}
        for name, entry in self.base.manifest.files.items():
            ours = self._work / name
            if ours.exists() and ours.samefile(self.base.folder / name):
                shared[name] = entry
        return shared

    def _name(self, manifest_text: str) -> Pointer:
        """Give the folder the next free number."""
        number = 1 + max([0, *numbers_on_disk(self.folder), *(p.number for p in lineage(self.folder))])
        self._step("rename folder")
        target = self.folder / folder_name(number)
        files.replace(self._work, target)
        self._work = target
        files.sync_folder(self.folder)
        return Pointer.to(number, manifest_text)

    def _point_to(self, pointer: Pointer) -> None:
        kept = [pointer, *lineage(self.folder)][:KEPT]
        write_current(self.folder, kept, self._step)
        self._step("delete old")
        prune(self.folder, kept)
        self._step("done")

    def _close_parts(self) -> None:
        for part in ("_lexical", "_rows"):
            if hasattr(self, part):
                getattr(self, part).close()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        if self._closed:
            raise ValueError("the writer is closed")
        self.changed = True
        try:
            with files.writing(self.folder):
                yield
        except sqlite3.IntegrityError as error:
            raise ValueError(f"the database refuses it: {error}") from error
        except IndexWriteFailed:
            self.close()
            raise
