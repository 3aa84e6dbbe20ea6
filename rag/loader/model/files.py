"""A model's files, on disk or elsewhere: their sizes, and any part of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rag.loader.records import Problem

LFS_POINTER = b"version https://git-lfs"
DOWNLOAD_AGAIN = "Download {name} again, and compare its size with the one that the model's page shows."


class Files(Protocol):
    """Where a model's files come from; names are relative and have forward slashes."""

    def sizes(self) -> Mapping[str, int]:
        """Every file's size in bytes."""

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Up to `length` bytes (None: all) of a file from `start` on; fewer where the file ends."""


class LocalFiles:
    """The files of a folder and of the folders directly in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sizes(self) -> dict[str, int]:
        # One level down is enough for what a model's own files tell, and a folder that is somebody's
        # home must not be walked.
        found = {}
        for entry in sorted(self._folder.iterdir()):
            for file in _inside(entry) if entry.is_dir() else [entry]:
                if file.is_file():
                    found[file.relative_to(self._folder).as_posix()] = file.stat().st_size
        return found

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)


def _inside(folder: Path) -> list[Path]:
    try:
        return [] if folder.name.startswith(".") else sorted(folder.iterdir())
    except PermissionError:  # what lies in there cannot be part of a model that is to be read
        return []


def read_json(files: Files, name: str) -> tuple[dict[str, Any], Problem | None]:
    """A small file's settings, or {} and what is wrong with the file."""
    try:
        raw = files.read(name)
    except OSError as error:
        return {}, Problem(
            "config_damaged", f"{name} cannot be read: {error}", "Check the file's permissions."
        )
    if problem := lfs_pointer(name, raw):
        return {}, problem
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return {}, damaged_json(name, _json_fault(error) if raw.strip() else "it is empty")
    if not isinstance(value, dict):
        return {}, damaged_json(name, "it is no JSON object")
    return value, None


def _json_fault(error: Exception) -> str:
    place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
    return f"it is not valid JSON{place}"


def damaged_json(name: str, reason: str) -> Problem:
    kind = "index_damaged" if name.endswith(".index.json") else "config_damaged"
    return Problem(kind, f"{name} cannot be used: {reason}", DOWNLOAD_AGAIN.format(name=name))


def lfs_pointer(name: str, start: bytes) -> Problem | None:
    """The problem of a file that is only git-LFS's note of where the real one lies; `start` is its begin."""
    if not start.startswith(LFS_POINTER):
        return None
    real = next(
        (line[5:] for line in start.decode("ascii", "replace").splitlines() if line[:5] == "size "), ""
    )
    size = f" of {amount(int(real))}" if real.isdigit() else ""
    return Problem(
        "lfs_pointer",
        f"{name} is a git-LFS pointer, not the file{size} itself: the folder was cloned without git-lfs",
        "Install git-lfs, then run `git lfs pull` in the folder; or download the model again.",
    )


def amount(count: int) -> str:
    """Bytes for people, powers of 1000, as in "4.98 GB"; exact below 10,000."""
    if count < 10_000:
        return f"{count:,} bytes"
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"
