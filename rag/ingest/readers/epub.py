"""EPUB: the chapters in the spine's order, each through the HTML reader."""

from __future__ import annotations

import posixpath
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any

from rag.errors import Unreadable
from rag.ingest.readers import html
from rag.ingest.readers.base import Limits, Outline, Parsed, one_line
from rag.ingest.readers.decoding import decode
from rag.ingest.readers.guards import open_zip, read_member
from rag.ingest.readers.xmltree import attribute, local, parse_xml
from rag.types import Section


def read_epub(path: Path, limits: Limits) -> Parsed:
    """Sections by chapter heading. Raises Unreadable, also for copy-protected books."""
    notes: list[str] = []
    sections: list[Section] = []
    with open_zip(path) as archive:
        title, chapters = _package(archive)
        protected = _protected(archive)
        for chapter in chapters[: limits.pages]:
            if chapter in protected:
                raise Unreadable("is copy-protected (DRM)", "Use a copy without copy protection.")
            try:
                data = read_member(archive, chapter)
            except Unreadable as error:
                notes.append(f"{chapter}: {error.message}")
                continue
            sections += html.sections_of(decode(data, html.declared_encoding(data)), Outline())[1]
    if len(chapters) > limits.pages:
        notes.append(f"only the first {limits.pages:,} of {len(chapters):,} chapters were read")
    return Parsed(tuple(sections), "selectolax", title, "page", tuple(notes))


def _package(archive: zipfile.ZipFile) -> tuple[str, list[str]]:
    """The book's title and its chapters' names in the zip, in reading order."""
    container = parse_xml(read_member(archive, "META-INF/container.xml"))
    opf = next((attribute(e, "full-path") for e in container.iter() if local(e) == "rootfile"), None)
    if not opf:
        raise Unreadable("is damaged: its container names no package", "Get the book again.")
    package = parse_xml(read_member(archive, opf))
    items: dict[str, Any] = {attribute(e, "id") or "": e for e in package.iter() if local(e) == "item"}
    chapters = []
    for reference in package.iter():
        item = items.get(attribute(reference, "idref") or "") if local(reference) == "itemref" else None
        if item is not None and "html" in (attribute(item, "media-type") or "html"):
            name = urllib.parse.unquote(attribute(item, "href") or "")
            chapters.append(posixpath.normpath(posixpath.join(posixpath.dirname(opf), name)))
    title = next((one_line(e.text or "") for e in package.iter() if local(e) == "title"), "")
    return title, chapters


def _protected(archive: zipfile.ZipFile) -> set[str]:
    """Names of encrypted members; fonts are often merely obfuscated this way."""
    try:
        data = archive.read("META-INF/encryption.xml")
    except KeyError:
        return set()
    found = (attribute(e, "URI") for e in parse_xml(data).iter() if local(e) == "CipherReference")
    return {urllib.parse.unquote(uri) for uri in found if uri}
