"""The parser process: reads one file after the other and hands back documents as JSON lines.

Started by rag.ingest.sandbox as `python -m rag.ingest.parse_child LIMITS`, where LIMITS is the JSON
of `Limits`.
"""

from __future__ import annotations

import faulthandler
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rag.child import Parent, limit_memory
from rag.errors import DocumentError
from rag.ingest.readers import Limits, read
from rag.ingest.readers.base import too_large
from rag.types import Document, Section

BACKSTOP_S = 10.0
"""So long after the file's time limit the process ends itself, should the parent be gone."""


def main(read_file: Callable[[Path, Limits], Document] = read) -> None:
    """Serve the parent until it closes the pipe."""
    parent = Parent()
    limits = Limits(**json.loads(sys.argv[1]))
    limit_memory(limits.memory_bytes)
    while message := parent.receive():
        # works while a C library holds the interpreter, unlike a thread or a signal handler
        faulthandler.dump_traceback_later(limits.seconds + BACKSTOP_S, exit=True)
        parent.send(_answer(Path(message["path"]), limits, read_file))
        faulthandler.cancel_dump_traceback_later()


def _answer(path: Path, limits: Limits, read_file: Callable[[Path, Limits], Document]) -> dict[str, Any]:
    try:
        return {"document": to_json(read_file(path, limits))}
    except DocumentError as error:
        return error.as_dict()
    except MemoryError:
        return too_large(limits.memory_bytes).as_dict()


def to_json(document: Document) -> dict[str, Any]:
    """A document as plain JSON values; sections as lists."""
    sections = [[s.text, s.page, s.line, list(s.heading)] for s in document.sections]
    return {
        "id": document.id,
        "path": document.path,
        "title": document.title,
        "media_type": document.media_type,
        "parser": document.parser,
        "unit": document.unit,
        "notes": list(document.notes),
        "sections": sections,
    }


def from_json(values: dict[str, Any]) -> Document:
    """The document that `to_json` was given."""
    sections = tuple(
        Section(text, page, line, tuple(heading)) for text, page, line, heading in values["sections"]
    )
    return Document(**{**values, "sections": sections, "notes": tuple(values["notes"])})


if __name__ == "__main__":
    main()
