"""A folder of documents with its index, for tests of ingestion."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from rag.ingest.pipeline import IngestReport, ingest
from rag.settings import ChunkSettings, IngestSettings, Settings
from rag.store.generation import Collection

if TYPE_CHECKING:
    from numpy.typing import NDArray

SETTINGS = Settings(ingest=IngestSettings(workers=1), chunk=ChunkSettings(tokens=40, overlap=8))


class WordEmbedder:
    """Counts words by their hash, so that texts with the same words are near each other."""

    name, revision, dimension, max_tokens = "words", "1", 64, 100

    def __init__(self, after: Callable[[], None] = lambda: None) -> None:
        self.seen: list[str] = []
        self._after = after

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()) or ["none"]:
                vectors[row, crc32(word.encode()) % self.dimension] += 1
        self._after()
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self.embed_passages([text])[0]


class Desk:
    """A folder of documents, a collection, and a short way to run and look."""

    def __init__(self, tmp_path: Path) -> None:
        self.docs = tmp_path / "docs"
        self.docs.mkdir()
        self.collection = Collection(tmp_path / "index")
        self.embedder = WordEmbedder()

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def run(self, *roots: Path, settings: Settings = SETTINGS, **options: object) -> IngestReport:
        self.embedder.seen = []
        return ingest(roots or [self.docs], self.collection, self.embedder, settings, **options)  # type: ignore[arg-type]

    def holds(self) -> dict[str, tuple[str, ...]]:
        """Text of each document, by the names of the files that hold it."""
        with self.collection.open() as live:
            return {
                live.document_text(each.id): tuple(Path(path).name for path in each.paths)
                for each in live.documents()
            }

    def ledger(self) -> dict[str, tuple[str, str]]:
        with self.collection.open() as live:
            return {Path(row.path).name: (row.status, row.reason) for row in live.ledger()}

    def sound(self) -> None:
        assert self.collection.verify().problems == ()


def counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.added, report.changed, report.unchanged, report.removed, len(report.failures)


def furnished(tmp_path: Path) -> Desk:
    """A desk with two documents, not indexed yet."""
    made = Desk(tmp_path)
    made.write("cats.txt", "Cats purr when they are content.\n")
    made.write("deep/dogs.md", "# Dogs\n\nDogs bark at strangers.\n")
    return made
