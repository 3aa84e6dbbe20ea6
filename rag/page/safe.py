"""An answer's text as HTML of our own making: the Markdown that models write, and footnotes as chips.

markdown-it-py finds the structure, with HTML, links and images switched off: they stay text, as they stand.
Every tag is written here, and everything else is escaped.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rag.citations import UNSUPPORTED_MARK
from rag.hidden import without_hidden

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

Span = tuple[int, int]

_RULES = "fence heading list table hr newline backticks emphasis".split()
"""What is known beside paragraphs; backslashes and entities stand for themselves, as in a quoted path."""
_TAGS = frozenset("p strong em ul ol li table thead tbody tr th td".split())
_NESTING = 40

BOLD, UNSUPPORTED = "bold", "unsupported"
_WRAPS = {BOLD: "<strong>{}</strong>", UNSUPPORTED: '<span class="unsupported">{}</span>'}
_MARKS = {BOLD: ("\ue000", "\ue001"), UNSUPPORTED: ("\ue002", "\ue003")}
"""Characters of the private area that carry the ranges' ends through the parser."""
_STEPS = {mark: (kind, step) for kind, marks in _MARKS.items() for mark, step in zip(marks, (1, -1))}
_MARK = re.compile(f"([{''.join(_STEPS)}])")
# What Markdown knows only where nothing stands in front of it.
_OPENING = re.compile(r"(?:(?<![^\n])(?:```|~~~)[^\n]*\n|(?:[-+]|#{1,6}|\d{1,9}[.)])[ \t]|[\s*_|`])*")
_CLOSING = " \t\r\n*_|`~"
_FOOTNOTE = re.compile(rf"(\[\d{{1,4}}\]|{re.escape(UNSUPPORTED_MARK)})")


def chip_link(number: int, title: str) -> str:
    """A chip that leads to `#source-n`, with the place that it stands for as its title."""
    title = html.escape(" ".join(title.split()))
    return f'<a class="chip" href="#source-{number:d}" title="{title}">{number:d}</a>'


def answer_html(
    text: str,
    chip: Callable[[int], str],
    bold: Iterable[Span] = (),
    unsupported: Iterable[Span] = (),
) -> str:
    """The answer as HTML, for `Answer.text` or the part of it that has come so far.

    `chip` makes the HTML that a footnote `[n]` becomes, "" to leave it as it is; it alone is trusted.
    `bold` and `unsupported` are ranges of the text, to stand out and to be marked as not found.
    All is one line: Markdown, should the page pass it on as such, ends HTML at a blank line.
    """
    source = _marked(text, {BOLD: bold, UNSUPPORTED: unsupported})
    return _Writer(source, chip).blocks(_parser().parse(source))


def _marked(text: str, ranges: dict[str, Iterable[Span]]) -> str:
    """The text with a mark at either end of each range, moved inwards past Markdown's own marks."""
    text = _MARK.sub("\ufffd", text)
    marks: list[tuple[int, int, str]] = []
    for kind, spans in ranges.items():
        for start, end in spans:
            opening = _OPENING.match(text, start, end)
            start = opening.end() if opening else start
            end = start + len(text[start:end].rstrip(_CLOSING))
            if start < end:
                marks += [(start, 1, _MARKS[kind][0]), (end, 0, _MARKS[kind][1])]
    for place, _, mark in sorted(marks, reverse=True):
        text = text[:place] + mark + text[place:]
    return text.replace("\r\n", "\n").replace("\r", "\n")


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("zero", {"maxNesting": _NESTING}).enable(_RULES)


class _Writer:
    """Turns one answer's tokens into HTML; which ranges are open is all that it keeps in mind."""

    def __init__(self, source: str, chip: Callable[[int], str]) -> None:
        self._lines = source.split("\n")
        self._chip = chip
        self._open: Counter[str] = Counter()

    def blocks(self, tokens: Sequence[Token]) -> str:
        return "".join(map(self._block, tokens))

    def _block(self, token: Token) -> str:
        if token.map and token.level == 0:
            self._resume(token.map[0])
        if token.type == "inline":
            return "".join(map(self._inline, token.children or ()))
        if token.type == "fence":
            code = self._text(token.content, html.escape).replace("\n", "&#10;")
            return f"<pre><code>{code}</code></pre>"
        if token.type == "heading_open":
            return "<p><strong>"
        if token.type == "heading_close":
            return "</strong></p>"
        return self._tag(token)

    def _inline(self, token: Token) -> str:
        if token.type == "code_inline":
            return f"<code>{self._text(token.content, html.escape)}</code>"
        if token.type in ("softbreak", "hardbreak"):
            return "<br>"
        return self._tag(token) if token.nesting else self._text(token.content, self._footnoted)

    def _tag(self, token: Token) -> str:
        if token.hidden or token.tag not in _TAGS or not token.nesting:
            return ""
        if token.nesting < 0:
            return f"</{token.tag}>"
        start = token.attrGet("start")
        return f'<ol start="{int(start):d}">' if start is not None else f"<{token.tag}>"

    def _text(self, content: str, written: Callable[[str], str]) -> str:
        """The text with its marks as tags; each piece has its own, so that they never cross others."""
        parts = []
        for piece in _MARK.split(content):
            if piece in _STEPS:
                kind, step = _STEPS[piece]
                self._open[kind] += step
            elif piece:
                shown = written(without_hidden(piece)[0])
                for kind, wrap in _WRAPS.items():
                    shown = wrap.format(shown) if self._open[kind] > 0 else shown
                parts.append(shown)
        return "".join(parts)

    def _footnoted(self, text: str) -> str:
        return "".join(map(self._footnote, _FOOTNOTE.split(text)))

    def _footnote(self, piece: str) -> str:
        if piece == UNSUPPORTED_MARK:
            return f'<span class="not-found">{html.escape(piece)}</span>'
        made = self._chip(int(piece[1:-1])) if _FOOTNOTE.fullmatch(piece) else ""
        return made or html.escape(piece)

    def _resume(self, line: int) -> None:
        """Take up the ranges open where a block begins, should a mark before have been lost on the way."""
        self._open = Counter()
        for mark in _MARK.findall("\n".join(self._lines[:line])):
            kind, step = _STEPS[mark]
            self._open[kind] += step
