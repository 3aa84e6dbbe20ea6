"""Files that come through the page: kept below the data folder, one folder a collection."""

from __future__ import annotations

import re
import shutil
import unicodedata
from pathlib import Path
from typing import BinaryIO

from rag.errors import TooMuch, UsageError
from rag.hidden import without_hidden
from rag.places import data_root

FOLDER = "uploads"
NAME_BYTES = 150
"""Of a file's name; file systems take 255, and tools append to them."""
PIECE = 1 << 20
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)


def folder_of(collection: str) -> Path:
    """Where the files are kept that were uploaded to a collection."""
    return data_root() / FOLDER / collection


def keep(collection: str, name: str, data: BinaryIO, limit_bytes: int) -> Path:
    """Keep an uploaded file under a name made from its own; one of the same name is replaced at once.

    What counts against the limit is what is really received. Raises TooMuch, UsageError.
    """
    target = folder_of(collection) / safe_name(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.part")
    try:
        with aside.open("wb") as out:
            received = 0
            while piece := data.read(PIECE):
                received += len(piece)
                if received > limit_bytes:
                    raise TooMuch(
                        f"{target.name} is larger than {limit_bytes >> 20} MB",
                        "Split it, or raise ingest.max_file_mb.",
                    )
                out.write(piece)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def safe_name(name: str) -> str:
    """The last part of a name, without what a file system, a terminal or a page might take for more.

    Raises UsageError where nothing is left of it.
    """
    plain = unicodedata.normalize("NFC", without_hidden(name)[0])
    plain = plain.encode("utf-8", "replace").decode()
    plain = " ".join(_UNSAFE.sub("_", re.split(r"[/\\]", plain)[-1]).split()).strip(" .")
    stem, dot, ending = plain.rpartition(".")
    if not plain.strip("_. "):
        raise UsageError(f"a file cannot be kept under the name {name!r}", "Give it another name.")
    if _RESERVED.match(plain):
        plain, stem = f"_{plain}", f"_{stem}"
    if len(plain.encode()) > NAME_BYTES:
        room = NAME_BYTES - len((dot + ending).encode())
        if room < 1:
            return plain.encode()[:NAME_BYTES].decode("utf-8", "ignore")
        plain = stem.encode()[:room].decode("utf-8", "ignore") + dot + ending
    return plain


def discard(collection: str) -> None:
    """Delete all files that were uploaded to a collection."""
    shutil.rmtree(folder_of(collection), ignore_errors=True)


def move(old: str, new: str) -> None:
    """Let the files follow a collection that gets another name."""
    if folder_of(old).exists():
        folder_of(old).rename(folder_of(new))
