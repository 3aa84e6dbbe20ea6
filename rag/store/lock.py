"""One writer per collection. The operating system frees the lock when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from rag.errors import IndexLocked
from rag.store.files import writing

LOCK_FILE = ".lock"
OWNER_FILE = ".owner.json"
"""Apart from the lock file, because Windows lets nobody read a locked file."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes: `started` is the process's start (Unix time), `since` when it took the lock."""

    pid: int
    started: float
    host: str
    task: str
    since: str

    @classmethod
    def of_this_process(cls, task: str) -> Owner:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pid = os.getpid()
        return cls(pid, psutil.Process(pid).create_time(), socket.gethostname(), task, now)

    @property
    def alive(self) -> bool:
        """False for a dead process of this host; a number that was given out again is not it."""
        if self.host != socket.gethostname():
            return True
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < 1.0
        except psutil.AccessDenied:
            return True
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.task}) since {self.since}"


class WriterLock:
    """The right to change the collection in `folder`. Raises IndexLocked, IndexWriteFailed."""

    def __init__(self, folder: Path, task: str = "") -> None:
        from filelock import FileLock, Timeout

        self._owner_file = folder / OWNER_FILE
        self._lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
        with writing(folder):
            try:
                self._lock.acquire()
            except Timeout as error:
                raise self._locked(folder.name) from error
            try:
                owner = Owner.of_this_process(task or " ".join(sys.argv[:1]) or "python")
                self._owner_file.write_text(json.dumps(asdict(owner)), encoding="utf-8")
            except BaseException:
                self._lock.release()
                raise

    def release(self) -> None:
        """Let the next writer in; harmless when done twice."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._owner_file.unlink(missing_ok=True)
            self._lock.release()

    def _locked(self, collection: str) -> IndexLocked:
        owner = _read_owner(self._owner_file)
        # between taking the lock and saying so, the file still names the previous holder
        who = str(owner) if owner and owner.alive else "another process"
        return IndexLocked(
            f"the index '{collection}' is being written by {who}",
            "Wait until it has finished, or stop that process.",
        )


def _read_owner(path: Path) -> Owner | None:
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Owner(**fields)
    except (OSError, ValueError, TypeError):
        return None
