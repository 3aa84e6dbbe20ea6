"""Documents that are being read into a collection while the page goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import RagError, unforeseen
from rag.ingest.pipeline import IngestReport, ingest
from rag.ingest.progress import Progress
from rag.ingest.stop import Stop
from rag.page.shelf import Shelf
from rag.settings import Settings

WORTH_TELLING_S = 2.0
"""Before that nobody knows how long it will take."""


@dataclass(slots=True)
class ReadingIn:
    """One run over `roots`. `files` maps each file that is done to why it failed, "" where it did not."""

    collection: str
    roots: tuple[Path, ...]
    progress: Progress = field(default_factory=lambda: Progress("looking"))
    files: dict[str, str] = field(default_factory=dict)
    report: IngestReport | None = None
    error: RagError | None = None
    stopping: Stop = field(default_factory=Stop)
    began: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        return self.report is not None or self.error is not None

    @property
    def seconds_left(self) -> float | None:
        """What the share that is done foretells; None while it is too early for that."""
        spent, share = time.monotonic() - self.began, self.progress.share
        return spent / share - spent if spent > WORTH_TELLING_S and share > 0.01 else None

    def stop(self) -> None:
        """Publish what is complete, and end."""
        self.stopping.asked = True

    def tell(self, now: Progress) -> None:
        self.progress = now
        if now.path:
            self.files[now.path] = now.failure


class Intakes:
    """The latest run of each collection, one at a time; what it publishes is asked from then on."""

    def __init__(self, shelf: Shelf, settings: Settings) -> None:
        self._shelf, self._settings = shelf, settings
        self._lock = threading.Lock()
        self._runs: dict[str, ReadingIn] = {}

    def latest(self, collection: str) -> ReadingIn | None:
        return self._runs.get(collection)

    @property
    def runs(self) -> Mapping[str, ReadingIn]:
        return dict(self._runs)

    def forget(self, collection: str) -> None:
        """Drop what is told of a run that is over."""
        with self._lock:
            if (run := self._runs.get(collection)) and run.over:
                del self._runs[collection]

    def begin(self, collection: str, roots: Sequence[Path], retry_failed: bool = False) -> ReadingIn:
        """Read folders or files in; a run that is under way is waited for.

        What goes wrong is told by the run's `error`. Files that cannot be read are in `files`.
        """
        run = ReadingIn(collection, tuple(roots))
        with self._lock:
            before = self._runs.get(collection)
            self._runs[collection] = run

        def work() -> None:
            while before and not before.over:
                time.sleep(0.1)
            self._read(run, retry_failed)

        threading.Thread(target=work, daemon=True, name="ingest").start()
        return run

    def _read(self, run: ReadingIn, retry_failed: bool) -> None:
        run.began = time.monotonic()
        settings = self._settings
        try:
            collection = self._shelf.collection(run.collection)
            embedder = self._shelf.embedder(collection.embedding(settings.embedding))
            report = ingest(
                run.roots,
                collection,
                embedder,
                settings,
                run.tell,
                retry_failed=retry_failed,
                stop=run.stopping,
            )
            with self._shelf.reading(run.collection):  # opened now, so that no question waits for it
                run.report = report
        except RagError as error:
            run.error = error
        except Exception as error:
            run.error = unforeseen(error)
            raise
