"""Making files safe on disk: flush, replace, link, hash. Where systems differ, they differ here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rag.cores import usable_cores
from rag.errors import IndexWriteFailed

REPLACE_SECONDS = 5.0
"""How long to retry on Windows, where a file that someone reads just now cannot be replaced."""


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Translate what a full or read-only disk raises into IndexWriteFailed."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        reason = getattr(error, "strerror", None) or error
        raise write_failed(place, reason) from error


def write_failed(place: Path, reason: object) -> IndexWriteFailed:
    """The error for an index that cannot be written at `place`."""
    return IndexWriteFailed(
        f"the index in {place} could not be written: {reason}; the previous index is untouched",
        "Free some space, or make the folder writable, and run the command again.",
    )


def sync_file(path: Path) -> None:
    """Make the content of `path` survive a loss of power."""
    handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        if sys.platform == "darwin":
            import fcntl

            # fsync on macOS leaves the data in the drive's own cache; not every file system knows this call
            with contextlib.suppress(OSError):
                fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Make the names in folder `path` survive a loss of power. Windows has no such call."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write and flush a new small file, with the same bytes on every system."""
    path.write_bytes(text.encode())
    sync_file(path)


def replace(source: Path, target: Path) -> None:
    """Give file or folder `source` the name `target` in one step; a file of that name is replaced."""
    deadline = time.monotonic() + REPLACE_SECONDS
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def link_or_copy(source: Path, target: Path) -> None:
    """Let `target` be the same file as `source` where the file system can, else a copy of it."""
    try:
        os.link(source, target)
    except OSError:  # FAT, some network folders, a limit on links
        shutil.copyfile(source, target)


def list_files(folder: Path) -> dict[str, int]:
    """Size in bytes of every file below `folder`, by its path inside it with forward slashes."""
    sizes: dict[str, int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            sizes[path.relative_to(folder).as_posix()] = path.lstat().st_size
    return sizes


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The sha256 of each named file in `folder`, in hex, read in parallel. Raises OSError."""
    names = list(names)
    if not names:
        return {}
    with ThreadPoolExecutor(min(usable_cores(), len(names))) as pool:
        return dict(zip(names, pool.map(lambda name: _digest(folder / name), names)))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
