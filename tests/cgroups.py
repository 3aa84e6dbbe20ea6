"""A memory control group of one's own, where the system lets one be made."""

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """A group with a limit; `join` is Python for a child that is to enter it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.join = f"open({str(folder / 'cgroup.procs')!r}, 'w').write('0')"


@contextlib.contextmanager
def memory_group(limit_bytes: int):
    """A group with that limit; yields None where none can be made."""
    version1 = (ROOT / "memory" / "memory.limit_in_bytes").exists()
    folder = (ROOT / "memory" if version1 else ROOT) / f"footnote-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        folder.mkdir()
        limit = folder / ("memory.limit_in_bytes" if version1 else "memory.max")
        limit.write_text(str(limit_bytes))
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        yield None
        return
    try:
        yield MemoryGroup(folder)
    finally:
        for _ in range(200):
            try:
                folder.rmdir()
                break
            except OSError:  # a process that has just ended may still be listed
                time.sleep(0.05)
