"""One set-up at a time in a checkout, by a lock that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_S = 0.2
FAR = 1 << 20  # Windows locks bytes, and a locked byte cannot be read: keep clear of the written pid
BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


@contextlib.contextmanager
def alone(path: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock file at `path`, waiting for another holder; yields its descriptor.

    A child that inherits the descriptor keeps the lock while it lives, on Linux and macOS.
    Raises OSError where the file cannot be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _lock(descriptor):
            say(f"another run is setting up{_holder(descriptor)}; waiting for it")
            while not _lock(descriptor):
                time.sleep(POLL_S)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid():<20}\n".encode())
        try:
            yield descriptor
        finally:
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    pid = os.read(descriptor, 20).decode("ascii", "replace").strip()
    return f" (process {pid})" if pid else ""


if os.name == "nt":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        return _locking(descriptor, msvcrt.LK_NBLCK)  # type: ignore[attr-defined,unused-ignore]

    def _unlock(descriptor: int) -> None:
        _locking(descriptor, msvcrt.LK_UNLCK)  # type: ignore[attr-defined,unused-ignore]

    def _locking(descriptor: int, mode: int) -> bool:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, mode, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError as error:
            if error.errno not in BUSY:
                raise
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in BUSY:
                raise
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
