"""Documents into passages: cut by langchain-text-splitters, sized in the embedder's own tokens."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from rag.sentences import sentence_spans
from rag.settings import ChunkSettings
from rag.tabular import column_names, first_row
from rag.types import SECTION_BREAK, Chunk, Document, Section

CountTokens = Callable[[Sequence[str]], list[int]]

# Tried in this order; each keeps its match, so that the pieces together are the text. The last but
# one cuts what has no blanks at all (base64, CJK) into short runs rather than single characters.
_SEPARATORS = [
    r"\n\s*\n",
    r"\n",
    r"(?<=[.!?])\s+",
    r"(?<=[。！？])",
    r"(?<=[;:,])\s+",
    r"\s+",
    r"(?s:.{24})",
    "",
]
_CHARACTERS_PER_TOKEN = 12
"""Above this many characters a token, size is counted in characters: BERT reads any word over 100
letters as one unknown token."""
CONTEXT_CHARACTERS = (100, 50, 25, 12, 0)
"""Longest title and headings of a context line, tried until most room is left to the passage."""
CONTEXT_SHARE = 1 / 3
HEADING_LEVELS = 4

Size = Callable[[str], int]
Span = tuple[int, int]


def split(
    document: Document, count_tokens: CountTokens, max_tokens: int, settings: ChunkSettings
) -> list[Chunk]:
    """Cut a document into chunks that the embedder reads whole, context line included.

    A chunk never crosses a section (page, heading), aims at `settings.tokens` and starts up to
    `settings.overlap` tokens early, at a sentence's beginning. `text[start:end]` of the document's
    text is the chunk. One that begins inside a table has the names of its columns as its last heading.
    `max_tokens` is the embedder's limit without special tokens. All chunks carry the same title, the
    document's, which may be shortened.
    """

    def size(text: str) -> int:
        return max(count_tokens([text])[0], len(text) // _CHARACTERS_PER_TOKEN)

    chunks: list[Chunk] = []
    offset = 0
    context = int(max_tokens * CONTEXT_SHARE)
    title = _shortened(document.title, context // 2, size)
    for section in document.sections:
        frame = _frame(document, title, section, context, size)
        room = max_tokens - size(frame.context + "\n")
        spans = _spans(section.text, room, settings, size)
        cut = _cut(frame, section.text, section.line, offset, spans)
        chunks.extend(_with_columns(chunk, section.text, offset, max_tokens, size) for chunk in cut)
        offset += len(section.text) + len(SECTION_BREAK)
    return chunks


def _spans(text: str, room: int, settings: ChunkSettings, size: Size) -> Iterator[Span]:
    overlap = min(settings.overlap, room // 4)
    begins = [start for start, _ in sentence_spans(text)] if overlap else []
    for start, end in _pieces(text, min(settings.tokens, room - overlap), size):
        early = _begin_early(text, start, begins, overlap, size)
        if size(text[early:end]) <= room:
            yield early, end
        else:  # a word cut in two has more tokens than its halves, rarely by more than there is room for
            yield from _halves(text, start, end, room, size)


def _pieces(text: str, aim: int, size: Size) -> Iterator[Span]:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        separators=_SEPARATORS,
        is_separator_regex=True,
        keep_separator="end",
        chunk_size=aim,
        chunk_overlap=0,  # only then each piece lies behind the one before, and is found there
        length_function=size,
    )
    end = 0
    for piece in splitter.split_text(text):
        start = text.index(piece, end)
        end = start + len(piece)
        yield start, end


def _begin_early(text: str, start: int, begins: Sequence[int], overlap: int, size: Size) -> int:
    """Move `start` back over whole sentences that together have at most `overlap` tokens."""
    best = start
    for n in range(bisect_left(begins, start) - 1, -1, -1):
        # Letters are asked first: a sentence without end is not to be read for each of its chunks.
        too_long = start - begins[n] >= (overlap + 1) * _CHARACTERS_PER_TOKEN
        if too_long or size(text[begins[n] : start]) > overlap:
            break
        best = begins[n]
    return best


def _halves(text: str, start: int, end: int, room: int, size: Size) -> Iterator[Span]:
    if size(text[start:end]) <= room or end - start < 2:
        if not text[start:end].isspace():
            yield start, end
        return
    middle = (start + end) // 2
    yield from _halves(text, start, middle, room, size)
    yield from _halves(text, middle, end, room, size)


def _shortened(text: str, room: int, size: Size) -> str:
    return next(text[:longest] for longest in CONTEXT_CHARACTERS if size(text[:longest]) <= room)


def _frame(document: Document, title: str, section: Section, room: int, size: Size) -> Chunk:
    """An empty chunk that carries what all chunks of the section share."""
    for longest in CONTEXT_CHARACTERS:
        frame = Chunk(
            id="",
            document_id=document.id,
            text="",
            start=0,
            end=0,
            path=document.path,
            title=title,
            page=section.page,
            heading=tuple(part[:longest] for part in section.heading[-HEADING_LEVELS:]),
            unit=document.unit,
        )
        if size(frame.context) <= room:
            break
    return frame


def _cut(frame: Chunk, text: str, line: int | None, offset: int, spans: Iterable[Span]) -> Iterator[Chunk]:
    """Fill the frame for each span; `line` is that of the section, `offset` its place in the document."""
    counted = 0
    for start, end in spans:
        if line is not None:  # counted on from the span before: from the start would be quadratic
            line += text.count("\n", counted, start) - text.count("\n", start, counted)
            counted = start
        yield replace(
            frame,
            id=_chunk_id(frame.document_id, offset + start, text[start:end]),
            text=text[start:end],
            start=offset + start,
            end=offset + end,
            line=line,
        )


def _with_columns(chunk: Chunk, text: str, offset: int, room: int, size: Size) -> Chunk:
    """A chunk that begins inside a table of the section `text` has the columns' names as its last heading."""
    row = first_row(chunk.text)
    names = None if row is None else column_names(text, chunk.start - offset + row)
    if not names or names[0] >= chunk.start - offset:
        return chunk
    columns = " ".join(text[slice(*names)].split())[: CONTEXT_CHARACTERS[0]]
    told = replace(chunk, heading=(*chunk.heading, columns))
    return told if size(told.searchable) <= room else chunk


def _chunk_id(document_id: str, start: int, text: str) -> str:
    return hashlib.sha256(f"{document_id}\n{start}\n{text}".encode()).hexdigest()[:32]
