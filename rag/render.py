"""Sources, footnotes and search stages as text for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rag.console import clean_line, paint
from rag.types import Answer, Citation, Hit

INDENT = "    "


def sources(hits: Sequence[Hit], out: IO[str]) -> str:
    """One line a passage: its number, where it stands, and how it begins."""
    if not hits:
        return "No passage matches.\n"
    lines = [paint("Sources", "1", out)]
    for number, hit in enumerate(hits, start=1):
        head = f"[{number}] {clean_line(hit.chunk.place)}"
        begin = _fit(clean_line(_trail(hit)), _width() - len(head) - 4)
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
        lines += [
            f"{INDENT}{_fit(_quoted(citation), _width() - len(INDENT))}"
            for citation in cited
            if _quoted(citation) not in answer.text
        ]
        lines += [f"{INDENT}not fully supported" for citation in cited if not citation.verified][:1]
    return "".join(line + "\n" for line in lines)


def stages(hits: Sequence[Hit], out: IO[str]) -> str:
    """A table of each passage's rank and score in every stage of the search."""
    names = list(dict.fromkeys(stage for hit in hits for stage in hit.how))
    rows = [["", *names, "score", "place"]]
    for number, hit in enumerate(hits, start=1):
        cells = [
            f"{hit.how[stage].rank} ({hit.how[stage].score:.3f})" if stage in hit.how else "-"
            for stage in names
        ]
        rows.append([f"[{number}]", *cells, f"{hit.score:.3f}", clean_line(hit.chunk.place)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n" + "\n".join([paint(lines[0], "2", out), *lines[1:]]) + "\n"


def _trail(hit: Hit) -> str:
    """Headings and first words of a passage."""
    return " > ".join([*hit.chunk.heading[-2:], hit.chunk.text])


def _where(citation: Citation) -> str:
    chunk = citation.hit.chunk
    trail = " > ".join(chunk.heading)
    return "  ".join(part for part in (chunk.place, trail, f"({_near(chunk.path)})") if part)


def _near(path: str) -> str:
    """The path as seen from the working folder, where it lies inside."""
    file, here = Path(path), Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else path


def _quoted(citation: Citation) -> str:
    return f'"{clean_line(" ".join(citation.quote.split()))}"'


def _fit(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 140)
