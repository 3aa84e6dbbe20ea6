"""A collection: publish, open, verify, roll back. Generations never change once they are published."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import IndexDamaged, IndexMismatch, IndexMissing, StoreError, UsageError
from rag.settings import ChunkSettings, EmbeddingSettings
from rag.store.files import writing
from rag.store.lexical import LexicalSettings
from rag.store.live import DISCARDED, Step, numbers_on_disk, remove_leftovers, write_current
from rag.store.lock import WriterLock
from rag.store.manifest import (
    CURRENT,
    EmbedderIdentity,
    Manifest,
    Pointer,
    fix,
    missing,
    read_current,
    read_manifest,
)
from rag.store.reader import Generation
from rag.store.verify import Report, check
from rag.store.writer import Writer

__all__ = ["Collection", "Generation", "Manifest", "Status", "Writer", "list_collections"]

OPEN_ATTEMPTS = 5
_NAME = re.compile(r"\w[\w.-]*", re.UNICODE)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
MAX_NAME_BYTES = 100


@dataclass(frozen=True, slots=True)
class Status:
    """An index in figures. `files` counts ledger rows by status, `failures` failed files by reason."""

    collection: str
    generation: int
    created: str
    documents: int
    chunks: int
    size_bytes: int
    embedder: EmbedderIdentity
    files: Mapping[str, int]
    failures: Mapping[str, int]


class Collection:
    """The index called `name` in folder `root`; nothing is created before something is written.

    `step` is told the name of each step of a publish before it is done. Raises UsageError for a
    name that some file system would not take.
    """

    def __init__(self, root: Path, name: str = "default", step: Step = lambda name: None) -> None:
        self.name = _checked_name(name)
        self.folder = Path(root) / self.name
        self._step = step

    def exists(self) -> bool:
        """True when something was published, be it damaged by now."""
        return (self.folder / CURRENT).exists()

    def generations(self) -> list[int]:
        """The numbers of the generations on disk, ascending."""
        return numbers_on_disk(self.folder)

    def live_number(self) -> int:
        """The number of the live generation, without a look into it. Raises IndexMissing, IndexDamaged."""
        return self._lineage()[0].number

    def embedding(self, settings: EmbeddingSettings) -> EmbeddingSettings:
        """The settings, with the embedder of the live generation unless they name one themselves."""
        try:
            manifest = read_manifest(self.folder, self._lineage()[0])
        except StoreError:
            return settings  # there is no index yet, or whoever opens it will hear what is wrong
        return manifest.embedder.preferred(settings)

    def open(self) -> Generation:
        """The live generation, every byte compared with its manifest.

        Raises IndexMissing, IndexDamaged, IndexMismatch (another schema).
        """
        for attempt in range(OPEN_ATTEMPTS):
            lineage = self._lineage()
            try:
                return Generation.open(self.folder, lineage[0])
            except IndexDamaged:
                # a writer may have published, and deleted what this reader was about to open
                if attempt + 1 == OPEN_ATTEMPTS or self._lineage()[0] == lineage[0]:
                    raise
        raise AssertionError("unreachable")

    def writer(
        self,
        embedder: Any,
        chunking: ChunkSettings,
        lexical: LexicalSettings = LexicalSettings(),  # noqa: B008 - frozen
        rebuild: bool = False,
        task: str = "ingest",
    ) -> Writer:
        """Start the next generation on top of the live one, or from nothing with `rebuild`.

        `embedder` is an Embedder or an EmbedderIdentity; `task` is what a second writer is told.
        Raises IndexLocked, IndexMismatch (other embedder or settings), IndexDamaged, IndexWriteFailed.
        """
        manifest = Manifest(EmbedderIdentity.of(embedder), chunking, lexical)
        lock = self._take_lock(task)
        base = None
        try:
            base = None if rebuild or not self.exists() else self.open()
            if base:
                _check_match(base, manifest)
            return Writer(self.folder, manifest, base, lock, self._step)
        except BaseException:
            if base:
                base.close()
            lock.release()
            raise

    def rollback(self) -> Generation:
        """Make the newest earlier generation that is whole the live one, and open it.

        Raises IndexMissing when there is none, IndexLocked, IndexWriteFailed.
        """
        lock = self._take_lock("rollback")
        try:
            lineage = self._lineage()
            for n in range(1, len(lineage)):
                try:
                    generation = Generation.open(self.folder, lineage[n])
                except (IndexDamaged, IndexMismatch):
                    continue
                try:
                    with writing(self.folder):
                        write_current(self.folder, lineage[n:], self._step)
                except BaseException:
                    generation.close()
                    raise
                return generation
            raise IndexMissing(
                f"the index '{self.name}' has no earlier generation that is whole",
                fix("--rebuild", self.name),
            )
        finally:
            lock.release()

    def verify(self) -> Report:
        """Compare everything with everything; what is wrong is in the report, not raised.

        Raises IndexMissing.
        """
        try:
            generation = self.open()
        except IndexMissing:
            raise
        except StoreError as error:
            return Report(None, 0, 0, 0, (error.message,))
        with generation:
            return check(generation)

    def status(self) -> Status:
        """The live generation in figures. Raises what `open` raises."""
        with self.open() as generation:
            manifest, ledger = generation.manifest, generation.ledger()
            return Status(
                self.name,
                generation.number,
                manifest.created,
                manifest.counts.documents,
                manifest.counts.chunks,
                manifest.size_bytes,
                manifest.embedder,
                Counter(row.status for row in ledger),
                Counter(row.reason for row in ledger if row.status == "failed"),
            )

    def _lineage(self) -> list[Pointer]:
        lineage = read_current(self.folder)
        if not lineage:
            raise missing(self.folder)
        return lineage

    def _take_lock(self, task: str) -> WriterLock:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(self.folder, task)
        remove_leftovers(self.folder)
        remove_leftovers(self.folder.parent, DISCARDED)
        return lock


def list_collections(root: Path) -> list[str]:
    """The names of all published collections in `root`, sorted."""
    names = [path.parent.name for path in Path(root).glob(f"*/{CURRENT}")]
    return sorted(name for name in names if not name.startswith(DISCARDED))


def _check_match(base: Generation, wanted: Manifest) -> None:
    base.check_embedder(*wanted.embedder.space)
    name = base.folder.parent.name
    for what, built, now in (
        ("passages", base.manifest.chunking, wanted.chunking),
        ("words", base.manifest.lexical, wanted.lexical),
    ):
        if built != now:
            raise IndexMismatch(
                f"the index '{name}' was built with other settings for {what}: {built!r}, now {now!r}",
                f"Set them back, or build anew. {fix('--rebuild', name)}",
            )


def _checked_name(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    too_long = len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES
    if not _NAME.fullmatch(name) or name.endswith(".") or _RESERVED.fullmatch(name) or too_long:
        raise UsageError(
            f"'{name}' cannot be the name of a collection",
            f"Use letters, digits, '_', '-' and '.', at most {MAX_NAME_BYTES} bytes.",
        )
    return name
