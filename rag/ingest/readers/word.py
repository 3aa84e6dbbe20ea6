"""DOCX through python-docx: headings, lists, tables, text boxes, notes, headers and footers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rag.errors import Unreadable
from rag.ingest.readers import tables
from rag.ingest.readers.base import Limits, Outline, Parsed, one_line
from rag.ingest.readers.guards import check_zip
from rag.ingest.readers.xmltree import attribute, local, parse_xml

TITLE_LEVEL = 1
_SKIPPED = frozenset(("del", "moveFrom", "Fallback", "instrText", "delText", "rPr", "pPr", "tblPr", "sectPr"))
_SPACES = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}


def read_docx(path: Path, limits: Limits) -> Parsed:
    """The body in order; text boxes follow their paragraph, notes and headers come last."""
    import docx

    check_zip(path)
    try:
        document = docx.Document(str(path))
    except KeyError as error:
        raise Unreadable(
            f"is no Word document: {error.args[0]}", "Open it in Word and save it again."
        ) from error
    reader = _Body(_heading_levels(document))
    for block in document.element.body:
        reader.block(block)
    reader.flush()
    _notes(document, reader.outline)
    _margins(document, reader.outline)
    return Parsed(reader.outline.finish(), "python-docx", one_line(document.core_properties.title or ""))


class _Body:
    """Walks the body's blocks; list items stay together on lines of their own."""

    def __init__(self, levels: dict[str, int]) -> None:
        self.levels = levels
        self.outline = Outline()
        self.items: list[str] = []

    def block(self, element: Any) -> None:
        name = local(element)
        if name == "p":
            self._paragraph(element)
        elif name == "tbl":
            self.flush()
            self.outline.add(tables.render(_rows(element)))
        elif name not in _SKIPPED:
            for child in element:  # content controls, custom XML, insertions
                self.block(child)

    def flush(self) -> None:
        if self.items:
            self.outline.add("\n".join(self.items))
            self.items = []

    def _paragraph(self, paragraph: Any) -> None:
        text = _text(paragraph).strip()
        level = self._level(paragraph)
        if text and level:
            self.flush()
            self.outline.heading(level, text)
        elif text and _is_item(paragraph):
            self.items.append(f"- {text}")
        elif text:
            self.flush()
            self.outline.add(text)
        for box in _boxes(paragraph):
            self.flush()
            for child in box:
                self.block(child)

    def _level(self, paragraph: Any) -> int | None:
        properties = _child(paragraph, "pPr")
        if properties is None:
            return None
        own = _child(properties, "outlineLvl")
        if own is not None and (attribute(own, "val") or "9") < "9":
            return int(attribute(own, "val") or 0) + TITLE_LEVEL + 1
        style = _child(properties, "pStyle")
        return self.levels.get(attribute(style, "val") or "") if style is not None else None


def _heading_levels(document: Any) -> dict[str, int]:
    """Style id -> heading level, through the style's name, its outline level, or what it is based on."""
    found: dict[str, int] = {}
    based: dict[str, str] = {}
    for style in document.styles.element:
        if local(style) != "style":
            continue
        name, base, properties = (_child(style, child) for child in ("name", "basedOn", "pPr"))
        style_id = attribute(style, "styleId") or ""
        called = (attribute(name, "val") or "").lower() if name is not None else ""
        level = _child(properties, "outlineLvl") if properties is not None else None
        if called == "title":
            found[style_id] = TITLE_LEVEL
        elif called.startswith("heading ") and called[8:].isdecimal():
            found[style_id] = int(called[8:]) + TITLE_LEVEL
        elif (
            level is not None
            and (attribute(level, "val") or "").isdecimal()
            and int(attribute(level, "val") or 9) < 9
        ):
            found[style_id] = int(attribute(level, "val") or 0) + TITLE_LEVEL + 1
        elif base is not None:
            based[style_id] = attribute(base, "val") or ""
    for style_id, parent in based.items():
        for _ in range(10):  # styles may be based on each other in a circle
            if parent in found:
                found[style_id] = found[parent]
                break
            parent = based.get(parent, "")
    return found


def _child(element: Any, name: str) -> Any:
    return next((child for child in element if local(child) == name), None)


def _is_item(paragraph: Any) -> bool:
    properties = _child(paragraph, "pPr")
    if properties is None:
        return False
    style = _child(properties, "pStyle")
    return _child(properties, "numPr") is not None or (
        style is not None and (attribute(style, "val") or "").startswith("List")
    )


def _text(element: Any) -> str:
    return "".join(_runs(element))


def _runs(element: Any) -> Iterator[str]:
    for child in element:
        name = local(child)
        if name == "t":  # of Word's own runs and of equations
            yield child.text or ""
        elif name == "sym":
            yield _symbol(attribute(child, "char") or "")
        elif name in _SPACES:
            yield _SPACES[name]
        elif name not in _SKIPPED and name != "txbxContent":
            yield from _runs(child)


def _symbol(code: str) -> str:
    try:
        return chr(int(code, 16))
    except (ValueError, OverflowError):
        return ""


def _boxes(element: Any) -> Iterator[Any]:
    """The text boxes anchored in a paragraph, without the copies kept for old versions of Word."""
    for child in element:
        name = local(child)
        if name == "txbxContent":
            yield child
        elif name not in _SKIPPED:
            yield from _boxes(child)


def _rows(table: Any) -> list[list[str]]:
    """Cells by row; a cell merged downwards is repeated, so that each row stands alone."""
    rows: list[list[str]] = []
    for tr in _inside(table, "tr"):
        row: list[str] = []
        for tc in _inside(tr, "tc"):
            properties = _child(tc, "tcPr")
            span = _child(properties, "gridSpan") if properties is not None else None
            merge = _child(properties, "vMerge") if properties is not None else None
            text = " ".join(_cell_texts(tc))
            if (
                merge is not None
                and attribute(merge, "val") != "restart"
                and rows
                and len(row) < len(rows[-1])
            ):
                text = text or rows[-1][len(row)]
            width = (attribute(span, "val") or "1") if span is not None else "1"
            row += [text] + [""] * (min(int(width) if width.isdecimal() else 1, 100) - 1)
        rows.append(row)
    return rows


def _inside(element: Any, name: str) -> Iterator[Any]:
    for child in element:
        if local(child) == name:
            yield child
        elif local(child) in ("sdt", "sdtContent", "ins", "customXml"):
            yield from _inside(child, name)


def _cell_texts(cell: Any) -> Iterator[str]:
    for block in cell:
        name = local(block)
        if name == "p":
            yield one_line(_text(block))
            for box in _boxes(block):
                yield from _cell_texts(box)
        elif name == "tbl":
            for row in _rows(block):
                yield tables.line(row, None)
        elif name not in _SKIPPED and name != "tcPr":
            yield from _cell_texts(block)


def _notes(document: Any, outline: Outline) -> None:
    for kind, title in (("footnotes", "Footnotes"), ("endnotes", "Endnotes"), ("comments", "Comments")):
        for relation in document.part.rels.values():
            if relation.is_external or not relation.reltype.endswith(f"/{kind}"):
                continue
            notes = [
                " ".join(_cell_texts(note))
                for note in parse_xml(relation.target_part.blob)
                if attribute(note, "type") in (None, "normal")
            ]
            if any(note.strip() for note in notes):
                outline.heading(1, title)
                outline.add("\n".join(note.strip() for note in notes if note.strip()))


def _margins(document: Any, outline: Outline) -> None:
    """Running heads and feet, each text once."""
    texts: dict[str, None] = {}
    for relation in document.part.rels.values():
        if not relation.is_external and relation.reltype.endswith(("/header", "/footer")):
            for text in _cell_texts(parse_xml(relation.target_part.blob)):
                texts[text.strip()] = None
    texts.pop("", None)
    if texts:
        outline.heading(1, "Header and footer")
        outline.add("\n".join(texts))
