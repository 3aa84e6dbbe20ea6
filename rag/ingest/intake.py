"""Takes changed files in: parsed by the pool, cut and embedded here, a few documents at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rag.embedding import Embedder
from rag.errors import DocumentError
from rag.heap import trim
from rag.ingest.books import Books
from rag.ingest.changes import Changes, File
from rag.ingest.chunking import split
from rag.ingest.progress import Progress, Tell
from rag.ingest.sandbox import ParserPool
from rag.ingest.stop import Stop
from rag.settings import Settings
from rag.store.chunks import text_hash
from rag.store.generation import Generation, Writer
from rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PENDING_CHUNKS = 128
"""Documents wait for company until they have so many chunks, so that small files are embedded together."""
EMBEDDED_TOGETHER = 64
"""After so many chunks (a second or two) the progress moves and Ctrl-C is heard."""


@dataclass(slots=True)
class Tally:
    """Counts of a run while it goes on: `done` are paths, failures and remarks map paths to reasons."""

    chunks: int = 0
    embedded: int = 0
    interrupted: bool = False
    done: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)


class Known:
    """Vectors that need no embedding: of the generation below, of this run, of the index to be replaced."""

    def __init__(self, writer: Writer, replaced: Generation | None) -> None:
        self._writer = writer
        self._replaced = replaced

    def vectors(self, hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        known = self._writer.known_vectors(hashes)
        if self._replaced:
            rows = self._replaced.rows.rows_by_hash([each for each in hashes if each not in known])
            known |= dict(zip(rows, self._replaced.vectors.reconstruct(list(rows.values()))))
        return known


@dataclass(frozen=True, slots=True)
class _Cut:
    """A document that waits for its vectors."""

    document: Document
    files: tuple[File, ...]
    chunks: tuple[Chunk, ...]


class Intake:
    """One run over the changes."""

    def __init__(
        self,
        writer: Writer,
        known: Known,
        embedder: Embedder,
        settings: Settings,
        tell: Tell,
        stop: Stop,
        tally: Tally,
    ) -> None:
        self._books = Books(writer)
        self._writer = writer
        self._stop = stop
        self._known, self._embedder, self._settings = known, embedder, settings
        self._tell, self._tally = tell, tally
        self._pending: list[_Cut] = []
        self._bytes = self._bytes_total = self._files_total = 0

    def run(self, changes: Changes) -> bool:
        """Apply all changes, or those that are complete when `stop` is asked; False when that is nothing."""
        try:
            with self._stop.held():
                self._files_total = len(changes.files)
                self._bytes_total = sum(files[0].size for files in changes.contents.values())
                to_read = self._without_reading(changes)
            self._read(to_read)
        except KeyboardInterrupt:
            if not self._stop.asked or self._stop.insisted:
                raise
        self._tally.interrupted = self._stop.asked
        changed = self._books.changed
        with self._stop.held():
            self._books.settle(changes.touched)
        return changed

    def _without_reading(self, changes: Changes) -> dict[str, tuple[File, ...]]:
        """Do what costs no reading; returns what is left, by sha256."""
        to_read = {}
        for sha256, files in changes.contents.items():
            if self._books.adopt(sha256, files):
                self._finished(files)
            else:
                to_read[sha256] = files
        for path, reason in changes.unreadable.items():
            self._books.fail(path, reason)
        for path in changes.gone:
            self._books.forget(path)
        return to_read

    def _read(self, to_read: dict[str, tuple[File, ...]]) -> None:
        by_path = {files[0].path: files for files in to_read.values()}
        self._report_progress()
        with ParserPool(self._settings.ingest) as pool:
            results = pool.parse_all(files[0].candidate for files in to_read.values())
            for candidate, outcome in results:
                with self._stop.held():
                    self._take(by_path[candidate.key], outcome)
                if self._stop.asked:
                    return
        with self._stop.held():
            self._embed_pending()

    def _take(self, files: tuple[File, ...], outcome: Document | DocumentError) -> None:
        if isinstance(outcome, DocumentError):
            for file in files:
                self._books.fail(file.path, outcome.message, file)
                self._tally.failures[file.path] = outcome.message
            self._finished(files, outcome.message)
            return
        if outcome.notes:
            self._tally.remarks[outcome.path] = "; ".join(outcome.notes)
        if outcome.id != files[0].sha256:
            files = files[:1]  # changed since it was compared: no longer what the others hold
        limit = self._embedder.max_tokens
        chunks = split(outcome, self._embedder.count_tokens, limit, self._settings.chunk)
        if not chunks:
            for file in files:
                self._books.note(file, outcome)
            self._tally.remarks.setdefault(outcome.path, "holds no text")
            self._finished(files)
            return
        shortened = replace(outcome, title=chunks[0].title)  # the store keeps one title for both
        self._pending.append(_Cut(shortened, files, tuple(chunks)))
        if sum(len(cut.chunks) for cut in self._pending) >= PENDING_CHUNKS:
            self._embed_pending()

    def _embed_pending(self) -> None:
        """Store the waiting documents; of them, when Ctrl-C comes between, those that are complete."""
        import numpy as np

        pending, self._pending = self._pending, []
        texts = {text_hash(chunk): chunk.searchable for cut in pending for chunk in cut.chunks}
        vectors = self._known.vectors(list(texts))
        unknown = sorted(texts.keys() - vectors.keys(), key=lambda each: (len(texts[each]), each))
        for start in range(0, len(unknown), EMBEDDED_TOGETHER):
            if self._stop.asked:
                break
            batch = unknown[start : start + EMBEDDED_TOGETHER]
            vectors |= zip(batch, self._embedder.embed_passages([texts[each] for each in batch]))
            self._tally.embedded += len(batch)
            trim()
            self._report_progress(pending, len(vectors), len(vectors) / len(texts))
        for n, cut in enumerate(pending, start=1):
            hashes = [text_hash(chunk) for chunk in cut.chunks]
            if not all(each in vectors for each in hashes):
                continue
            own = np.stack([vectors[each] for each in hashes])
            self._books.store(cut.document, cut.files, cut.chunks, own)
            self._tally.chunks += len(cut.chunks)
            self._finished(cut.files, ahead=pending[n:])

    def _finished(self, files: Sequence[File], failure: str = "", ahead: Sequence[_Cut] = ()) -> None:
        """Count the files of one document; those `ahead` of it have their vectors already."""
        self._bytes += files[0].size
        chunks = sum(len(cut.chunks) for cut in ahead)
        for file in files:
            self._tally.done.add(file.path)
            self._report_progress(ahead, chunks, 1.0, file.path, failure)

    def _report_progress(
        self,
        ahead: Iterable[_Cut] = (),
        chunks: int = 0,
        share: float = 0.0,
        path: str = "",
        failure: str = "",
    ) -> None:
        """`chunks` and `share` are what is done of the documents `ahead`, `path` is the one just finished."""
        done = self._bytes + share * sum(cut.files[0].size for cut in ahead)
        self._tell(
            Progress(
                "reading",
                len(self._tally.done),
                self._files_total,
                self._tally.chunks + chunks,
                done / self._bytes_total if self._bytes_total else 0.0,
                path,
                failure,
            )
        )
