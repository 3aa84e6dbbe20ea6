"""JSON and JSON lines as readable "path: value" lines; notebooks are in notebook.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rag.errors import TooMuch
from rag.ingest.readers.base import Limits, Parsed, clean
from rag.ingest.readers.decoding import decode
from rag.ingest.readers.text import line_sections
from rag.types import Section

DEPTH = 200


def read_json(path: Path, limits: Limits) -> Parsed:
    """A JSON file; JSON lines and broken JSON are recognised. Raises TooMuch."""
    text = decode(path.read_bytes())
    try:
        value = load(text)
    except ValueError as error:
        if _first_lines_are_json(text):
            return read_json_lines(path, limits)
        note = f"read as plain text: no valid JSON ({error})"
        return Parsed(tuple(line_sections(text)), "text", notes=(note,))
    lines, notes = _capped(_lines(value), limits.rows)
    return Parsed((Section("\n".join(lines)),), "json", notes=notes)


def read_json_lines(path: Path, limits: Limits) -> Parsed:
    """One section per record, with its line. Raises TooMuch."""
    sections: list[Section] = []
    notes: tuple[str, ...] = ()
    broken = 0
    for number, line in enumerate(clean(decode(path.read_bytes())).split("\n"), start=1):
        if len(sections) >= limits.rows:
            notes = (f"only the first {limits.rows:,} records were read",)
            break
        if not line.strip():
            continue
        try:
            text = "\n".join(_lines(load(line)))
        except ValueError:
            text, broken = line, broken + 1
        sections.append(Section(text, None, number))
    if broken:
        notes += (f"{broken} lines are no valid JSON and were read as plain text",)
    return Parsed(tuple(sections), "json", notes=notes)


def load(text: str) -> Any:
    """Parsed JSON. Raises ValueError, and TooMuch for a tower of brackets."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise TooMuch("its brackets nest too deeply", "Such a file is damaged or hostile.") from error


def _first_lines_are_json(text: str) -> bool:
    lines = [line for line in text.split("\n", 4)[:4] if line.strip()][:3]
    try:
        return len(lines) > 1 and all(isinstance(load(line), dict | list) for line in lines)
    except ValueError:
        return False


def _capped(lines: Iterator[str], most: int) -> tuple[list[str], tuple[str, ...]]:
    kept: list[str] = []
    for line in lines:
        if len(kept) >= most:
            return kept, (f"only the first {most:,} values were read",)
        kept.append(line)
    return kept, ()


def _lines(value: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Flat records on one line each, everything else one line per value."""
    if depth > DEPTH:
        raise TooMuch(f"its brackets nest deeper than {DEPTH}", "Such a file is damaged or hostile.")
    if _is_record(value):
        words = "; ".join(f"{key}: {_word(item)}" for key, item in value.items() if item not in (None, ""))
        yield f"{path}: {words}" if path else words
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _lines(item, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list) and value and all(not isinstance(item, dict | list) for item in value):
        yield f"{path}: {', '.join(map(_word, value))}" if path else "\n".join(map(_word, value))
    elif isinstance(value, list):
        for n, item in enumerate(value, start=1):
            yield from _lines(item, f"{path} {n}" if path else "", depth + 1)
    elif value not in (None, ""):
        yield f"{path}: {_word(value)}" if path else _word(value)


def _is_record(value: Any) -> bool:
    """A small flat object, which reads best on one line."""
    if not isinstance(value, dict) or not value:
        return False
    words = [item for item in value.values() if not isinstance(item, dict | list)]
    return len(words) == len(value) and sum(len(str(item)) for item in words) <= 500


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)
