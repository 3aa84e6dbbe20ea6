"""From a PDF page's positioned lines to paragraphs, list items and table rows (pure)."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from rag.ingest.readers.base import one_line

SOFT_HYPHEN = "\ufffe"
"""What PDFium puts where a word is broken at the end of a line."""

HEADING_SIZE = 1.15
HEADING_WORDS = 14

_BULLET = re.compile(r"(?:[•●○◦▪■□‣⁃∙·*\uf0b7\uf0a7➢✓o–—-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)])\s")
_SENTENCE_END = re.compile(r"[.!?:;][\"'”’)\]]*$")
_NUMBERS = re.compile(r"(?:^|\s)[$€£(]*\d[\d,.%)]*")
_DOTS = re.compile(r"(?:\.\s?){4,}|(?:_\s?){6,}")
_BROKEN_WORD = re.compile(f"(\\w+){SOFT_HYPHEN}\\s*(\\w+)")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and its box in points; `bottom` and `top` count upwards from the page's foot."""

    text: str
    left: float = 0.0
    bottom: float = 0.0
    right: float = 0.0
    top: float = 0.0

    @property
    def height(self) -> float:
        return abs(self.top - self.bottom)

    def with_text(self, text: str) -> Line:
        return replace(self, text=text)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading on `page` (from 1); `line` is its place among the page's lines where that is known."""

    level: int
    title: str
    page: int
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    number: int
    lines: list[Line]

    def find(self, title: str, start: int) -> int | None:
        """Index of the line from `start` on where `title` begins, or None."""
        wanted = _plain(title)
        if not wanted:
            return None
        for n in range(start, len(self.lines)):
            joined = _plain(" ".join(line.text for line in self.lines[n : n + 3]))
            own = _plain(self.lines[n].text)
            if own and joined.startswith(wanted) and (len(own) <= len(wanted) + 4 or wanted.startswith(own)):
                return n
        return None


def hyphen_mender(texts: Iterable[str]) -> Callable[[str], str]:
    """A function that joins words broken at a line's end.

    A hyphen stays where the document writes the word with one elsewhere, and where the second
    part is no lower-case word ("Anglo-American").
    """
    words: Counter[str] = Counter()
    hyphened: Counter[str] = Counter()
    for text in texts:
        words.update(word.lower() for word in re.findall(r"\w+", text))
        hyphened.update(word.lower() for word in re.findall(r"\w+-\w+", text))

    def join(match: re.Match[str]) -> str:
        first, second = match.groups()
        whole, parts = (first + second).lower(), f"{first}-{second}".lower()
        if words[whole] == 0 and (hyphened[parts] > 0 or not second[0].islower() or first[-1].isdigit()):
            return f"{first}-{second}"
        return first + second

    return lambda text: _BROKEN_WORD.sub(join, text).replace(SOFT_HYPHEN, "-")


def merge_lines(lines: list[Line]) -> str:
    """The lines as text: wrapped ones joined, paragraphs apart, list items and table rows on their own."""
    if not lines:
        return ""
    right = _right_edge(lines)
    text = lines[0].text
    for before, line in itertools.pairwise(lines):
        gap = _gap(before, line)
        if gap > 0.75 or _sizes_differ(before, line):
            text += "\n\n" + line.text
        elif _continues(before, line, right):
            text = _join(text, line.text)
        else:
            text += "\n" + line.text
    return text


def sized_headings(pages: list[Page]) -> list[Heading]:
    """Headings by their larger type, for files without an outline; sizes give the levels."""
    heights: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            heights[round(line.height, 0)] += len(line.text)
    if not heights:
        return []
    body = heights.most_common(1)[0][0]
    found: list[tuple[float, Heading]] = []
    for page in pages:
        for n, line in enumerate(page.lines):
            if _is_heading(page, n, body):
                found.append((round(line.height), Heading(1, one_line(line.text), page.number, n)))
    sizes = sorted({size for size, _ in found}, reverse=True)
    return [replace(heading, level=sizes.index(size) + 1) for size, heading in found]


def _is_heading(page: Page, n: int, body: float) -> bool:
    line = page.lines[n]
    words = line.text.split()
    if line.height < body * HEADING_SIZE or not 1 <= len(words) <= HEADING_WORDS or len(line.text) < 3:
        return False
    if not any(c.isalpha() for c in line.text) or line.text[-1] in ".,;" or line.text[0].islower():
        return False
    below = page.lines[n + 1 : n + 2]  # a wrapped heading or large prose goes on in the same type
    above = page.lines[n - 1 : n] if n else []
    return all(abs(other.height - line.height) > 0.5 for other in (*below, *above))


def _continues(before: Line, line: Line, right: float) -> bool:
    """Whether `line` goes on with the paragraph of `before`."""
    if _BULLET.match(line.text) or _DOTS.search(before.text) or _is_row(before.text) or _is_row(line.text):
        return False
    full = before.right >= right - max(0.12 * (right - before.left), 4 * before.height)
    indented = line.left > before.left + 0.8 * line.height and not _BULLET.match(before.text)
    if line.text[0].islower() and not indented:
        return full or not _SENTENCE_END.search(before.text)
    return full and not indented


def _is_row(text: str) -> bool:
    """Whether a line is a row of figures rather than prose."""
    words = text.split()
    return len(_NUMBERS.findall(text)) >= 2 and len(_NUMBERS.findall(text)) * 2.5 >= len(words)


def _join(text: str, more: str) -> str:
    if text.endswith("-") and len(text) > 1 and text[-2].isalpha() and more[0].islower():
        return text + more  # a hyphen that PDFium left is a written one: "in-" + "network"
    return f"{text} {more}"


def _gap(before: Line, line: Line) -> float:
    """White space between two lines, in line heights; a jump back up the page counts as a wide one."""
    height = statistics.mean((before.height, line.height)) or 10.0
    space = before.bottom - line.top
    if space < -3 * height:
        return 9.0
    return space / height


def _sizes_differ(before: Line, line: Line) -> bool:
    small, large = sorted((before.height, line.height))
    return small > 0 and large / small > 1.25


def _right_edge(lines: list[Line]) -> float:
    """Where full lines end: a high quantile, so that one long line does not decide."""
    ends = sorted(line.right for line in lines for _ in range(1 + len(line.text) // 20))
    return ends[int(len(ends) * 0.8)]


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())
