"""The index that a dataset is asked of: built once, then found again in the cache."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import rag
from rag.console import clean_line, is_terminal
from rag.embedding import Embedder, load_embedder
from rag.errors import IndexDamaged, IndexMismatch, IndexMissing, InputNotFound
from rag.evaluation.datasets import QUESTIONS_FILE, Dataset
from rag.evaluation.progress import counted
from rag.ingest.chunking import split
from rag.places import cache_root
from rag.settings import ChunkSettings, Settings
from rag.store.chunks import text_hash
from rag.store.generation import Collection, Generation, Writer
from rag.types import Chunk, Document

INDEXING_CODE = (
    "embedding.py",
    "onnx.py",
    "sentences.py",
    "tabular.py",
    "types.py",
    "ingest/chunking.py",
    "store/chunks.py",
    "store/lexical.py",
    "store/vectors.py",
)
"""What decides how a text is indexed: when one of these changes, a cached index is no longer of use."""
READING_CODE = "ingest"
"""The same for real files, which have to be read first."""


def open_corpus(dataset: Dataset, embedder: Embedder, settings: Settings) -> Generation:
    """Open the dataset's index, building it where there is none for this corpus and these settings.

    Raises EvaluationError, StoreError.
    """
    collection = Collection(cache_root() / "evaluation", cache_name(dataset, embedder, settings))
    if dataset.folder:
        return _ingest_files(dataset.folder, collection, embedder, settings)
    try:
        return collection.open()
    except (IndexMissing, IndexDamaged, IndexMismatch):
        return _ingest_documents(dataset, collection, embedder, settings)


def open_folder(folder: Path, settings: Settings) -> Generation:
    """Open the index of a folder of files, brought up to date. Raises InputNotFound, StoreError."""
    if not folder.is_dir():
        raise InputNotFound(f"there is no folder {folder}", "Name the folder that holds your documents.")
    key = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    collection = Collection(cache_root() / "evaluation", f"folder-{key}")
    return _ingest_files(folder, collection, load_embedder(settings.embedding), settings)


def cache_name(dataset: Dataset, embedder: Embedder, settings: Settings) -> str:
    """A name that changes with the corpus, the embedder, the chunk settings and the code that indexes."""
    parts = (
        dataset.fingerprint,
        embedder.name,
        embedder.revision,
        settings.chunk.model_dump_json(),
        code_fingerprint((*INDEXING_CODE, READING_CODE) if dataset.folder else INDEXING_CODE),
    )
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return f"{re.sub(r'[^a-z0-9]+', '-', dataset.name.lower()).strip('-')[:40] or 'dataset'}-{key}"


def code_fingerprint(names: Sequence[str]) -> str:
    """Changes with the package's files and folders of these names."""
    digest = hashlib.sha256()
    for path in _sources(names):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _sources(names: Sequence[str]) -> Iterator[Path]:
    package = Path(rag.__file__).parent
    for name in names:
        path = package / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _ingest_files(folder: Path, collection: Collection, embedder: Embedder, settings: Settings) -> Generation:
    """Bring the index of real files up to date, the way `scripts/ingest.py` does it."""
    from rag.ingest.pipeline import ingest
    from rag.ingest.progress import shown

    exclude = (*settings.ingest.exclude, f"/{QUESTIONS_FILE}")
    reading = settings.ingest.model_copy(update={"exclude": exclude})
    settings = settings.model_copy(update={"ingest": reading})
    with shown(sys.stderr, is_terminal(sys.stderr)) as tell:
        rebuild = not _is_whole(collection)
        report = ingest(folder, collection, embedder, settings, tell, rebuild=rebuild)
    for path, reason in report.failures.items():
        print(clean_line(f"not read: {path}: {reason}"), file=sys.stderr)
    return collection.open()


def _is_whole(collection: Collection) -> bool:
    try:
        collection.open().close()
    except (IndexMissing, IndexDamaged, IndexMismatch):
        return False
    return True


def _ingest_documents(
    dataset: Dataset, collection: Collection, embedder: Embedder, settings: Settings
) -> Generation:
    assert dataset.documents is not None
    documents = list(dataset.documents())
    with collection.writer(embedder, settings.chunk, rebuild=True, task="evaluate") as writer:
        add_documents(writer, counted(documents, "indexing documents"), embedder, settings.chunk)
        return writer.publish()


EMBEDDED_TOGETHER = 256


def add_documents(
    writer: Writer,
    documents: Iterable[Document],
    embedder: Embedder,
    settings: ChunkSettings,
) -> None:
    """Cut, embed and store documents."""
    add_cut(
        writer,
        ((each, split(each, embedder.count_tokens, embedder.max_tokens, settings)) for each in documents),
        embedder,
    )


def add_cut(
    writer: Writer,
    documents: Iterable[tuple[Document, Sequence[Chunk]]],
    embedder: Embedder,
) -> None:
    """Embed and store documents that are cut already; equal passages are embedded once."""
    waiting: list[tuple[Document, Sequence[Chunk]]] = []
    for document in documents:
        waiting.append(document)
        if sum(len(chunks) for _, chunks in waiting) >= EMBEDDED_TOGETHER:
            _store(writer, waiting, embedder)
            waiting = []
    _store(writer, waiting, embedder)


def _store(
    writer: Writer,
    batch: Sequence[tuple[Document, Sequence[Chunk]]],
    embedder: Embedder,
) -> None:
    import numpy as np

    texts = {text_hash(chunk): chunk.searchable for _, chunks in batch for chunk in chunks}
    vectors = writer.known_vectors(list(texts))
    new = [digest for digest in texts if digest not in vectors]
    vectors |= zip(new, embedder.embed_passages([texts[digest] for digest in new]))
    for document, chunks in batch:
        rows = [vectors[text_hash(chunk)] for chunk in chunks]
        matrix = np.array(rows, np.float32).reshape(len(rows), embedder.dimension)
        writer.put_document(document, [document.path], chunks, matrix)
