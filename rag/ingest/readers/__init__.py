"""From a file to a Document: sniff the kind, pick the reader, clean what it found.

A new format is one module with one function `(path, limits) -> Parsed` and one line in `READERS`.
Readers run in a child process (rag.ingest.sandbox), so a hostile file may crash or hang them.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from rag.errors import DocumentError, TooMuch, Unreadable
from rag.hidden import without_hidden
from rag.ingest.readers import delimited, kinds, mail
from rag.ingest.readers.base import Limits, Parsed, Reader, clean, one_line, too_large
from rag.ingest.readers.epub import read_epub
from rag.ingest.readers.html import read_html
from rag.ingest.readers.kinds import sniff
from rag.ingest.readers.markdown import read_markdown
from rag.ingest.readers.notebook import read_notebook
from rag.ingest.readers.opendocument import read_opendocument
from rag.ingest.readers.pdf import read_pdf
from rag.ingest.readers.rst import read_rst
from rag.ingest.readers.rtf import read_rtf
from rag.ingest.readers.sheets import read_sheets
from rag.ingest.readers.slides import read_pptx
from rag.ingest.readers.structured import read_json, read_json_lines
from rag.ingest.readers.text import read_text
from rag.ingest.readers.word import read_docx
from rag.ingest.readers.xmltree import read_xml
from rag.types import Document, Section

__all__ = ["READERS", "Limits", "read", "sniff"]

READERS: dict[str, Reader] = {
    kinds.PDF: read_pdf,
    kinds.DOCX: read_docx,
    kinds.PPTX: read_pptx,
    kinds.XLSX: read_sheets,
    kinds.XLSB: read_sheets,
    kinds.XLS: read_sheets,
    kinds.ODS: read_sheets,
    kinds.ODT: read_opendocument,
    kinds.ODP: read_opendocument,
    kinds.RTF: read_rtf,
    kinds.EPUB: read_epub,
    kinds.HTML: read_html,
    kinds.XML: read_xml,
    kinds.MARKDOWN: read_markdown,
    kinds.RST: read_rst,
    kinds.CSV: delimited.read_csv,
    kinds.TSV: delimited.read_csv,
    kinds.JSON: read_json,
    kinds.JSONL: read_json_lines,
    kinds.NOTEBOOK: read_notebook,
    kinds.EML: mail.read_eml,
    kinds.MBOX: mail.read_mbox,
    kinds.MSG: mail.read_msg,
    kinds.TEXT: read_text,
    kinds.CODE: read_text,
}

_REFUSED = {
    kinds.ARCHIVE: ("archives are not opened", "Unpack it and ingest the folder."),
    kinds.LEGACY: (
        "the old binary formats of Word and PowerPoint are not read",
        "Open it in Word, PowerPoint or LibreOffice and save it as .docx or .pptx.",
    ),
    kinds.ENCRYPTED: ("is protected by a password", "Save a copy without the password and ingest that."),
}
_NO_TITLES = frozenset(
    (
        "",
        "untitled",
        "word document",
        "powerpoint presentation",
        "powerpoint-präsentation",
        "slide 1",
    )
)
"""What programs write where nobody chose a title."""

_DAMAGED = "Open it in the program that made it and save it again."


def read(path: Path, limits: Limits) -> Document:
    """Read one file. Raises Unreadable and TooMuch, nothing else but interrupts."""
    try:
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise TooMuch(
                f"is larger than {limits.file_bytes // 2**20} MiB ({size / 2**20:,.0f} MiB)",
                "Split it, or raise ingest.max_file_mb.",
            )
        digest = _sha256(path)
        media_type = sniff(path)
        parsed = _parse(path, media_type, limits) if size else Parsed((), "", notes=("the file is empty",))
    except OSError as error:
        raise Unreadable(
            f"cannot be read: {error.strerror or error}", "Check the file and its permissions."
        ) from error
    sections, notes = _tidy(parsed, limits)
    title = one_line(without_hidden(clean(parsed.title))[0])[:300].removeprefix("Microsoft Word - ")
    title = path.name if title.lower() in _NO_TITLES else title
    return Document(digest, str(path), title, media_type, sections, parsed.parser, parsed.unit, notes)


def _parse(path: Path, media_type: str, limits: Limits) -> Parsed:
    if media_type not in READERS:
        raise Unreadable(*_REFUSED.get(media_type, ("is a binary file of unknown kind", "")))
    try:
        return READERS[media_type](path, limits)
    except (DocumentError, KeyboardInterrupt, SystemExit):
        raise
    except MemoryError as error:
        raise too_large(limits.memory_bytes) from error
    except RecursionError as error:
        raise TooMuch("its parts nest too deeply", "Such a file is damaged or hostile.") from error
    except BaseException as error:  # panics of Rust libraries do not derive from Exception
        reason = one_line(str(error))[:200]
        raise Unreadable(
            f"is damaged ({type(error).__name__}{': ' if reason else ''}{reason})", _DAMAGED
        ) from error


def _tidy(parsed: Parsed, limits: Limits) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Sections with clean text and headings, without empty ones, up to the limit of characters."""
    sections: list[Section] = []
    notes = parsed.notes
    left, hidden = limits.characters, 0
    for section in parsed.sections:
        text, count = without_hidden(clean(section.text))
        text, hidden = text.strip("\n"), hidden + count
        heading = tuple(one_line(without_hidden(clean(part))[0])[:300] for part in section.heading)
        if not text.strip():
            continue
        if len(text) > left:
            notes += (f"only the first {limits.characters:,} characters were read",)
            text = text[:left]
        left -= len(text)
        if text:
            sections.append(replace(section, text=text, heading=heading))
        if left <= 0:
            break
    if hidden:
        notes += (f"{hidden:,} invisible characters were left out",)
    return tuple(sections), tuple(clean(note) for note in notes)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
