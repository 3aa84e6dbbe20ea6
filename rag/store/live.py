"""Which generations are live: changing CURRENT, and deleting what it no longer names."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from rag.errors import IndexDamaged
from rag.store import files
from rag.store.manifest import CURRENT, Pointer, folder_name, read_current

TEMPORARY = ".tmp-"
DISCARDED = f"{TEMPORARY}deleted-"
"""Beside the collections: those that are no more, while their files are being deleted."""
KEPT = 3
"""Generations that stay on disk: the live one, and two to roll back to."""

Step = Callable[[str], None]
"""Told the name of each step of a publish before it is done."""


def write_current(folder: Path, pointers: Sequence[Pointer], step: Step) -> None:
    """Let CURRENT name these generations, the live one first, in one step."""
    aside = folder / f"{TEMPORARY}{CURRENT}"
    step("write CURRENT aside")
    files.write_text(aside, "".join(f"{pointer}\n" for pointer in pointers))
    step("replace CURRENT")
    files.replace(aside, folder / CURRENT)
    step("flush folder")
    files.sync_folder(folder)


def numbers_on_disk(folder: Path) -> list[int]:
    """The numbers of all generation folders, ascending, live or not."""
    names = [path.name.removeprefix("gen-") for path in folder.glob("gen-*")]
    return sorted(int(name) for name in names if name.isdecimal())


def prune(folder: Path, pointers: Sequence[Pointer]) -> None:
    """Delete the generations that CURRENT does not name. What Windows will not let go stays for later."""
    kept = {pointer.number for pointer in pointers}
    for number in numbers_on_disk(folder):
        if number not in kept:
            doomed = folder / f"{TEMPORARY}old-{folder_name(number)}"
            try:  # renamed first, so that a half deleted folder never bears a generation's name
                (folder / folder_name(number)).rename(doomed)
            except OSError:
                continue
            shutil.rmtree(doomed, ignore_errors=True)


def discard(folder: Path, step: Step) -> None:
    """Let a collection be gone in one step, and then delete its files. For the holder of its lock."""
    step("set aside")
    aside = folder.with_name(f"{DISCARDED}{folder.name}-{secrets.token_hex(4)}")
    files.replace(folder, aside)
    files.sync_folder(folder.parent)
    step("delete")
    shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(folder: Path, prefix: str = TEMPORARY) -> None:
    """Delete what dead writers left. Only for the holder of the lock, who has begun nothing yet.

    With the prefix DISCARDED for anyone: `folder` then is that of all collections.
    """
    for path in folder.glob(f"{prefix}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # it will be overwritten or meet the next writer
                path.unlink(missing_ok=True)


def lineage(folder: Path) -> list[Pointer]:
    """What CURRENT names; nothing when it is damaged, as it may be when an index is built anew."""
    try:
        return read_current(folder)
    except IndexDamaged:
        return []


def live_folders(folder: Path) -> set[str]:
    return {folder_name(pointer.number) for pointer in lineage(folder)}
