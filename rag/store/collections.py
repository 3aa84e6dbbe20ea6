"""All collections of a folder: what each holds, its documents in a table, renaming and deleting."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rag.errors import IndexLocked, StoreError, UsageError
from rag.store import files
from rag.store.generation import Collection, list_collections
from rag.store.ledger import Status
from rag.store.live import DISCARDED, TEMPORARY, Step, discard, remove_leftovers
from rag.store.lock import LOCK_FILE, OWNER_FILE, WriterLock
from rag.store.manifest import CURRENT, folder_name, missing, read_current, read_manifest
from rag.store.reader import Generation

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Counted from, as the system's own conversion refuses some times that a file may have."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A collection in a list; `updated` is when its live generation was made (ISO 8601, UTC).

    `problem` says what is wrong with it, "" for nothing; then the figures are 0 and `updated` is "".
    """

    name: str
    documents: int = 0
    chunks: int = 0
    size_bytes: int = 0
    updated: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A file in a table; `reason` says why it failed or what is remarkable about it.

    `pages` is the last one on which a passage begins, in what `unit` names ("page", "slide", "sheet"); None
    where the format has none. `coverage` is the share, 0 to 1, of the characters that can be found.
    """

    path: str
    status: Status
    reason: str
    media_type: str
    size_bytes: int
    modified: datetime
    pages: int | None
    unit: str
    chunks: int
    coverage: float


def collections(root: Path) -> list[Listed]:
    """All collections, by name, damaged ones too; a look at names and sizes that opens and hashes nothing."""
    listed = [_listed(root / name) for name in list_collections(root)]
    return [each for each in listed if (root / each.name / CURRENT).exists()]  # not deleted meanwhile


def documents(generation: Generation) -> list[DocumentRow]:
    """One row per file that was looked at, by path, read or not."""
    stored = {document.id: document for document in generation.documents()}
    pages = generation.rows.last_pages()
    rows = []
    for row in generation.ledger():
        document = stored.get(row.document_id or "")
        what = (
            row.path,
            row.status,
            row.reason,
            row.media_type,
            row.size,
            EPOCH + timedelta(microseconds=row.mtime_ns // 1000),
        )
        held = (document.unit, document.chunks) if document else ("page", 0)
        rows.append(DocumentRow(*what, pages.get(row.document_id or ""), *held, row.coverage))
    return rows


def unused(root: Path, name: str) -> Collection:
    """The collection of this name, which nobody has given yet. Raises UsageError for any other name."""
    collection = Collection(root, name)
    if collection.exists():
        raise UsageError(
            f"there is already a collection '{collection.name}'",
            "Choose another name, or delete that one first.",
        )
    return collection


def rename(root: Path, old: str, new: str, step: Step = lambda name: None) -> None:
    """Give a collection another name, in one step; whoever has it open reads on (not on Windows).

    Raises UsageError (the name is taken or impossible), IndexMissing, IndexLocked (somebody is writing, or on
    Windows reading), IndexWriteFailed.
    """
    target = unused(root, new)
    with _held(Collection(root, old), f"rename to {target.name}") as source:
        if target.folder.exists():  # where an ingestion began and published nothing
            _discard_unpublished(target, step)
        step("rename")
        files.replace(source.folder, target.folder)
        files.sync_folder(source.folder.parent)
        (target.folder / OWNER_FILE).unlink(missing_ok=True)


def delete(root: Path, name: str, step: Step = lambda name: None) -> None:
    """Delete a collection with all its generations, damaged ones too; whoever has it open reads on.

    Killed at any instant, it leaves the collection whole or gone, and the next change of any collection
    deletes the files that were left. Raises IndexMissing, IndexLocked (see `rename`), IndexWriteFailed.
    """
    with _held(Collection(root, name), "delete") as collection:
        discard(collection.folder, step)


def _listed(folder: Path) -> Listed:
    name = folder.name
    try:
        live = next(iter(read_current(folder)), None)
        if live is None:
            return Listed(name, problem=missing(folder).message)
        manifest = read_manifest(folder, live)
        manifest.check_sizes(folder / folder_name(live.number))
    except StoreError as error:
        return Listed(name, problem=error.message)
    counts = manifest.counts
    return Listed(name, counts.documents, counts.chunks, manifest.size_bytes, manifest.created)


@contextmanager
def _held(collection: Collection, task: str) -> Iterator[Collection]:
    """The collection while nobody else writes to it, to be moved. Raises what `rename` does."""
    if not collection.exists():
        raise missing(collection.folder)
    with _locked(collection, task):
        remove_leftovers(collection.folder.parent, DISCARDED)
        yield collection


@contextmanager
def _locked(collection: Collection, task: str) -> Iterator[None]:
    lock = WriterLock(collection.folder, task)
    try:
        if sys.platform == "win32":
            # no folder with an open file in it can be moved there: ours would be one, another writer's is
            lock.release()
        with files.writing(collection.folder):
            try:
                yield
            except PermissionError as error:
                if sys.platform != "win32":
                    raise
                raise IndexLocked(
                    f"the index '{collection.name}' is open in a program", "Close it there, and try again."
                ) from error
    finally:
        lock.release()


def _discard_unpublished(collection: Collection, step: Step) -> None:
    for path in collection.folder.iterdir():
        if path.name not in (LOCK_FILE, OWNER_FILE) and not path.name.startswith((TEMPORARY, "gen-")):
            raise UsageError(f"{collection.folder} is a folder of something else", "Choose another name.")
    with _locked(collection, "rename"):
        discard(collection.folder, step)
