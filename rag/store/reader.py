"""A published generation, as a reader sees it: whole, verified, and unchanged for as long as it is open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import IndexMismatch
from rag.store.chunks import ChunkStore, StoredDocument
from rag.store.ledger import LedgerRow
from rag.store.lexical import LexicalIndex
from rag.store.manifest import (
    CHUNKS,
    LEXICAL,
    VECTORS,
    Manifest,
    Pointer,
    damaged,
    fix,
    folder_name,
    read_manifest,
)
from rag.store.vectors import VectorIndex
from rag.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Generation:
    """Vectors, words and texts that belong together; every method may be called from any thread.

    A chunk's row number is its id in `vectors` and `lexical`. Close it, or use it in a `with`.
    """

    def __init__(self, folder: Path, number: int, manifest: Manifest) -> None:
        self.folder = folder
        self.number = number
        self.manifest = manifest
        self.rows = ChunkStore.open(folder / CHUNKS)
        try:
            self.vectors = VectorIndex.open(folder / VECTORS)
            self.lexical = LexicalIndex.open(folder / LEXICAL, manifest.lexical)
        except BaseException:
            self.rows.close()
            raise

    @classmethod
    def open(cls, collection: Path, pointer: Pointer, check: bool = True) -> Generation:
        """Open what `pointer` names; `check` compares every byte with the manifest first.

        Raises IndexDamaged naming the file, IndexMismatch for another schema.
        """
        folder = collection / folder_name(pointer.number)
        manifest = read_manifest(collection, pointer)
        try:
            if check:
                manifest.check_files(folder)
            return cls(folder, pointer.number, manifest)
        except OSError as error:
            raise damaged(Path(error.filename or folder), f"cannot be read: {error.strerror}") from error

    @property
    def chunk_count(self) -> int:
        return self.manifest.counts.chunks

    def chunks(self, ids: Iterable[int]) -> dict[int, Chunk]:
        """The chunks with these row numbers, by row number; unknown ones are left out."""
        return self.rows.chunks(ids)

    def chunk_ids(self, document_ids: Sequence[str] | None = None) -> NDArray[np.int64]:
        """Row numbers of all chunks or of those documents' chunks: what `allowed` takes in a search."""
        import numpy as np

        return np.array(self.rows.rows(document_ids), np.int64)

    def document_text(self, document_id: str) -> str:
        """The whole text that chunk offsets point into. Raises KeyError."""
        return self.rows.document_text(document_id)

    def documents(self) -> list[StoredDocument]:
        """All documents, by their first path."""
        return self.rows.documents()

    def ledger(self) -> list[LedgerRow]:
        """One row per file that was looked at, by path."""
        return self.rows.ledger()

    def check_embedder(self, name: str, revision: str, dimension: int) -> None:
        """Raises IndexMismatch when the vectors are another embedder's."""
        built = self.manifest.embedder
        if built.space != (name, revision, dimension):
            raise IndexMismatch(
                f"the index '{self.folder.parent.name}' was built with {built}, "
                f"not with {name} (revision {revision}, {dimension} dimensions)",
                f"Use that embedder, or build anew. {fix('--rebuild', self.folder.parent.name)}",
            )

    def close(self) -> None:
        """Let go of the files; harmless when done twice."""
        self.rows.close()

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
