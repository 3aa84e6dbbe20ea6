"""Documents, chunks and vectors computed from a few words, for tests of the store."""

from __future__ import annotations

import hashlib

import numpy as np

from rag.settings import ChunkSettings
from rag.store.generation import Collection, Generation, Writer
from rag.store.ledger import LedgerRow
from rag.store.manifest import EmbedderIdentity
from rag.types import Chunk, Document, Section

DIMENSION = 16
IDENTITY = EmbedderIdentity("hashes", "r1", DIMENSION)
CHUNKING = ChunkSettings()


def vector(text):
    """A unit vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")
    row = np.random.default_rng(seed).standard_normal(DIMENSION)
    return (row / np.linalg.norm(row)).astype(np.float32)


def document(text, title="", path="/docs/a.txt", **fields):
    """A document with one section per line of `text`."""
    id = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    sections = tuple(
        Section(line, n + 1, heading=(f"part {n + 1}",)) for n, line in enumerate(text.split("\n"))
    )
    return Document(id, path, title or path.rpartition("/")[2], "text/plain", sections, "sample", **fields)


def chunks_of(document, path=""):
    """One chunk per section."""
    chunks, start = [], 0
    for section in document.sections:
        end = start + len(section.text)
        id = hashlib.sha256(f"{document.id} {start}".encode()).hexdigest()[:32]
        where = (path or document.path, document.title, section.page, None, section.heading, document.unit)
        chunks.append(Chunk(id, document.id, section.text, start, end, *where))
        start = end + 2
    return chunks


def put(writer, document, *paths):
    """Store a document and its ledger rows as ingest does."""
    paths = paths or (document.path,)
    chunks = chunks_of(document)
    vectors = np.array([vector(chunk.searchable) for chunk in chunks], np.float32).reshape(-1, DIMENSION)
    writer.put_document(document, paths, chunks, vectors)
    for n, path in enumerate(sorted(paths)):
        writer.put_ledger(ledger_row(path, document, "duplicate" if n else "ok"))


def ledger_row(path, document=None, status="ok", reason=""):
    characters = len(document.text) if document else 0
    id = document.id if document else None
    return LedgerRow(
        path, id or "", characters, 1, "text/plain", status, reason, "sample", characters, 1.0, id
    )


def writer_of(collection: Collection, **options) -> Writer:
    return collection.writer(IDENTITY, CHUNKING, **options)


def publish(collection: Collection, *documents) -> Generation:
    """Add documents on top of what is there."""
    with writer_of(collection) as writer:
        for each in documents:
            put(writer, each)
        return writer.publish()


def texts(generation):
    """What a generation holds, in a comparable form: text by chunk id."""
    return {chunk.id: chunk.text for chunk in generation.chunks(generation.chunk_ids().tolist()).values()}
