"""One file of a hub onto the disk: what arrived earlier is kept, and its hash decides whether it counts."""

from __future__ import annotations

import glob
import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rag.errors import DownloadFailed
from rag.loader.hub.hub import Hub, HubFile, Interrupted, Listing

LISTEN_S = 0.1
"""How long a cancelled transfer may go on."""
QUEUED_BLOCKS = 64
BLOCK = 1 << 20

Tell = Callable[[dict[str, Any]], None]
Blocks = Callable[[int], Iterator[bytes]]
"""A source: yields a file's bytes from a position on."""


class Cancelled(DownloadFailed):
    """The user stopped the download; what arrived is kept."""


def part_of(folder: Path, file: HubFile) -> Path:
    """Where a file grows until it is whole; its content's digest keeps another version's beginning apart."""
    return folder / f"{file.name}.{file.digest[:12] or file.bytes}.part"


def fetch(
    hub: Hub, listing: Listing, file: HubFile, folder: Path, arrived: Callable[[int], None], tell: Tell,
    cancel: threading.Event,
) -> None:  # fmt: skip
    """Receive `file` into `folder`, from where an earlier attempt broke off.

    `arrived` hears the number of bytes of each block. Raises DownloadFailed, ModelNotFound, Cancelled,
    OSError.
    """
    part = part_of(folder, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    if _size(part) > file.bytes:
        part.unlink()
    failures = 0
    while (had := _size(part)) < file.bytes or not part.exists():
        try:
            append(part, lambda start: hub.blocks(listing, file, start), arrived, cancel)
        except Interrupted as error:
            failures = 0 if _size(part) > had else failures + 1
            if failures > hub.retries:
                raise
            pause_s = error.wait_s or hub.pause_s * 2**failures
            tell({"event": "retrying", "file": file.name, "reason": error.message, "seconds": pause_s})
            if cancel.wait(pause_s):
                raise cancelled() from error
    settle(part, file, folder, tell, cancel)


def append(part: Path, source: Blocks, arrived: Callable[[int], None], cancel: threading.Event) -> None:
    """Add to `part` what `source` still has."""
    with part.open("ab") as out:
        start = out.tell()
        for block in interruptible(lambda: source(start), cancel):
            out.write(block)
            arrived(len(block))


def settle(part: Path, file: HubFile, folder: Path, tell: Tell, cancel: threading.Event) -> None:
    """Give a complete part its name if its hash is right; delete it and raise DownloadFailed if not."""
    tell({"event": "verifying", "file": file.name, "total_bytes": file.bytes})
    if (found := digest_of(part, file, cancel)) != file.digest:
        part.unlink()
        raise DownloadFailed(
            f"{file.name} arrived damaged and was deleted: its hash is {found[:12]}, not {file.digest[:12]}",
            "Start again: only this file is fetched anew.",
        )
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())  # before the name says that it is whole
    target = folder / file.name
    part.replace(target)
    for stale in target.parent.glob(f"{glob.escape(target.name)}.*.part"):
        stale.unlink()  # the beginning of another version


def interruptible(blocks: Callable[[], Iterator[bytes]], cancel: threading.Event) -> Iterator[bytes]:
    """Yield what `blocks` yields in its own thread, so that a silent server does not hold up `cancel`."""
    inbox: queue.Queue[bytes | BaseException | None] = queue.Queue(QUEUED_BLOCKS)
    left = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not left.is_set():
            try:
                return inbox.put(item, timeout=LISTEN_S)
            except queue.Full:
                continue

    def receive() -> None:
        try:
            for block in blocks():
                put(block)
                if left.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=receive, daemon=True).start()
    try:
        while True:
            if cancel.is_set():
                raise cancelled()
            try:
                item = inbox.get(timeout=LISTEN_S)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()


def cancelled() -> Cancelled:
    return Cancelled("the download was stopped", "Start again: it goes on where it stopped.")


def digest_of(path: Path, file: HubFile, cancel: threading.Event) -> str:
    """sha256 of a large file; of a small one the id that git gives it: sha1 over a header and the content."""
    if not file.digest:
        return ""  # the hub does not say: the size is all there is to check
    digest = (
        hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)
    )
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            if cancel.is_set():
                raise cancelled()
            digest.update(block)
    return digest.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
