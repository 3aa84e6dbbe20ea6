"""From files to a published index: find, compare with the ledger, read, cut, embed, publish."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from rag.embedding import Embedder
from rag.errors import InputNotFound, StoreError
from rag.ingest.books import Books
from rag.ingest.changes import Changes, Found, compare, find, with_others
from rag.ingest.intake import Intake, Known, Tally
from rag.ingest.progress import Progress, Tell
from rag.ingest.stop import Stop
from rag.settings import Settings
from rag.store.generation import Collection, Generation
from rag.store.ledger import LedgerRow
from rag.store.manifest import EmbedderIdentity


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What a run did, or with `dry_run` would do.

    Files are counted below the ingested roots. `chunks` were added in this run, `embedded` of them
    anew; `failures` and `remarks` map paths to reasons, failures of earlier runs that still stand
    included. `generation` is the live one, None where nothing was ever published.
    """

    collection: str
    generation: int | None
    published: bool
    added: int
    changed: int
    unchanged: int
    removed: int
    failures: dict[str, str]
    remarks: dict[str, str] = field(default_factory=dict)
    hidden: int = 0
    excluded: int = 0
    binary: int = 0
    chunks: int = 0
    embedded: int = 0
    seconds: float = 0.0
    interrupted: bool = False


def ingest(
    roots: Path | Sequence[Path],
    collection: Collection,
    embedder: Embedder,
    settings: Settings,
    progress: Tell = lambda now: None,
    rebuild: bool = False,
    dry_run: bool = False,
    retry_failed: bool = False,
    stop: Stop | None = None,
) -> IngestReport:
    """Bring the index in line with the files below `roots`; files of other roots are left alone.

    Nothing is published when nothing has changed. With `rebuild` everything is read again, other
    roots included, beside the old index, which serves until the end. When `stop` is asked, what is
    complete is published. Raises StoreError, UsageError, InputNotFound; a file that cannot be read is
    a failure in the report instead.
    """
    started = time.perf_counter()
    found = find([roots] if isinstance(roots, Path) else roots, settings.ingest.exclude)
    stop, tally = stop or Stop(), Tally()
    with ExitStack() as stack:
        old = stack.enter_context(closing(live)) if (live := _live(collection, rebuild)) else None
        found = with_others(found, old.ledger()) if rebuild and old else found
        changes = _compare(found, None if rebuild else old, retry_failed, progress)
        generation = old
        if not dry_run and not (old and not rebuild and not changes and _matches(old, embedder, settings)):
            if old and not rebuild:
                old.close()  # the writer opens it again, and may find that another process has published
            writer = stack.enter_context(collection.writer(embedder, settings.chunk, rebuild=rebuild))
            changes = _compare(found, writer.base, retry_failed, progress)
            known = Known(writer, old if rebuild and old and _same_space(old, embedder) else None)
            changed = Intake(writer, known, embedder, settings, progress, stop, tally).run(changes)
            # a rebuild that was stopped holds less than the index that it would replace
            if changed and not (tally.interrupted and rebuild and old):
                progress(Progress("publishing", share=1.0))
                with stop.held():
                    generation = stack.enter_context(writer.publish())
    return _report(collection, old, generation, found, changes, tally, time.perf_counter() - started)


def remove(path: Path, collection: Collection) -> tuple[int, Generation]:
    """Take a file, or all files below a folder, out of the index; the files themselves stay.

    Returns how many went and the new generation, open. Raises InputNotFound, StoreError.
    """
    with collection.open() as live:
        manifest = live.manifest
    kept = (manifest.embedder, manifest.chunking, manifest.lexical)
    with collection.writer(*kept, task="remove") as writer:
        books = Books(writer)
        wanted = Found((path.resolve(),), (), {}, 0, 0, 0)
        gone = [row for row in list(books.rows) if wanted.covers(row)]
        if not gone:
            raise InputNotFound(
                f"the index '{collection.name}' holds nothing from {path}", "See --status for what it holds."
            )
        for each in gone:
            books.forget(each)
        books.settle(())
        return len(gone), writer.publish()


def _live(collection: Collection, rebuild: bool) -> Generation | None:
    if not collection.exists():
        return None
    try:
        return collection.open()
    except StoreError:
        if rebuild:
            return None  # a rebuild is the cure for a damaged index
        raise


def _compare(found: Found, base: Generation | None, retry_failed: bool, progress: Tell) -> Changes:
    total = len(found.candidates)

    def looked(count: int) -> None:
        progress(Progress("looking", count, total, share=count / total))

    ledger: Sequence[LedgerRow] = base.ledger() if base else ()
    return compare(found, ledger, retry_failed, looked)


def _matches(live: Generation, embedder: Embedder, settings: Settings) -> bool:
    return _same_space(live, embedder) and live.manifest.chunking == settings.chunk


def _same_space(live: Generation, embedder: Embedder) -> bool:
    return live.manifest.embedder.space == EmbedderIdentity.of(embedder).space


def _report(
    collection: Collection,
    before: Generation | None,
    now: Generation | None,
    found: Found,
    changes: Changes,
    tally: Tally,
    seconds: float,
) -> IngestReport:
    published = now is not before
    counted = [file for file in changes.files if file.path not in tally.failures]
    if tally.interrupted:
        counted = [file for file in counted if published and file.path in tally.done]
    changed = sum(file.known for file in counted)
    failed_before = {row.path: row.reason for row in changes.failed_before}
    return IngestReport(
        collection=collection.name,
        generation=now.number if now else None,
        published=published,
        added=len(counted) - changed,
        changed=changed,
        unchanged=changes.unchanged,
        removed=len(changes.gone),
        failures=failed_before | dict(changes.unreadable) | tally.failures,
        remarks=tally.remarks,
        hidden=found.hidden,
        excluded=found.excluded,
        binary=found.binary,
        chunks=tally.chunks,
        embedded=tally.embedded,
        seconds=seconds,
        interrupted=tally.interrupted,
    )
