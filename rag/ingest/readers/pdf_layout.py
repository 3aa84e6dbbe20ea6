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
BOLDER = 100

_BULLET = re.compile(r"(?:[•●○◦▪■□‣⁃∙·*\uf0b7\uf0a7➢✓o–—-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)])\s")
_SENTENCE_END = re.compile(r"[.!?:;][\"'”’)\]]*$")
_NUMBERS = re.compile(r"(?:^|\s)[$€£(]*\d[\d,.%)]*")
_FIGURES = re.compile(r"(?:\s[$€£]?\s?\(?-?(?:[\d.,]*\d%?\)?%?|[—–-]|N/?A)){2,}$")
_LABEL = re.compile(r"[A-Z][\w&/().# -]{1,40}:(?:\s|$)")
_NUMBERED = re.compile(r"(?:Item|Note|Section|Chapter|Part|Article|Table|Figure|Appendix)\s+[\dIVXA-Z]+\b")
_DOTS = re.compile(r"(?:\.\s?){4,}|(?:_\s?){6,}")
_COMPOUNDS = frozenset(
    "self well non cross long short high low full half part two three one cutting leading".split()
)
_BROKEN_WORD = re.compile(f"(\\w+){SOFT_HYPHEN}\\s*(\\w+)")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and its box in points; `bottom` and `top` count upwards from the page's foot.

    `size` is that of the type, in points, `weight` its boldness (400 is regular, 700 bold, and
    many fonts are only estimated, so that it says something in comparison only).
    """

    text: str
    left: float = 0.0
    bottom: float = 0.0
    right: float = 0.0
    top: float = 0.0
    size: float = 0.0
    weight: int = 0

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

    A hyphen stays where the document writes the word with one elsewhere, where both parts are
    words of the document and the whole is not, and before a capital ("Anglo-American").
    """
    words: Counter[str] = Counter()
    hyphened: Counter[str] = Counter()
    for text in texts:
        words.update(word.lower() for word in re.findall(r"\w+", text))
        hyphened.update(word.lower() for word in re.findall(r"\w+-\w+", text))

    def keeps_hyphen(first: str, second: str) -> bool:
        if words[(first + second).lower()]:
            return False
        both = min(len(first), len(second)) >= 3 and words[first.lower()] and words[second.lower()]
        written = hyphened[f"{first}-{second}".lower()] or not second[0].islower() or first[-1].isdigit()
        return bool(both or written or first.lower() in _COMPOUNDS)

    def join(match: re.Match[str]) -> str:
        first, second = match.groups()
        return f"{first}-{second}" if keeps_hyphen(first, second) else first + second

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
    """Headings by their larger or bolder type, for files without an outline; the type gives the levels."""
    types: Counter[tuple[float, int]] = Counter()
    for page in pages:
        for line in page.lines:
            types[_type(line)] += len(line.text)
    if not types:
        return []
    body = types.most_common(1)[0][0]
    running = _running_heads(pages)
    found: list[tuple[tuple[int, bool], Heading]] = []
    for page in pages:
        for n, line in enumerate(page.lines):
            if _is_heading(page, n, body) and _pattern(line.text) not in running:
                kind = round(line.size), line.weight >= body[1] + BOLDER
                found.append((kind, Heading(1, one_line(line.text), page.number, n)))
    order = sorted({kind for kind, _ in found}, reverse=True)
    return [replace(heading, level=order.index(kind) + 1) for kind, heading in found]


def _type(line: Line) -> tuple[float, int]:
    return round(line.size * 2) / 2, round(line.weight, -2)


def _is_heading(page: Page, n: int, body: tuple[float, int]) -> bool:
    line = page.lines[n]
    size, weight = body
    larger = line.size > size * HEADING_SIZE
    bolder = (
        line.size > size * 0.97 and line.weight >= weight + BOLDER and abs(line.left - _left_edge(page)) < 3
    )
    if not (larger or bolder) or not 3 <= len(line.text) <= 150 or len(line.text.split()) > HEADING_WORDS:
        return False
    if not any(c.isalpha() for c in line.text) or line.text[-1] in ".,;:" or line.text[0].islower():
        return False
    if _is_row(line.text) or (_BULLET.match(line.text) and not line.text[0].isalnum()):
        return False
    below = page.lines[
        n + 1 : n + 2
    ]  # a wrapped heading, large prose or a table's head goes on in the same type
    above = page.lines[n - 1 : n] if n else []
    return all(
        _type(other) != _type(line) or abs(_gap(*pair)) > 0.75
        for other, pair in (
            *((other, (line, other)) for other in below),
            *((other, (other, line)) for other in above),
        )
    )


def _left_edge(page: Page) -> float:
    return Counter(round(line.left) for line in page.lines).most_common(1)[0][0]


def _running_heads(pages: list[Page]) -> set[str]:
    """Lines that come back on many pages but for their numbers."""
    seen = Counter(pattern for page in pages for pattern in {_pattern(line.text) for line in page.lines})
    return {pattern for pattern, count in seen.items() if count > 2 and count > 0.3 * len(pages)}


def _pattern(text: str) -> str:
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", one_line(text).lower())


def _continues(before: Line, line: Line, right: float) -> bool:
    """Whether `line` goes on with the paragraph of `before`."""
    if _BULLET.match(line.text) or _DOTS.search(before.text) or _is_row(before.text) or _is_row(line.text):
        return False
    if _LABEL.match(line.text) and (_LABEL.search(before.text) or _BULLET.match(before.text)):
        return False
    if _LABEL.fullmatch(line.text):
        return False
    if not line.text[0].islower() and (_NUMBERED.match(line.text) or re.search(r"\s\d{1,4}$", before.text)):
        return False
    if line.left < before.left - max(4 * before.height, 0.15 * (right - line.left)):
        return False  # from a column on the right back to the left
    letter = (before.right - before.left) / len(before.text)
    full = before.right + letter * (len(line.text.split()[0]) + 2) > right  # its next word had no room
    indented = line.left > before.left + 0.8 * line.height and not _BULLET.match(before.text)
    if line.text[0].islower() and not indented:
        return full or not _SENTENCE_END.search(before.text)
    return full and not indented


def _is_row(text: str) -> bool:
    """Whether a line is a row of figures rather than prose."""
    if _FIGURES.search(text):
        return True
    figures = len(_NUMBERS.findall(text))
    return figures >= 2 and figures * 2.5 >= len(text.split())


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
