"""Sources and footnotes as text for a terminal."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rag.citations import UNSUPPORTED_MARK
from rag.console import clean, clean_line, paint, unpainted
from rag.types import Answer, Citation, Hit, Token

INDENT = "    "


class Wrapper:
    """Breaks streamed text between words; a word is held back until it is whole.

    `width` is in characters; None leaves the text as it is.
    """

    def __init__(self, width: int | None) -> None:
        self._width = width
        self._column = 0
        self._word = ""

    def feed(self, text: str) -> str:
        """What can be shown now that `text` has come."""
        if self._width is None:
            return text
        *ready, self._word = re.split(r"(?<=\s)", self._word + text)
        return "".join(map(self._place, ready))

    def flush(self) -> str:
        """The last word."""
        word, self._word = self._word, ""
        return self._place(word) if self._width else word

    def _place(self, word: str) -> str:
        assert self._width is not None
        if word.endswith("\n"):
            self._column = 0
            return word
        seen = unpainted(word)
        wraps = 0 < self._column < self._column + len(seen.rstrip()) > self._width
        self._column = len(seen) if wraps else self._column + len(seen)
        return f"\n{word}" if wraps else word


def token(piece: Token, out: IO[str]) -> str:
    """A piece of an answer: the words that answer in bold, the mark of what was not found in yellow."""
    text = clean(piece.text)
    if piece.exact:
        return paint(text, "1", out)
    return paint(text, "33", out) if text.strip() == UNSUPPORTED_MARK else text


def standalone(question: str, out: IO[str]) -> str:
    """What a question that continues a conversation is taken to ask."""
    return paint(f"Taken as: {clean_line(question)}", "2", out) + "\n"


def sources(hits: Sequence[Hit], out: IO[str]) -> str:
    """One line a passage: its number, where it stands, and how it begins."""
    if not hits:
        return "No passage matches.\n"
    lines = [paint("Sources", "1", out)]
    for number, hit in enumerate(hits, start=1):
        head = f"[{number}] {clean_line(hit.chunk.place)}"
        begin = _fit(clean_line(_trail(hit)), width() - len(head) - 4)
        lines.append(f" {paint(head, '36', out)}  {begin}".rstrip())
    return "\n".join(lines) + "\n"


def footnotes(answer: Answer, out: IO[str]) -> str:
    """Each cited place once, with the quotes that the answer does not show itself."""
    if answer.abstained:
        return "The passages above come nearest.\n"
    lines = []
    for number in dict.fromkeys(citation.number for citation in answer.citations):
        cited = [citation for citation in answer.citations if citation.number == number]
        lines.append(f"{paint(f'[{number}]', '36', out)} {clean_line(_where(cited[0]))}")
        quotes = dict.fromkeys(map(_quoted, cited))
        lines += [
            f"{INDENT}{_fit(each, width() - len(INDENT))}" for each in quotes if each not in answer.text
        ]
    if answer.model:
        lines += [_fit(f"Note: {note}", width()) for note in answer.model.notes]
    return "".join(line + "\n" for line in lines)


def _trail(hit: Hit) -> str:
    """Headings and first words of a passage."""
    return " > ".join([*hit.chunk.heading[-2:], hit.chunk.text])


def _where(citation: Citation) -> str:
    chunk = citation.hit.chunk
    trail = " > ".join(chunk.heading)
    return "  ".join(part for part in (chunk.place, trail, f"({near(chunk.path)})") if part)


def near(path: str) -> str:
    """The path as seen from the working folder, where it lies inside."""
    file, here = Path(path), Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else path


def _quoted(citation: Citation) -> str:
    return f'"{clean_line(" ".join(citation.quote.split()))}"'


def _fit(text: str, columns: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= columns else text[: max(columns - 1, 0)] + "…"


def width() -> int:
    """Columns to fill: the terminal's, at most 140; 100 where there is none."""
    return min(shutil.get_terminal_size((100, 24)).columns, 140)
