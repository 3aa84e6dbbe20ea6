"""Ingests once more what an index holds, in a process of its own: the same passages, a new index.

    python -m rag.evaluation.reingest SOURCE_ROOT TARGET_ROOT

Prints {"chunks", "seconds"}: from passages to a published index, without imports and loading the model.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rag.embedding import load_embedder
from rag.evaluation.corpus import add_cut
from rag.settings import load_settings
from rag.store.generation import Collection, Generation
from rag.types import Chunk, Document, Section


def main(source: str, target: str) -> None:
    settings = load_settings()
    embedder = load_embedder(settings.embedding)
    with Collection(Path(source)).open() as generation:
        documents = cut_documents(generation)
    embedder.embed_query("warm up")
    start = time.perf_counter()
    new = Collection(Path(target))
    with new.writer(embedder, settings.chunk, task="benchmark") as writer:
        add_cut(writer, documents, embedder)
        with writer.publish() as published:
            done = {"chunks": published.chunk_count, "seconds": time.perf_counter() - start}
    print(json.dumps(done))


def cut_documents(generation: Generation) -> list[tuple[Document, Sequence[Chunk]]]:
    """All documents of an index with their passages."""
    found: list[tuple[Document, Sequence[Chunk]]] = []
    for stored in generation.documents():
        text = generation.document_text(stored.id)
        document = Document(stored.id, stored.paths[0], stored.title, stored.media_type, (Section(text),))
        found.append((document, list(generation.rows.document_chunks(stored.id).values())))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
