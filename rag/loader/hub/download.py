"""A model from a hub onto this computer, once: only the files that are needed, resumed, checked, locked.

Copies lie in the cache folder under models/OWNER/NAME, each with a record of what the hub said it holds.
What huggingface_hub's own cache already has is used from there and never downloaded again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from rag.errors import DownloadFailed, ModelRefused, RagError
from rag.loader.hub.hub import Hub, HubFile, Listing
from rag.loader.hub.hubcache import shared_blob, shared_snapshot
from rag.loader.hub.needed import files_for
from rag.loader.hub.transfer import LISTEN_S, Tell, cancelled, digest_of, fetch, part_of
from rag.loader.model.files import amount
from rag.places import cache_root

__all__ = ["download", "files_for", "local_copy", "models_root"]

RECORD = ".footnote.json"
RECORD_VERSION = 1
SPARE_BYTES = 200_000_000
"""Left free beyond the files themselves: a disk filled to its last byte breaks other programs."""
TELL_EVERY_S = 0.2
SPEED_OVER_S = 5.0

Wanted = Callable[[Mapping[str, int]], Sequence[str]] | Sequence[str]
"""The names of the files to have, or what picks them from all sizes, such as `files_for`."""


def download(
    repo: str,
    revision: str = "main",
    wanted: Wanted = lambda sizes: files_for(sizes, "transformers"),
    on_event: Tell = lambda event: None,
    cancel: threading.Event | None = None,
    hub: Hub | None = None,
    root: Path | None = None,
) -> Path:
    """The folder with the wanted files of a model; asks the hub only for what is not here already.

    `on_event` hears {"event": "downloading", "file", "done_bytes", "total_bytes", "bytes_per_s"} several
    times a second, and "waiting", "retrying", "verifying", "downloaded". Setting `cancel` ends it within
    LISTEN_S. Raises ModelNotFound, ModelRefused, DownloadFailed and its Cancelled; what has arrived is kept.
    """
    cancel = cancel or threading.Event()
    if here := local_copy(repo, revision, wanted, root):
        return here
    folder = _folder(repo, revision, root)
    with _writing(folder), _turn(folder, repo, on_event, cancel):
        if here := local_copy(repo, revision, wanted, root):
            return here  # another process was faster
        hub = hub or Hub()
        listing = hub.listing(repo, revision)
        record = _Record.read(folder).renewed(listing)
        record.write(folder)
        names = _names(wanted, {name: file.bytes for name, file in listing.files.items()})
        missing = [listing.files[name] for name in names if not record.has(folder, name)]
        missing = [file for file in missing if not _adopted(file, repo, folder, record, cancel)]
        progress = _Progress(on_event, folder, missing)
        _check_space(repo, folder, progress)
        for file in missing:
            progress.begin(file)
            fetch(hub, listing, file, folder, progress.arrived, on_event, cancel)
            record.have[file.name] = file.digest
            record.write(folder)
        on_event({"event": "downloaded", "repo": repo, "folder": str(folder), "total_bytes": progress.total})
        return folder


def local_copy(
    repo: str,
    revision: str = "main",
    wanted: Wanted = lambda sizes: files_for(sizes, "transformers"),
    root: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Path | None:
    """The folder of an earlier, complete download, ours or huggingface_hub's; needs no network."""
    folder = _folder(repo, revision, root)
    with contextlib.suppress(RagError, OSError):  # what is here cannot satisfy `wanted`: it is no copy of it
        record = _Record.read(folder)
        names = _names(wanted, {name: file.bytes for name, file in record.files.items()})
        if names and all(record.has(folder, name) for name in names):
            return folder
    with contextlib.suppress(RagError, OSError):
        return shared_snapshot(repo, revision, wanted, os.environ if environ is None else environ)
    return None


def models_root(root: Path | None = None) -> Path:
    """Where downloaded models lie."""
    return root or cache_root() / "models"


def _folder(repo: str, revision: str, root: Path | None) -> Path:
    owner, _, name = repo.rpartition("/")
    branch = "" if revision == "main" else "@" + revision.replace("/", "--")
    return models_root(root) / (owner or "-") / (name + branch)


def _names(wanted: Wanted, sizes: Mapping[str, int]) -> list[str]:
    names = list(wanted(sizes) if callable(wanted) else wanted)
    for name in names:
        if name not in sizes:
            raise DownloadFailed(
                f"the repository holds no file {name}", "Check the name on the model's page."
            )
        if any(".." in path.parts or path.anchor or ":" in name for path in _readings(name)):
            raise ModelRefused(
                f"the repository names a file {name!r}, which would land outside its folder",
                "Do not use this repository.",
            )
    return names


def _readings(name: str) -> tuple[PurePosixPath, PureWindowsPath]:
    return PurePosixPath(name), PureWindowsPath(name)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Translate what a full or read-only disk raises."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise DownloadFailed(
            f"the model cannot be written to {folder}: {reason}",
            "Free some space, or let FOOTNOTE_CACHE name a folder on a disk that has it.",
        ) from error


@contextlib.contextmanager
def _turn(folder: Path, repo: str, tell: Tell, cancel: threading.Event) -> Iterator[None]:
    """Hold this folder's lock, waiting for another process that downloads into it."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), thread_local=False)
    waiting = False
    while not lock.is_locked:
        if cancel.is_set():
            raise cancelled()
        try:
            lock.acquire(timeout=LISTEN_S)
        except Timeout:
            if not waiting:
                tell({"event": "waiting", "reason": f"another process is downloading {repo}"})
            waiting = True
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class _Record:
    """What the hub said the repository holds, and the digest of each file that is here, checked."""

    repo: str = ""
    commit: str = ""
    files: Mapping[str, HubFile] = field(default_factory=dict)
    have: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> _Record:
        try:
            saved = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            if saved.pop("version") != RECORD_VERSION:
                return cls()
            return cls(**{**saved, "files": {name: HubFile(**file) for name, file in saved["files"].items()}})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()  # nothing is lost: files whose hash is right are not fetched again

    def renewed(self, listing: Listing) -> _Record:
        return _Record(listing.repo, listing.commit, listing.files, dict(self.have))

    def has(self, folder: Path, name: str) -> bool:
        file = self.files.get(name)
        path = folder / name
        return (
            file is not None
            and self.have.get(name) == file.digest
            and path.is_file()
            and path.stat().st_size == file.bytes
        )

    def write(self, folder: Path) -> None:
        aside = folder / f"{RECORD}.{os.getpid()}"
        aside.write_text(json.dumps({"version": RECORD_VERSION, **asdict(self)}, indent=1), encoding="utf-8")
        aside.replace(folder / RECORD)


def _adopted(file: HubFile, repo: str, folder: Path, record: _Record, cancel: threading.Event) -> bool:
    """Whether the right file lies here unrecorded, or in huggingface_hub's cache, to be linked from there."""
    target = folder / file.name
    for source in (target, shared_blob(repo, file.digest, os.environ)):
        if source is None or not source.is_file() or source.stat().st_size != file.bytes:
            continue
        if digest_of(source, file, cancel) != file.digest:
            continue
        if source != target and not _linked(source, target):
            continue
        record.have[file.name] = file.digest
        record.write(folder)
        return True
    return False


def _linked(source: Path, target: Path) -> bool:
    """False across disks, and where links are unknown: then the file is downloaded."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        return False
    return True


def _check_space(repo: str, folder: Path, progress: _Progress) -> None:
    needed, free = progress.total - progress.done, shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise DownloadFailed(
            f"{repo} needs {amount(needed)} more on the disk, and {amount(free)} are free in {folder}",
            "Free some space, or let FOOTNOTE_CACHE name a folder on a larger disk.",
        )


class _Progress:
    """Tells how far the whole download is, a few times a second."""

    def __init__(self, tell: Tell, folder: Path, files: Sequence[HubFile]) -> None:
        self._tell = tell
        parts = (part_of(folder, file) for file in files)
        self.total = sum(file.bytes for file in files)
        self.done = sum(part.stat().st_size for part in parts if part.exists())
        self._file = ""
        self._told = 0.0
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), self.done)])

    def begin(self, file: HubFile) -> None:
        self._file = file.name
        self._say(time.monotonic())

    def arrived(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S or self.done == self.total:
            self._say(now)

    def _say(self, now: float) -> None:
        self._told = now
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[0][0] > SPEED_OVER_S:
            self._marks.popleft()
        since, done = self._marks[0]
        speed = (self.done - done) / (now - since) if now > since else 0.0
        self._tell(
            {
                "event": "downloading",
                "file": self._file,
                "done_bytes": self.done,
                "total_bytes": self.total,
                "bytes_per_s": speed,
            }
        )
