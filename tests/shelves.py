"""Small collections of files, for tests of the way from a question to an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath

from rag.ingest.readers.kinds import BINARY_EXTENSIONS, TEXT_EXTENSIONS
from rag.settings import ChunkSettings
from rag.store.generation import Collection
from rag.store.ledger import LedgerRow
from rag.types import Chunk, Document, Section
from tests.fakes import HashingEmbedder

KINDS = {**TEXT_EXTENSIONS, **BINARY_EXTENSIONS}


def shelve(
    root: Path,
    files: Mapping[str, Sequence[str]],
    embedder: HashingEmbedder,
    changed: Mapping[str, str] | None = None,
    failed: Mapping[str, str] | None = None,
) -> Collection:
    """Index files given as the texts of their pages; files of equal texts become one document.

    `changed` gives days of change (ISO), `failed` files that could not be read, with the reason.
    """
    collection = Collection(root, "shelf")
    contents: dict[tuple[str, ...], list[str]] = {}
    for path, pages in files.items():
        contents.setdefault(tuple(pages), []).append(path)
    with collection.writer(embedder, ChunkSettings()) as writer:
        for number, (pages, paths) in enumerate(contents.items()):
            kind = KINDS[PurePath(paths[0]).suffix]
            sections = tuple(Section(text, page) for page, text in enumerate(pages, 1))
            document = Document(f"doc{number}", paths[0], "", kind, sections)
            chunks = _chunks(document)
            writer.put_document(document, paths, chunks, embedder.embed_passages(list(pages)))
            for path in paths:
                writer.put_ledger(_row(path, (changed or {}).get(path, "2024-01-01"), "ok", "", document))
        for path, reason in (failed or {}).items():
            writer.put_ledger(_row(path, "2024-01-01", "failed", reason))
        writer.publish().close()
    return collection


def _chunks(document: Document) -> list[Chunk]:
    chunks, start = [], 0
    for section in document.sections:
        end = start + len(section.text)
        id = f"{document.id}-{section.page}"
        chunks.append(Chunk(id, document.id, section.text, start, end, document.path, "", section.page))
        start = end + 2
    return chunks


def _row(path: str, day: str, status: str, reason: str, document: Document | None = None) -> LedgerRow:
    mtime_ns = int(datetime.fromisoformat(day).timestamp()) * 10**9
    kind, id = (document.media_type, document.id) if document else ("", None)
    return LedgerRow(path, id or "", 1, mtime_ns, kind, status, reason, document_id=id)  # type: ignore[arg-type]
