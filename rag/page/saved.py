"""An answer as it is kept: the page shows it again, after a restart too, exactly as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rag.explain import explanation_record
from rag.records import answer_record, citation_record, hit_record, unsupported_record
from rag.types import Answer, Chunk, Citation, Hit, Turn, Unsupported

VERSION = 1
"""Of the record's shape; a reader of another shape looks at it."""


def saved(answer: Answer, bold: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
    """What `rag_query.py --json --explain` prints, and what showing needs beyond that; JSON types only.

    `bold` are the places in the answer's text of the words that answer, as (start, end): the tokens that
    are `exact`. A `hit` is an index into `hits`; None where the passage is not among them.
    """
    order = {hit.chunk.id: n for n, hit in enumerate(answer.hits)}
    explained = explanation_record(answer)
    return {
        "version": VERSION,
        **answer_record(answer),
        **explained,
        "standalone": answer.standalone or answer.question,
        "disputed": answer.disputed,
        "bold": [[start, end] for start, end in bold],
        "citations": [_citation(each, order) for each in answer.citations],
        "hits": [_hit(hit) for hit in answer.hits],
        "unsupported": [_unsupported(each, order) for each in answer.unsupported],
        "dropped": [
            {
                "place": each.hit.chunk.place,
                "path": each.hit.chunk.path,
                "stage": each.stage,
                "reason": each.reason,
            }
            for each in answer.dropped
        ],
    }


def turn(record: Mapping[str, Any]) -> Turn:
    """What the next question of the conversation needs of an answer that was kept."""
    return Turn(record["question"], record["standalone"], record["answer"])


def _citation(citation: Citation, order: Mapping[str, int]) -> dict[str, Any]:
    chunk = citation.hit.chunk
    return {
        **citation_record(citation),
        **_where(chunk),
        "hit": order.get(chunk.id),
        "start": citation.start,
        "end": citation.end,
    }


def _hit(hit: Hit) -> dict[str, Any]:
    chunk = hit.chunk
    return {
        **hit_record(hit),
        **_where(chunk),
        "title": chunk.title,
        "chunk": chunk.id,
        "start": chunk.start,
        "end": chunk.end,
    }


def chunk_of(hit: Mapping[str, Any]) -> Chunk:
    """The passage of one of a record's hits."""
    return Chunk(
        hit["chunk"],
        hit["document_id"],
        hit["text"],
        hit["start"],
        hit["end"],
        hit["path"],
        hit["title"],
        hit["page"],
        hit["line"],
        tuple(hit["heading"]),
        hit["unit"],
    )


def _unsupported(unsupported: Unsupported, order: Mapping[str, int]) -> dict[str, Any]:
    record = unsupported_record(unsupported)
    if unsupported.hit and unsupported.span:
        chunk, (start, end) = unsupported.hit.chunk, unsupported.span
        record["nearest"] |= {**_where(chunk), "hit": order.get(chunk.id), "start": start, "end": end}
    return record


def _where(chunk: Chunk) -> dict[str, Any]:
    """The place as a person names it, and what leads to the document."""
    return {
        "place": chunk.place,
        "heading": list(chunk.heading),
        "document_id": chunk.document_id,
        "unit": chunk.unit,
    }
