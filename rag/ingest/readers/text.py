"""Plain text and source code: sections of some hundred lines, each with its first line's number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rag.ingest.readers.base import Limits, Parsed, clean
from rag.ingest.readers.decoding import decode
from rag.types import Section

SECTION_LINES = 100


def read_text(path: Path, limits: Limits) -> Parsed:
    """Text in any encoding."""
    return Parsed(tuple(line_sections(decode(path.read_bytes()))), "text")


def line_sections(text: str, first_line: int = 1, heading: tuple[str, ...] = ()) -> Iterator[Section]:
    """The text cut about every `SECTION_LINES` lines, at an empty line where one is near."""
    lines = clean(text).split("\n")
    start = 0
    while start < len(lines):
        while start < len(lines) and not lines[start].strip():
            start += 1
        end = _cut(lines, start)
        block = "\n".join(lines[start:end]).rstrip()
        if block:
            yield Section(block, None, first_line + start, heading)
        start = end


def _cut(lines: list[str], start: int) -> int:
    target = start + SECTION_LINES
    if target >= len(lines):
        return len(lines)
    for end in range(target, min(target + SECTION_LINES, len(lines))):
        if not lines[end].strip():
            return end
    return target
