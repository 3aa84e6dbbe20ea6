"""Cheap looks at a file before a library opens it: zip bombs and towers of nested tags."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from rag.errors import TooMuch, Unreadable

ZIP_BYTES = 512 * 2**20
ZIP_XML_BYTES = 256 * 2**20
ZIP_MEMBERS = 20_000
ZIP_RATIO = 200
ZIP_RATIO_FROM = 32 * 2**20
"""Only above this size does a high compression ratio count: small repetitive sheets reach it too."""

TAG_DEPTH = 2_000

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/<>]*)[^<>]*?(/?)>")
# No closing tag, or one that browsers add by themselves, so they pile up in no tree.
_UNCLOSED = frozenset(
    "area base br col embed hr img input link meta param source track wbr "
    "p li dt dd tr td th thead tbody tfoot option optgroup colgroup rp rt".split()
)

DAMAGED_ZIP = "Open it in the program that made it and save it again."


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip-based document whose members are of bearable size. Raises Unreadable, TooMuch."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Unreadable(f"is damaged: {error}", DAMAGED_ZIP) from error
    try:
        _check_sizes(archive.infolist())
    except BaseException:
        archive.close()
        raise
    return archive


def check_zip(path: Path) -> None:
    """`open_zip` for readers whose library opens the file itself."""
    open_zip(path).close()


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One member's bytes. Raises Unreadable for a missing, encrypted or damaged one."""
    try:
        return archive.read(name)
    except KeyError as error:
        raise Unreadable(f"is damaged: {name} is missing", DAMAGED_ZIP) from error
    except RuntimeError as error:
        raise Unreadable("is protected by a password", "Save a copy without the password.") from error
    except Exception as error:  # zlib, lzma and struct errors of a damaged member
        raise Unreadable(f"is damaged: {name}: {error}", DAMAGED_ZIP) from error


def check_depth(markup: str) -> None:
    """Refuse markup whose tags nest deeper than `TAG_DEPTH`. Raises TooMuch."""
    if markup.count("<") < TAG_DEPTH:
        return
    depth = 0
    for closing, name, empty in _TAG.findall(markup):
        if empty or name.lower() in _UNCLOSED:
            continue
        depth = max(0, depth - 1) if closing else depth + 1
        if depth > TAG_DEPTH:
            raise TooMuch(f"its tags nest deeper than {TAG_DEPTH:,}", "Such a file is damaged or hostile.")


def _check_sizes(members: list[zipfile.ZipInfo]) -> None:
    fix = "Check that the file is what it claims to be; it unpacks to far more than it should."
    if len(members) > ZIP_MEMBERS:
        raise TooMuch(f"holds {len(members):,} parts", fix)
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    xml = sum(
        m.file_size for m in members if m.filename.lower().endswith((".xml", ".rels", ".xhtml", ".html"))
    )
    if total > ZIP_BYTES or xml > ZIP_XML_BYTES:
        raise TooMuch(f"would unpack to {total / 2**20:,.0f} MiB", fix)
    if total > ZIP_RATIO_FROM and total > packed * ZIP_RATIO:
        raise TooMuch(f"would unpack to {total / max(packed, 1):,.0f} times its size", fix)
