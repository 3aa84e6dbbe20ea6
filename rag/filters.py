"""Which documents may answer: by path, by age and by kind."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rag.errors import IndexMissing, UsageError
from rag.pathglob import matching, nearest
from rag.store.generation import Generation
from rag.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = {
    "word": ("wordprocessingml", "opendocument.text", "rtf"),
    "sheet": ("spreadsheet", "excel"),
    "slides": ("presentation",),
    "mail": ("rfc822", "mbox", "outlook"),
    "text": ("text/plain",),
    "code": ("x-code",),
}
"""Kinds of several media types, by a part of their names; other kinds are media types' last parts."""
_AGO = re.compile(r"(\d{1,4})([dwmy])")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a file must be to answer; a field that is empty lets all through.

    `within` are globs on paths (see `rag.pathglob`), `since` is the first day of change that counts,
    `kinds` are extensions or kinds. Of several values in one field one is enough.
    """

    within: tuple[str, ...] = ()
    since: date | None = None
    kinds: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.within or self.since or self.kinds)

    def as_dict(self) -> dict[str, Any]:
        """The form that `--json` prints."""
        since = self.since.isoformat() if self.since else None
        return {"in": list(self.within), "since": since, "type": list(self.kinds)}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a search looks: `allowed` are chunk rows, None for all.

    `paths` names each document, by its id, after a file that passed the filters.
    """

    allowed: NDArray[np.int64] | None = None
    paths: Mapping[str, str] = field(default_factory=dict)

    def shown(self, chunk: Chunk) -> Chunk:
        """The chunk, placed in the file that the user asked for where several files hold it."""
        path = self.paths.get(chunk.document_id, chunk.path)
        return chunk if path == chunk.path else replace(chunk, path=path)


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    document_id: str
    media_type: str
    changed: date | None

    @property
    def kinds(self) -> set[str]:
        last = self.media_type.rpartition("/")[2]
        wider = {kind for kind, parts in KINDS.items() if any(part in self.media_type for part in parts)}
        return {PurePath(self.path).suffix[1:].casefold(), last} | wider


def first_day(text: str, today: date) -> date:
    """The day that `--since` means: an ISO date, or so many days, weeks, months or years before `today`.

    Raises UsageError.
    """
    try:
        if ago := _AGO.fullmatch(text.strip().casefold()):
            return _before(today, int(ago[1]), ago[2])
        return datetime.fromisoformat(text.strip()).date()
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text}' is no date", "Write it as 2024-05-31, or as 30d, 8w, 6m or 1y before today."
        ) from None


def _before(today: date, count: int, unit: str) -> date:
    if unit in "dw":
        return today - timedelta(days=count * (7 if unit == "w" else 1))
    year, month = divmod(today.year * 12 + today.month - 1 - count * (12 if unit == "y" else 1), 12)
    return date(year, month + 1, min(today.day, calendar.monthrange(year, month + 1)[1]))


def resolve(filters: Filters, generation: Generation) -> Scope:
    """The chunks of the documents that pass, each named by a file that passes.

    Raises UsageError when a value matches no file, or all filters together match none; IndexMissing
    when the index is empty.
    """
    if not filters:
        return Scope()
    files = _files(generation)
    if not files:
        raise IndexMissing("the index holds no document yet", "Run: python scripts/ingest.py FOLDER.")
    passing = {file.path for file in files}
    for flag, alternatives in _conditions(filters, files).items():
        for value, paths in alternatives.items():
            if not paths:
                raise UsageError(f"no document matches {flag} {value}", _hint(flag, value, files, generation))
        passing &= set().union(*alternatives.values())
    if not passing:
        raise UsageError("no document matches all filters together", "Leave one of them out.")
    documents: dict[str, str] = {}
    for file in files:
        if file.path in passing:
            documents.setdefault(file.document_id, file.path)
    return Scope(generation.chunk_ids(list(documents)), documents)


def _files(generation: Generation) -> list[_File]:
    changed = {row.path: _day(row.mtime_ns) for row in generation.ledger()}
    return [
        _File(path, document.id, document.media_type, changed.get(path))
        for document in generation.documents()
        for path in document.paths
    ]


def _day(mtime_ns: int) -> date | None:
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9).date()
    except (ValueError, OverflowError, OSError):  # a file system may hold any number
        return None


def _conditions(filters: Filters, files: Sequence[_File]) -> dict[str, dict[str, set[str]]]:
    """For each flag in use, the paths that each of its values lets through."""
    paths = [file.path for file in files]
    found = {"--in": {pattern: matching(pattern, paths) for pattern in filters.within}}
    if first := filters.since:
        found["--since"] = {str(first): {f.path for f in files if f.changed and f.changed >= first}}
    found["--type"] = {
        kind: {f.path for f in files if kind.casefold().lstrip("*.") in f.kinds} for kind in filters.kinds
    }
    return {flag: alternatives for flag, alternatives in found.items() if alternatives}


def _hint(flag: str, value: str, files: Sequence[_File], generation: Generation) -> str:
    """What there is instead of what was asked for."""
    if flag == "--type":
        kinds = Counter(PurePath(file.path).suffix[1:].casefold() or "no extension" for file in files)
        return f"The index has {', '.join(f'{kind} ({n})' for kind, n in kinds.most_common())}."
    if flag == "--since":
        newest = max((file.changed for file in files if file.changed), default=None)
        return f"The newest file is of {newest}." if newest else "The index knows no file's date."
    indexed = {file.path for file in files}
    ledger = {row.path: row for row in generation.ledger()}
    for path in sorted(matching(value, ledger)):
        reason = ledger[path].reason or "it has no text"
        return f"{PurePath(path).name} is not in the index ({ledger[path].status}): {reason}."
    return nearest(value, indexed)
