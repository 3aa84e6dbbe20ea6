"""XML through lxml with everything switched off that reaches beyond the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rag.errors import Unreadable
from rag.ingest.readers import html
from rag.ingest.readers.base import Limits, Outline, Parsed, one_line
from rag.ingest.readers.decoding import decode
from rag.ingest.readers.guards import check_depth

LABELLED = 200
"""A leaf element with at most this many characters is printed with its name, "price: 10"."""

_DECLARATION = re.compile(r"\s*<\?xml[^<>]*>", re.I)
_ENCODING = re.compile(rb"<\?xml[^>]*?\bencoding\s*=\s*[\"']\s*([\w.:-]+)", re.I)
_PROSE = frozenset("p para s seg l line text span div li item title head heading h1 h2 h3 h4 b i em".split())


def parse_xml(data: bytes | str, recover: bool = True) -> Any:
    """The root element; entities, DTDs and the network stay untouched. Raises Unreadable, TooMuch."""
    from lxml import etree

    text = data if isinstance(data, str) else decode(data, declared_encoding(data))
    check_depth(text)
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        recover=recover,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(_undeclared(text).encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable(f"is no valid XML: {error}", "Correct the file.") from error
    if root is None:
        raise Unreadable("is no valid XML: it holds no element", "Correct the file.")
    return root


def _undeclared(text: str) -> str:
    """The text without its declaration, whose encoding it no longer has."""
    declaration = _DECLARATION.match(text)
    return text[declaration.end() :] if declaration else text


def declared_encoding(data: bytes) -> str | None:
    """The encoding that the XML declaration names."""
    match = _ENCODING.search(data[:1000])
    return match[1].decode("ascii") if match else None


def local(element: Any) -> str:
    """The element's name without its namespace; "" for entities and the like."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Any, name: str) -> str | None:
    """An attribute by its name without namespace."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return None


def all_text(element: Any) -> str:
    """All character data below the element."""
    return "".join(element.itertext())


def read_xml(path: Path, limits: Limits) -> Parsed:
    """Any XML: each element with text of its own is a line, short leaves with their names."""
    data = path.read_bytes()
    outline = Outline(separator="\n")
    root = parse_xml(data)
    title = ""
    for name, text in _lines(root):
        title = title or (one_line(text) if name == "title" else "")
        if "</" in text or "<br" in text.lower():
            text = html.plain_text(text)  # feeds carry escaped HTML
        outline.add(f"{name}: {text}" if name and name not in _PROSE and len(text) <= LABELLED else text)
    return Parsed(outline.finish(), "lxml", title[:LABELLED])


def _lines(root: Any) -> Iterator[tuple[str, str]]:
    """(name, text) of each element that holds text itself, outermost only, in order."""
    stack = [root]
    while stack:
        element = stack.pop()
        if not isinstance(element.tag, str):
            continue
        children = [child for child in element if isinstance(child.tag, str)]
        own = (element.text or "") + "".join(child.tail or "" for child in element)
        if not own.strip():
            stack.extend(reversed(children))
            continue
        text = all_text(element)
        if children:
            yield "", one_line(text)
        else:
            yield local(element), text.strip() if "\n\n" in text else one_line(text)
