"""ODT and ODP: the zip's content.xml through lxml, with headings, lists, tables and notes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rag.errors import Unreadable
from rag.ingest.readers import tables
from rag.ingest.readers.base import Limits, Outline, Parsed, one_line
from rag.ingest.readers.guards import open_zip, read_member
from rag.ingest.readers.xmltree import attribute, local, parse_xml

MAX_SPACES = 100
MAX_REPEATS = 100
_SKIPPED = frozenset(("tracked-changes", "annotation", "forms", "sequence-decls", "settings", "ruby-text"))


def read_opendocument(path: Path, limits: Limits) -> Parsed:
    """Text by heading, in presentations by slide. Raises Unreadable."""
    with open_zip(path) as archive:
        names = set(archive.namelist())
        if "META-INF/manifest.xml" in names and b"encryption-data" in read_member(
            archive, "META-INF/manifest.xml"
        ):
            raise Unreadable(
                "is protected by a password", "Save a copy without the password and ingest that."
            )
        content = parse_xml(read_member(archive, "content.xml"))
        title = _title(archive) if "meta.xml" in names else ""
    body = next((element for element in content.iter() if local(element) == "body"), content)
    reader = _Reader(limits)
    reader.blocks(body)
    unit = "slide" if reader.slides else "page"
    return Parsed(reader.outline.finish(), "lxml", title, unit, tuple(reader.notes))


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.outline = Outline()
        self.slides = 0
        self.notes: list[str] = []

    def blocks(self, element: Any) -> None:
        for child in element:
            name = local(child)
            if name == "h":
                level = attribute(child, "outline-level") or "1"
                self.outline.heading(int(level) if level.isdecimal() else 1, _text(child))
            elif name == "p":
                self.outline.add(_text(child).strip())
                for frame in _frames(child):
                    self.blocks(frame)
            elif name == "list":
                self.outline.add("\n".join(_items(child)))
            elif name == "table":
                self.outline.add(tables.render(_rows(child)))
            elif name == "page" and not self._turn():
                return
            elif name and name not in _SKIPPED:
                self.blocks(child)

    def _turn(self) -> bool:
        self.slides += 1
        if self.slides > self.limits.pages:
            self.notes.append(f"only the first {self.limits.pages:,} slides were read")
            return False
        self.outline.turn(self.slides)
        return True


def _text(element: Any) -> str:
    return "".join(_pieces(element))


def _pieces(element: Any) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        name = local(child)
        if name == "s":
            count = attribute(child, "c") or "1"
            yield " " * min(int(count) if count.isdecimal() else 1, MAX_SPACES)
        elif name == "tab":
            yield "\t"
        elif name == "line-break":
            yield "\n"
        elif name == "note":
            yield f" ({one_line(' '.join(_text(body) for body in child if local(body) == 'note-body'))})"
        elif name and name not in _SKIPPED and name not in ("frame", "custom-shape", "title", "desc"):
            yield from _pieces(child)
        yield child.tail or ""


def _frames(element: Any) -> Iterator[Any]:
    """Text boxes and shapes anchored in a paragraph."""
    for child in element:
        if local(child) in ("text-box", "custom-shape"):
            yield child
        elif local(child) not in _SKIPPED:
            yield from _frames(child)


def _items(element: Any, indent: str = "") -> Iterator[str]:
    for item in element:
        for block in item:
            if local(block) == "list":
                yield from _items(block, indent + "  ")
            elif text := _text(block).strip():
                yield f"{indent}- {text}"


def _rows(table: Any) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in table.iter():
        if local(row) != "table-row":
            continue
        cells: list[str] = []
        for cell in row:
            if local(cell) in ("table-cell", "covered-table-cell"):
                repeat = attribute(cell, "number-columns-repeated") or "1"
                text = " ".join(filter(None, (one_line(_text(block)) for block in cell)))
                cells += [text] * min(int(repeat) if repeat.isdecimal() else 1, MAX_REPEATS)
        rows.append(cells)
    return rows


def _title(archive: zipfile.ZipFile) -> str:
    meta = parse_xml(read_member(archive, "meta.xml"))
    return next((one_line(e.text or "") for e in meta.iter() if local(e) == "title"), "")
