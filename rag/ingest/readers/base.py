"""What every reader takes and gives: limits in, sections out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import TooMuch
from rag.types import Section

# Everything below the space but tab, newline and carriage return, plus DEL and the C1 block:
# no reader of text needs them, terminals obey them, and SQLite stops at a NUL.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
# What Word's symbol fonts put into the private area, as the characters that readers see.
_SYMBOLS = str.maketrans(
    {
        "\uf0fc": "✓",
        "\uf0fb": "✗",
        "\uf0fe": "☑",
        "\uf0a8": "☐",
        "\uf0b7": "•",
        "\uf0a7": "▪",
        "\uf0d8": "➢",
        "\uf0e0": "→",
    }
)
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one file is read; whatever lies beyond is named in the document's notes."""

    pages: int = 5_000
    rows: int = 200_000
    characters: int = 50_000_000
    file_bytes: int = 256 * 2**20
    memory_bytes: int = 1024 * 2**20
    seconds: float = 60.0
    ocr: bool = True
    ocr_language: str = "eng"


def too_large(memory_bytes: int) -> TooMuch:
    """The error of a file whose reader ran out of memory."""
    return TooMuch(
        f"needed more than {memory_bytes // 2**20} MiB", "Split the file, or raise ingest.file_memory_mb."
    )


@dataclass(frozen=True, slots=True)
class Parsed:
    """A reader's harvest; `title` is empty where the file names none, `unit` as in Document."""

    sections: tuple[Section, ...]
    parser: str
    title: str = ""
    unit: str = "page"
    notes: tuple[str, ...] = ()


Reader = Callable[[Path, Limits], Parsed]


def clean(text: str) -> str:
    """Drop control characters, make every line end a newline, and leave only valid Unicode."""
    text = _LINE_ENDS.sub("\n", text)
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text)).translate(_SYMBOLS)


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def numbered(word: str, numbers: Iterable[int], most: int = 20) -> str:
    """As in "pages 3, 5" or "page 3"."""
    listed = list(numbers)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{word}{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed[:most]))}{rest}"


@dataclass(slots=True)
class _Heading:
    level: int
    title: str
    line: int | None
    used: bool = False


@dataclass(slots=True)
class Outline:
    """Collects blocks of text under a running path of headings, for formats that have headings.

    A heading stands in the path of the text below it, not in the text; one with nothing below it
    becomes text itself, so that no word of the file is lost.
    """

    page: int | None = None
    separator: str = "\n\n"
    _path: list[_Heading] = field(default_factory=list)
    _blocks: list[str] = field(default_factory=list)
    _line: int | None = None
    _sections: list[Section] = field(default_factory=list)
    _bare: tuple[str, ...] | None = None

    def heading(self, level: int, title: str, line: int | None = None) -> None:
        """Begin a heading; `level` counts from 1, and numbers that skip are fine."""
        title = one_line(title)
        if not title:
            return
        self._flush()
        self._leave(level)
        if self._path:
            self._path[-1].used = True
        self._path.append(_Heading(level, title, line))

    def add(self, text: str, line: int | None = None) -> None:
        """Append a block of text under the current heading."""
        if not text.strip():
            return
        if not self._blocks:
            self._line = line
        self._blocks.append(text)

    def turn(self, page: int) -> None:
        """Begin a page; the headings go on."""
        self._flush()
        self.page = page

    def finish(self) -> tuple[Section, ...]:
        """All sections in the order of the file."""
        self._flush()
        self._leave(0)
        return tuple(self._sections)

    def _titles(self) -> tuple[str, ...]:
        return tuple(heading.title for heading in self._path)

    def _flush(self) -> None:
        if not self._blocks:
            return
        if self._path:
            self._path[-1].used = True
        text = self.separator.join(self._blocks)
        self._sections.append(Section(text, self.page, self._line, self._titles()))
        self._blocks, self._line, self._bare = [], None, None

    def _leave(self, level: int) -> None:
        while self._path and self._path[-1].level >= level:
            heading = self._path.pop()
            if not heading.used:
                self._add_bare(heading)

    def _add_bare(self, heading: _Heading) -> None:
        parents = self._titles()
        if self._bare == parents and self._sections[-1].page == self.page:
            last = self._sections.pop()
            text = f"{last.text}\n{heading.title}"
            self._sections.append(Section(text, last.page, last.line, parents))
        else:
            self._sections.append(Section(heading.title, self.page, heading.line, parents))
        self._bare = parents
        if self._path:
            self._path[-1].used = True
