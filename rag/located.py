"""The documents and passages that a person means by "handbook.pdf:3"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from rag.pathglob import matching, nearest
from rag.store.chunks import StoredDocument
from rag.store.generation import Generation
from rag.types import PLACE_WORDS, Chunk

_NUMBERED = re.compile(r"(.+):(\d{1,9})")
SHOWN_PAGES = 12


def located(generation: Generation, place: str) -> tuple[list[StoredDocument], int | None]:
    """The documents meant, and the number behind the colon; the whole may be a file's name, too."""
    documents = generation.documents()
    paths = [path for document in documents for path in document.paths]
    for pattern, number in _readings(place):
        if found := matching(pattern, paths):
            return [document for document in documents if found & set(document.paths)], number
    return [], None


def on_page(chunks: Mapping[int, Chunk], number: int | None) -> dict[int, Chunk]:
    """The chunks on that page, or those that hold that line."""
    if number is None:
        return dict(chunks)
    on_page = {row: chunk for row, chunk in chunks.items() if chunk.page == number}
    if on_page:
        return on_page
    last: dict[str, int] = {}
    for row, chunk in chunks.items():  # in reading order
        if chunk.page is None and chunk.line is not None:
            last.setdefault(chunk.document_id, row)
            if chunk.line <= number:
                last[chunk.document_id] = row
    return {row: chunks[row] for row in last.values()}


def missing(generation: Generation, place: str) -> str:
    """Why no document is there: it failed, it was empty, or nobody gave it in."""
    ledger = {row.path: row for row in generation.ledger()}
    for pattern, _ in _readings(place):
        for path in sorted(matching(pattern, ledger)):
            reason = ledger[path].reason or "no text"
            return f"{PurePath(path).name} is not in the index ({ledger[path].status}): {reason}"
    name = _readings(place)[-1][0]
    paths = [path for document in generation.documents() for path in document.paths]
    passed_over = "nobody gave it to ingest.py, or it is hidden, excluded or binary"
    return f"{name} is not in the index: {passed_over}. {nearest(name, paths)}"


def _readings(place: str) -> list[tuple[str, int | None]]:
    numbered = _NUMBERED.fullmatch(place)
    return [(place, None), (numbered[1], int(numbered[2]))] if numbered else [(place, None)]


def no_passage(documents: Sequence[StoredDocument], chunks: Mapping[int, Chunk], number: int | None) -> str:
    """What is there instead of a passage with that number, in words."""
    unit = PLACE_WORDS.get(documents[0].unit, documents[0].unit).replace("p.", "page")
    pages = sorted({chunk.page for chunk in chunks.values() if chunk.page is not None})
    notes = "".join(f"; {note}" for document in documents for note in document.notes)
    if not chunks:
        return f"{named(documents)} holds no text to search{notes}"
    if not pages:
        return f"no passage there: {named(documents)} has no numbered pages or lines{notes}"
    some = ", ".join(map(str, pages[:SHOWN_PAGES])) + (", ..." if len(pages) > SHOWN_PAGES else "")
    return f"no passage on {unit} {number}; there are some on {some}{notes}"


def named(documents: Sequence[StoredDocument]) -> str:
    """The first file's name, and how many more there are."""
    names = [PurePath(document.paths[0]).name for document in documents]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
