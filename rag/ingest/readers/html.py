"""HTML through selectolax: headings, paragraphs, lists, tables; navigation and scripts dropped."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag.ingest.readers import tables
from rag.ingest.readers.base import Limits, Outline, Parsed, one_line
from rag.ingest.readers.decoding import decode
from rag.ingest.readers.guards import check_depth

_DROPPED = frozenset(
    "script style nav noscript template svg head iframe object button select textarea canvas audio video "
    "datalist".split()
)
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption "
    "figure footer form header hgroup hr html legend li main ol p pre section summary table tbody td tfoot "
    "th thead tr ul title".split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
_XML_ENCODING = re.compile(rb"<\?xml[^>]*?\bencoding\s*=\s*[\"']\s*([\w.:-]+)", re.I)


def read_html(path: Path, limits: Limits) -> Parsed:
    """One section per heading. Raises TooMuch."""
    data = path.read_bytes()
    title, sections = sections_of(decode(data, declared_encoding(data)))
    return Parsed(sections, "selectolax", title)


def declared_encoding(data: bytes) -> str | None:
    """The encoding that the page itself names."""
    match = _XML_ENCODING.match(data.lstrip()[:200]) or _CHARSET.search(data[:4096])
    return match[1].decode("ascii") if match else None


def sections_of(markup: str, outline: Outline | None = None) -> tuple[str, tuple[Any, ...]]:
    """Title and sections of a page; given an `outline`, its sections so far go first."""
    outline = outline or Outline()
    tree = _parse(markup)
    _Walker(outline).walk(tree.body or tree.root)
    title = tree.css_first("title")
    return one_line(title.text()) if title is not None else "", outline.finish()


def plain_text(markup: str) -> str:
    """The text of a fragment, headings included as lines."""
    _, sections = sections_of(markup)
    return "\n\n".join("\n".join([*section.heading[-1:], section.text]) for section in sections)


def _parse(markup: str) -> Any:
    from selectolax.lexbor import LexborHTMLParser

    check_depth(markup)
    # lexbor takes NUL for the end, and lone surrogates cannot be encoded
    return LexborHTMLParser(markup.replace("\0", "").encode("utf-8", "replace"))


def _events(root: Any) -> Generator[tuple[str, Any], bool | None, None]:
    """("open" | "close", node) in document order without recursion; send True to skip a node's inside."""
    node, depth = root, 0
    while True:
        skip = yield "open", node
        child = None if skip else node.child
        if child is not None:
            node, depth = child, depth + 1
            continue
        while True:
            yield "close", node
            if depth == 0:
                return
            following = node.next
            if following is not None:
                node = following
                break
            node, depth = node.parent, depth - 1


@dataclass(slots=True)
class _Walker:
    """Gathers inline text until a block begins or ends, then hands it to the outline."""

    outline: Outline
    inline: list[str] = field(default_factory=list)
    prefix: str = ""
    heading: int = 0
    preformatted: int = 0
    items: list[str] = field(default_factory=list)

    def walk(self, root: Any) -> None:
        events = _events(root)
        skip: bool | None = None
        while True:
            try:
                what, node = events.send(skip)
            except StopIteration:
                break
            skip = None
            if what == "close":
                self._close(node.tag)
            elif node.tag == "-text":
                self.inline.append(node.text_content or "")
            elif node.tag in _DROPPED or node.tag.startswith("-"):
                skip = node.tag not in ("-document", "-undef")
            elif node.tag == "table" and (rows := _data_table(node)) is not None:
                self._break()
                self._emit_items()
                self.outline.add(tables.render(*rows))
                skip = True
            else:
                self._open(node.tag)
        self._break()
        self._emit_items()

    def _open(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._break()
            self._emit_items()
            self.heading = _HEADINGS[tag]
        elif tag == "br":
            self.inline.append("\n" if self.preformatted else "\v")
        elif tag in _BLOCKS:
            self._break()
            if tag == "li":
                self.prefix = "- "
            elif tag == "pre":
                self.preformatted += 1

    def _close(self, tag: str) -> None:
        if tag in _HEADINGS and self.heading:
            title = one_line("".join(self.inline))
            self.inline.clear()
            self.outline.heading(self.heading, title)
            self.heading = 0
        elif tag in _BLOCKS and not self.heading:
            self._break()
            if tag == "pre":
                self.preformatted = max(0, self.preformatted - 1)
            elif tag in ("ul", "ol", "dl"):
                self._emit_items()
            elif tag == "li":
                self.prefix = ""

    def _break(self) -> None:
        """The inline text so far is a block of its own."""
        if self.heading:
            self.inline.append(" ")
            return
        raw = "".join(self.inline)
        self.inline.clear()
        if self.preformatted:
            text = raw.strip("\n").rstrip()
        else:
            text = "\n".join(filter(None, (one_line(part) for part in raw.split("\v"))))
        if not text:
            return
        if self.prefix:
            self.items.append(self.prefix + text)
            self.prefix = "  "
        else:
            self._emit_items()
            self.outline.add(text)

    def _emit_items(self) -> None:
        if self.items:
            self.outline.add("\n".join(self.items))
            self.items.clear()


def _data_table(table: Any) -> tuple[list[list[str]], bool | None] | None:
    """Rows and whether the first is a header; None for a table that only lays out the page."""
    if table.css_first("table table, h1, h2, h3, h4, h5, h6, form, pre") is not None or _nested(table):
        return None
    rows: list[list[str]] = []
    header: bool | None = None
    for tr in table.css("tr"):
        cells = [cell for cell in tr.iter() if cell.tag in ("td", "th")]
        if not rows and len(cells) > 1 and all(cell.tag == "th" for cell in cells):
            header = True
        row: list[str] = []
        for cell in cells:
            row.append(_cell_text(cell))
            row.extend([""] * (min(_span(cell), 100) - 1))
        rows.append(row)
    caption = table.css_first("caption")
    if caption is not None:
        rows.insert(0, [one_line(caption.text(separator=" "))])
        header = None
    return rows, header


def _nested(table: Any) -> bool:
    return len(table.css("table")) > 1  # css looks at the node itself too


def _span(cell: Any) -> int:
    value = (cell.attributes.get("colspan") or "1").strip()
    return int(value) if value.isdecimal() and len(value) < 4 else 1


def _cell_text(cell: Any) -> str:
    parts: list[str] = []
    events = _events(cell)
    skip: bool | None = None
    while True:
        try:
            what, node = events.send(skip)
        except StopIteration:
            return one_line("".join(parts))
        skip = None
        if node.tag == "-text":
            parts.append((node.text_content or "") if what == "open" else "")
        elif node.tag in _DROPPED:
            skip = True if what == "open" else None
        elif node.tag in _BLOCKS or node.tag == "br":
            parts.append(" ")
