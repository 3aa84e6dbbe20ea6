"""The paragraphs around a cited passage, its words marked: what a footnote shows of any format."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.page.matching import Span, joined
from rag.store.generation import Generation
from rag.types import Chunk

AROUND = 800
"""Characters in front of the cited words and behind them that are shown at most."""
_BREAKS = ("\n\n", "\n", " ")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a document's text; `marked`: cited words."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class PassageView:
    """A document's text around its citations, which `heading`, outermost first, and `place` locate.

    `cut_before` and `cut_after` tell that the document goes on there.
    """

    segments: tuple[Segment, ...]
    heading: tuple[str, ...]
    place: str
    cut_before: bool
    cut_after: bool


def around(
    generation: Generation | None,
    chunk: Chunk,
    cited: Sequence[Span],
    before: int = AROUND,
    after: int = AROUND,
) -> PassageView:
    """The paragraphs around what is cited of `chunk.text`, at most `before` and `after` characters of them.

    `cited` are one (start, end) or more; those that touch get one mark. The paragraphs end where the page
    or the heading changes. They are whole where they are short enough, and begin and end at a line
    otherwise. Without the document, or where its text has changed, the chunk is all that is shown.
    """
    text, at, (first, last) = _source(generation, chunk)
    marked = joined((at + start, at + end) for start, end in cited)
    start, end = marked[0][0], marked[-1][1]
    begin = _begin(text, max(first, start - before), first, start)
    finish = _finish(text, min(last, end + after), last, end)
    segments = tuple(_segments(text, begin, marked, finish))
    cut_before, cut_after = bool(text[:begin].strip()), bool(text[finish:].strip())
    return PassageView(segments, chunk.heading, chunk.place, cut_before, cut_after)


def as_html(segments: Sequence[Segment]) -> str:
    """The segments as one `<div class="passage">` with `<mark>`, everything else escaped.

    Line breaks become `<br>`: Markdown, should the page pass it on as such, ends HTML at a blank line.
    Blanks are kept (`white-space: pre-wrap`), so that tables and code stand as they do in the text.
    """
    marked = {True: "<mark>{}</mark>", False: "{}"}
    body = "".join(marked[segment.marked].format(_escaped(segment.text)) for segment in segments)
    return f'<div class="passage" style="white-space: pre-wrap">{body}</div>'


def _segments(text: str, begin: int, marked: Sequence[Span], finish: int) -> Iterator[Segment]:
    """What is marked and what lies between, without empty lines at the ends."""
    edges = [begin, *itertools.chain.from_iterable(marked), finish]
    for n, (start, end) in enumerate(itertools.pairwise(edges)):
        piece = text[start:end]
        piece = piece.lstrip("\n") if start == begin else piece
        piece = piece.rstrip() if end == finish else piece
        if piece:
            yield Segment(piece, n % 2 == 1)


def _escaped(text: str) -> str:
    return re.sub("\r\n?|\n", "<br>", html.escape(text))


def _source(generation: Generation | None, chunk: Chunk) -> tuple[str, int, Span]:
    """A text that holds the chunk's, where it does, and what of it may be shown."""
    try:
        text = generation.document_text(chunk.document_id) if generation else ""
    except KeyError:
        text = ""
    if generation is None or text[chunk.start : chunk.end] != chunk.text:  # read anew, by another reader
        return chunk.text, 0, (0, len(chunk.text))
    return text, chunk.start, _reach(generation, chunk)


def _reach(generation: Generation, chunk: Chunk) -> Span:
    """From where to where the text has the chunk's page and heading, as its neighbours tell."""
    chunks = list(generation.rows.document_chunks(chunk.document_id).values())
    here = next((n for n, other in enumerate(chunks) if other.start == chunk.start), None)
    if here is None:
        return chunk.start, chunk.end
    first = last = here
    while first and _together(chunks[first - 1], chunk):
        first -= 1
    while last + 1 < len(chunks) and _together(chunks[last + 1], chunk):
        last += 1
    return chunks[first].start, max(other.end for other in chunks[first : last + 1])


def _together(chunk: Chunk, other: Chunk) -> bool:
    """Whether one heading of one page is over both chunks; the names of a table's columns may follow it."""
    levels = min(len(chunk.heading), len(other.heading))
    return chunk.page == other.page and chunk.heading[:levels] == other.heading[:levels]


def _begin(text: str, earliest: int, first: int, start: int) -> int:
    """Where to begin: the earliest paragraph from there on, or else line, or else word."""
    if earliest == first:
        return first
    for mark in _BREAKS:
        place = text.find(mark, earliest - len(mark), start)
        if place >= 0:
            return place + len(mark)
    return earliest


def _finish(text: str, latest: int, last: int, end: int) -> int:
    """Where to end: behind the last paragraph up to there, or else line, or else word."""
    if latest == last:
        return last
    for mark in _BREAKS:
        place = text.rfind(mark, end, latest + len(mark))
        if place >= 0:
            return place
    return latest
