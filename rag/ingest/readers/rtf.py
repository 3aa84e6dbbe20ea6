"""RTF through striprtf."""

from __future__ import annotations

import re
from pathlib import Path

from rag.errors import Unreadable
from rag.ingest.readers.base import Limits, Parsed, one_line
from rag.types import Section

_TITLE = re.compile(r"\{\\title ([^{}\\]+)\}")
_ROW_ENDS = re.compile(r"\|[ \t]*$", re.M)
_BULLETS = re.compile(r"^[ \t]*[\ufffd\uf0b7·•][ \t]+", re.M)
_BLANKS = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def read_rtf(path: Path, limits: Limits) -> Parsed:
    """The whole text as one section. Raises Unreadable."""
    from striprtf.striprtf import rtf_to_text

    # RTF is seven-bit by definition; bytes above are in the code page that \ansicpg names
    content = path.read_bytes().decode("latin-1")
    if not content.lstrip().startswith("{\\rtf"):
        raise Unreadable("is no RTF file", "Open it in a word processor and save it again.")
    text = rtf_to_text(content, encoding="cp1252", errors="replace")
    title = _TITLE.search(content[:100_000])
    text = _BULLETS.sub("- ", _ROW_ENDS.sub("", text).replace("|", " | "))
    sections = (Section(_BLANKS.sub("\n\n", text).strip()),)
    return Parsed(sections, "striprtf", one_line(title[1]) if title else "")
