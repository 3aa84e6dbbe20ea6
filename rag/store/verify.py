"""Does an opened generation hold together? What `ingest.py --verify` asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rag.store.chunks import text_hash
from rag.store.reader import Generation

SHOWN = 5
"""Ids named per problem."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, and every contradiction found, in words; `generation` is None when none opened."""

    generation: int | None
    files: int
    documents: int
    chunks: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def check(generation: Generation) -> Report:
    """Compare ids, counts, offsets, hashes and ledger; the files' bytes were compared on opening."""
    problems = (*_ids(generation), *_texts(generation), *_ledger(generation))
    counts = generation.manifest.counts
    return Report(
        generation.number, len(generation.manifest.files), counts.documents, counts.chunks, problems
    )


def _ids(generation: Generation) -> Iterator[str]:
    rows = set(generation.chunk_ids().tolist())
    for part, ids in (("vectors", generation.vectors.ids()), ("words", generation.lexical.ids())):
        found = ids.tolist()
        if missing := rows.difference(found):
            yield f"chunks without {part}: {sorted(missing)[:SHOWN]}"
        if extra := set(found) - rows:
            yield f"{part} without a chunk: {sorted(extra)[:SHOWN]}"
        if len(found) != len(set(found)):
            yield f"the same id twice in {part}"
    counts = generation.manifest.counts
    actual = (generation.rows.count("documents"), len(rows), len(generation.vectors))
    if actual != (counts.documents, counts.chunks, counts.vectors):
        yield f"the manifest counts {counts}, the files hold {actual}"


def _texts(generation: Generation) -> Iterator[str]:
    for document in generation.documents():
        text = generation.document_text(document.id)
        hashes = generation.rows.hashes(document.id)
        chunks = generation.rows.document_chunks(document.id)
        if len(text) != document.characters:
            yield f"document {document.id}: {len(text)} characters instead of {document.characters}"
        for row, chunk in chunks.items():
            if text[chunk.start : chunk.end] != chunk.text:
                yield f"chunk {row}: its text is not what its offsets point to"
            if text_hash(chunk) != hashes[row]:
                yield f"chunk {row}: its text is not what was embedded"


def _ledger(generation: Generation) -> Iterator[str]:
    paths = generation.rows.paths()
    rows = {row.path: row for row in generation.ledger()}
    for path, row in rows.items():
        if row.status in ("ok", "duplicate") and paths.get(path) != row.document_id:
            yield f"the ledger says {row.status} for {path}, but the documents do not know it"
    for path, document_id in paths.items():
        if path in rows and rows[path].document_id != document_id:
            yield f"{path} belongs to a document that the ledger does not name"
