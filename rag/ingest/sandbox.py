"""A small pool of disposable parser processes: a hostile file costs one of them, not the run."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rag.child import Child, ChildGone
from rag.errors import DocumentError, TooMuch, Unreadable
from rag.ingest.discover import Candidate
from rag.ingest.parse_child import from_json
from rag.ingest.readers.base import Limits, too_large
from rag.settings import IngestSettings
from rag.types import Document

RETIRE_FILES = 200
RETIRE_BYTES = 200 * 2**20
"""A process is replaced after so many files, or when it stays larger than this, so that none grows."""

LOOK_S = 0.1
NEAR_LIMIT = 0.8
"""A process that dies above this share of its memory limit is taken to have died of it."""

Result = tuple[Candidate, Document | DocumentError]


class ParserPool:
    """Parses files in `settings.workers` processes; use as a context manager or `close()`.

    `child_module` is what the processes run: a module that calls rag.ingest.parse_child.main.
    """

    def __init__(self, settings: IngestSettings, child_module: str = "rag.ingest.parse_child") -> None:
        self._settings = settings
        self._module = child_module
        self._slots: list[_Slot] = []

    def __enter__(self) -> ParserPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes at once."""
        slots, self._slots = self._slots, []
        for slot in slots:
            slot.stop()
        for slot in slots:
            slot.join()

    def parse_all(self, candidates: Iterable[Candidate]) -> Iterator[Result]:
        """Documents as they finish, in no fixed order; a file that fails yields its error.

        `candidates` is drawn from in the caller's thread and only a few files ahead. Closing the
        iterator ends the processes.
        """
        work: queue.SimpleQueue[Candidate | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._slots = [_Slot(self._settings, self._module, work, done) for _ in range(self._settings.workers)]
        ahead = 2 * self._settings.workers
        pending = 0
        try:
            for candidate in candidates:
                work.put(candidate)
                pending += 1
                if pending >= ahead:
                    yield _next(done)
                    pending -= 1
            while pending:
                yield _next(done)
                pending -= 1
        finally:
            self.close()


class _Slot:
    """One thread that looks after one process at a time."""

    def __init__(
        self,
        settings: IngestSettings,
        module: str,
        work: queue.SimpleQueue[Candidate | None],
        done: queue.SimpleQueue[Result],
    ) -> None:
        self._settings, self._module, self._work, self._done = settings, module, work, done
        self._child: Child | None = None
        self._files = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # so that no process starts while stop() ends them
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._work.put(None)
        self._drop()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while (candidate := self._work.get()) is not None and not self._stopping.is_set():
            try:
                result: Document | DocumentError = self._parse(candidate)
            except DocumentError as error:
                result = error
            except Exception as error:  # whatever it is, it concerns one file
                result = Unreadable(f"could not be handed to a parser: {error}", "")
                self._drop()
            self._done.put((candidate, result))

    def _parse(self, candidate: Candidate) -> Document:
        child = self._ready_child()
        try:
            message = ask(child, {"path": candidate.key}, self._settings)
        except DocumentError:
            self._drop()
            raise
        self._files += 1
        if self._files >= RETIRE_FILES or child.resident_bytes() > RETIRE_BYTES:
            self._drop()
        return from_json(answered(message)["document"])

    def _ready_child(self) -> Child:
        with self._lock:
            if self._stopping.is_set():
                raise Unreadable("was not read: stopped", "")
            if self._child is None:
                self._child, self._files = Child(self._module, [limits(self._settings)]), 0
            return self._child

    def _drop(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.kill()


def ask(child: Child, request: dict[str, Any], settings: IngestSettings) -> dict[str, Any]:
    """What the child answers, within the limits of one file.

    Raises TooMuch or Unreadable when it does not; it is of no further use then.
    """
    watch = _Watch(child, settings)
    try:
        child.send(request)
        while (message := child.receive(LOOK_S)) is None:
            watch.check()
    except ChildGone as gone:
        raise watch.explain(gone) from gone
    return message


def answered(message: dict[str, Any]) -> dict[str, Any]:
    """The child's answer, if that is none of the errors of a file, which is raised."""
    if "error" not in message:
        return message
    error = message["error"]
    kind = TooMuch if error["code"] == TooMuch.code else Unreadable
    raise kind(error["message"], error["fix"])


def limits(settings: IngestSettings) -> str:
    """The limits of one file as the child is started with: JSON of `Limits`."""
    return json.dumps(
        asdict(
            Limits(
                pages=settings.max_pages,
                memory_bytes=settings.file_memory_mb * 2**20,
                file_bytes=settings.max_file_mb * 2**20,
                seconds=settings.file_seconds,
                ocr=settings.ocr == "auto",
                ocr_language=settings.ocr_language,
            )
        )
    )


class _Watch:
    """The limits of one file in one process."""

    def __init__(self, child: Child, settings: IngestSettings) -> None:
        self._child, self._settings = child, settings
        self._limit_bytes = settings.file_memory_mb * 2**20
        self._deadline = time.monotonic() + settings.file_seconds
        self._peak_bytes = 0

    def check(self) -> None:
        """Raises TooMuch."""
        if time.monotonic() > self._deadline:
            raise TooMuch(
                f"took longer than {self._settings.file_seconds:g} s",
                "Split the file, or raise ingest.file_seconds.",
            )
        # the system's own limit acts first where there is one; this one also counts Tesseract
        self._peak_bytes = max(self._peak_bytes, self._child.resident_bytes())
        if self._peak_bytes > self._limit_bytes:
            raise too_large(self._limit_bytes)

    def explain(self, gone: ChildGone) -> DocumentError:
        last_words = self._child.stderr_tail.lower()
        if self._peak_bytes > NEAR_LIMIT * self._limit_bytes or "memory allocation of" in last_words:
            return too_large(self._limit_bytes)
        return Unreadable(
            f"the parser {gone.explanation}", "The file is damaged or hostile; save it again or leave it out."
        )


def _next(done: queue.SimpleQueue[Result]) -> Result:
    while True:  # with a timeout, because Windows hears no Ctrl-C in an endless wait
        with contextlib.suppress(queue.Empty):
            return done.get(timeout=0.5)
