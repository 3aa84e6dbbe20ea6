"""Markdown, line by line: headings in both styles, fenced code left alone, line numbers kept."""

from __future__ import annotations

import re
from pathlib import Path

from rag.ingest.readers import tables
from rag.ingest.readers.base import Limits, Outline, Parsed, clean, one_line
from rag.ingest.readers.decoding import decode
from rag.types import Section

_ATX = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RULE = re.compile(r"[\s|:-]*-[\s|:-]*$")
_IMAGE = re.compile(r"!\[([^\]\n]{0,500})\]\([^()\n]{0,2000}\)")
_LINK = re.compile(
    r"\[((?:[^\[\]\n]|\[[^\[\]\n]{0,200}\]){1,500})\]"
    r"\(\s*<?([^()<>\s]{0,2000})>?(?:\s+[\"'][^\n\"']{0,500}[\"'])?\s*\)"
)
_STRONG = re.compile(r"(\*\*|__)(?=\S)([^\n*_]{1,1000}?)(?<=\S)\1")
_EMPHASIS = re.compile(r"(?<![\w*])([*_])(?=[^\s*_])([^\n*_]{1,1000}?)(?<=[^\s*_])\1(?![\w*])")
_TAG = re.compile(
    r"</?(?:a|b|i|em|strong|span|div|p|br|center|sup|sub|img|font|u|kbd|table|caption|thead|tbody|tr|td|th|ul|ol|li|"
    r"dl|dt|dd|details|summary|blockquote|hr|h[1-6]|section|figure|figcaption)(?:\s[^<>\n]{0,1000})?/?>",
    re.I,
)
_ANCHOR = re.compile(r"\{[#:.][^{}\n]{0,200}\}$")
_TITLE = re.compile(r"""title\s*:\s*["']?(.*?)["']?\s*$""", re.I)


def read_markdown(path: Path, limits: Limits) -> Parsed:
    """One section per heading; YAML front matter gives the title and stays text."""
    title, sections = sections_of(decode(path.read_bytes()))
    return Parsed(sections, "markdown", title)


def sections_of(text: str, first_line: int = 1) -> tuple[str, tuple[Section, ...]]:
    """Title from the front matter or the first top heading, and the sections."""
    outline = Outline()
    title = fill(text, outline, first_line)
    return title, outline.finish()


def fill(text: str, outline: Outline, first_line: int = 1) -> str:
    """Add the text to an outline; returns its title, "" for none."""
    lines = clean(text).split("\n")
    front = _front_matter(lines)
    title = next((match[1] for line in lines[1:front] if (match := _TITLE.match(line))), "")
    start = n = front
    if front:
        outline.add("\n".join(lines[1 : front - 1]).strip("\n"), first_line + 1)
    fence = ""
    while n < len(lines):
        fence, inside = _fenced(lines[n], fence)
        level, name, used = (0, "", 1) if inside else _heading(lines, n)
        if level:
            _body(outline, lines[start:n], first_line + start)
            outline.heading(level, name, first_line + n)
            title = title or (name if level == 1 else "")
            start = n + used
        n += used
    _body(outline, lines[start:], first_line + start)
    return title


def _front_matter(lines: list[str]) -> int:
    """Number of lines that the front matter takes, its fences included."""
    if not lines or lines[0].rstrip() != "---":
        return 0
    for n, line in enumerate(lines[1:200], start=1):
        if line.rstrip() in ("---", "..."):
            return n + 1 if any(":" in each for each in lines[1:n]) else 0
    return 0


def _fenced(line: str, fence: str) -> tuple[str, bool]:
    """The fence open after this line ("" for none), and whether the line belongs to code."""
    match = _FENCE.match(line)
    if not fence:
        return (
            (match[1], True)
            if match and not ("`" in match[1] and "`" in line[match.end() :])
            else ("", False)
        )
    closes = (
        match and match[1][0] == fence[0] and len(match[1]) >= len(fence) and not line[match.end() :].strip()
    )
    return ("" if closes else fence), True


def _heading(lines: list[str], n: int) -> tuple[int, str, int]:
    """Level (0 for no heading), title and the number of lines it takes."""
    match = _ATX.match(lines[n])
    if match:
        return len(match[1]), _title(lines[n][match.end() :]), 1
    line = lines[n]
    underline = _UNDERLINE.match(lines[n + 1]) if n + 1 < len(lines) else None
    if (
        underline
        and line.strip()
        and not line.startswith("    ")
        and not re.match(r"\s*([-*+>|]|\d+[.)])\s?", line)
    ):
        above = lines[n - 1].strip() if n else ""
        if not above and not (underline[1][0] == "-" and "|" in line):
            return (1 if underline[1][0] == "=" else 2), _title(line), 2
    return 0, "", 1


def _title(text: str) -> str:
    """A heading's words without closing marks and anchor."""
    text = text.strip()
    bare = text.rstrip("#")
    if not bare or bare[-1] in " \t":
        text = bare.rstrip()
    return _inline(_ANCHOR.sub("", text).rstrip())


def _body(outline: Outline, lines: list[str], first_line: int) -> None:
    """Add the lines between two headings, emptied of markup where that loses nothing."""
    plain: list[str] = []
    fence = ""
    names: list[str] | None = None
    for n, line in enumerate(lines):
        fence, inside = _fenced(line, fence)
        cells = None if inside else _cells(line)
        if cells is None:
            names = None
            plain.append(line if inside else _inline(line))
        elif names is None and n + 1 < len(lines) and "|" in lines[n + 1] and _RULE.match(lines[n + 1]):
            names = cells
            plain.append(" | ".join(filter(None, cells)))
        elif names is not None and _RULE.match(line):
            plain.append("")
        else:
            plain.append(tables.line(cells, names))
    skipped = next((n for n, line in enumerate(plain) if line.strip()), 0)
    outline.add("\n".join(plain[skipped:]).rstrip(), first_line + skipped)


def _cells(line: str) -> list[str] | None:
    stripped = line.strip()
    if not stripped.startswith("|") or stripped.count("|") < 2:
        return None
    parts = re.split(r"(?<!\\)\|", stripped.removeprefix("|").removesuffix("|"))
    return [one_line(_inline(part).replace("\\|", "|")) for part in parts]


def _inline(text: str) -> str:
    """Links as their words, with the address where it leads to the web; emphasis and tags dropped."""
    if "[" in text:
        text = _IMAGE.sub(r"\1", text)
        text = _LINK.sub(lambda m: _linked(m[1], m[2]), text)
    if "<" in text and "`" not in text:
        text = _TAG.sub("", text)
    if "`" not in text:
        text = _EMPHASIS.sub(r"\2", _STRONG.sub(r"\2", text))
    return text


def _linked(words: str, address: str) -> str:
    return (
        f"{words} ({address})" if address.startswith(("http://", "https://")) and address != words else words
    )
