"""Documents into passages: cut by langchain-text-splitters, sized in the embedder's own tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

from rag.sentences import sentence_spans
from rag.settings import ChunkSettings
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
HEADING_CHARACTERS = 100
HEADING_LEVELS = 4


def split(
    document: Document, count_tokens: CountTokens, max_tokens: int, settings: ChunkSettings
) -> list[Chunk]:
    """Cut a document into chunks that the embedder reads whole, context line included.

    A chunk never crosses a section (page, heading), aims at `settings.tokens` and starts up to
    `settings.overlap` tokens early, at a sentence's beginning. `text[start:end]` of the document's
    text is the chunk. `max_tokens` is the embedder's limit without special tokens.
    """

    def size(text: str) -> int:
        return max(count_tokens([text])[0], len(text) // _CHARACTERS_PER_TOKEN)

    chunks: list[Chunk] = []
    offset = 0
    for section in document.sections:
        frame = _frame(document, section)
        room = max_tokens - size(frame.context + "\n")
        aim = min(settings.tokens, max(room - settings.overlap, room // 2))
        for start, end in _spans(section.text, aim, settings.overlap, size):
            chunks.append(_cut(frame, section, offset, start, end))
        offset += len(section.text) + len(SECTION_BREAK)
    return chunks


def _spans(text: str, aim: int, overlap: int, size: Callable[[str], int]) -> Iterator[tuple[int, int]]:
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
        yield _begin_early(text, start, overlap, size), start + len(piece)
        end = start + len(piece)


def _begin_early(text: str, start: int, overlap: int, size: Callable[[str], int]) -> int:
    """Move `start` back over whole sentences that together have at most `overlap` tokens."""
    if not overlap or not start:
        return start
    window = max(0, start - overlap * _CHARACTERS_PER_TOKEN)
    best = start
    for begin, _ in reversed(sentence_spans(text[window:start])):
        if window + begin == window > 0 or size(text[window + begin : start]) > overlap:
            break
        best = window + begin
    return best


def _frame(document: Document, section: Section) -> Chunk:
    """An empty chunk that carries what all chunks of the section share."""
    return Chunk(
        id="",
        document_id=document.id,
        text="",
        start=0,
        end=0,
        path=document.path,
        title=document.title[:HEADING_CHARACTERS],
        page=section.page,
        heading=tuple(part[:HEADING_CHARACTERS] for part in section.heading[-HEADING_LEVELS:]),
        unit=document.unit,
    )


def _cut(frame: Chunk, section: Section, offset: int, start: int, end: int) -> Chunk:
    text = section.text[start:end]
    line = None if section.line is None else section.line + section.text.count("\n", 0, start)
    return Chunk(
        id=_chunk_id(frame.document_id, offset + start, text),
        document_id=frame.document_id,
        text=text,
        start=offset + start,
        end=offset + end,
        path=frame.path,
        title=frame.title,
        page=frame.page,
        line=line,
        heading=frame.heading,
        unit=frame.unit,
    )


def _chunk_id(document_id: str, start: int, text: str) -> str:
    return hashlib.sha256(f"{document_id}\n{start}\n{text}".encode()).hexdigest()[:32]
