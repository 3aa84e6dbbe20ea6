"""reStructuredText by its underlined headings; directives stay text, so nothing is included or run."""

from __future__ import annotations

from pathlib import Path

from rag.ingest.readers.base import Limits, Outline, Parsed, clean
from rag.ingest.readers.decoding import decode
from rag.types import Section

_MARKS = frozenset("=-`:'\"~^_*+#<>.!$%&(),/;?@[\\]{|}")


def read_rst(path: Path, limits: Limits) -> Parsed:
    """One section per heading, with line numbers."""
    title, sections = sections_of(decode(path.read_bytes()))
    return Parsed(sections, "rst", title)


def sections_of(text: str) -> tuple[str, tuple[Section, ...]]:
    """The first heading, and the sections."""
    lines = clean(text).split("\n")
    outline = Outline()
    styles: list[tuple[str, bool]] = []
    title = ""
    start = n = 0
    while n < len(lines):
        style, used = _heading(lines, n)
        if style is None:
            n += 1
            continue
        _add(outline, lines, start, n)
        if style not in styles:
            styles.append(style)  # levels are in the order in which the styles first appear
        name = lines[n + (1 if style[1] else 0)].strip()
        title = title or name
        outline.heading(styles.index(style) + 1, name, n + 1)
        n += used
        start = n
    _add(outline, lines, start, len(lines))
    return title, outline.finish()


def _heading(lines: list[str], n: int) -> tuple[tuple[str, bool] | None, int]:
    """The heading's style (mark, with an overline) and its number of lines; (None, 1) for none."""
    if _is_rule(lines[n]) and n + 2 < len(lines) and lines[n + 2].rstrip() == lines[n].rstrip():
        if lines[n + 1].strip() and not _is_rule(lines[n + 1]):
            return (lines[n][0], True), 3
        return None, 1
    if n + 1 >= len(lines) or not lines[n].strip() or lines[n][0].isspace() or _is_rule(lines[n]):
        return None, 1
    below = lines[n + 1].rstrip()
    above = lines[n - 1].strip() if n else ""
    if not above and _is_rule(below) and (len(below) >= len(lines[n].rstrip()) or len(below) >= 4):
        return (below[0], False), 2
    return None, 1


def _is_rule(line: str) -> bool:
    bare = line.rstrip()
    return len(bare) >= 2 and bare[0] in _MARKS and bare == bare[0] * len(bare)


def _add(outline: Outline, lines: list[str], start: int, end: int) -> None:
    while start < end and not lines[start].strip():
        start += 1
    outline.add("\n".join(lines[start:end]).rstrip(), start + 1)
