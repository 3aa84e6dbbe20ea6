"""Nearest vectors by cosine. The only module that knows FAISS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.cores import usable_cores
from rag.errors import IndexDamaged
from rag.store.files import sync_file, write_failed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = Sequence[int] | NDArray[np.int64]

UNIT_TOLERANCE = 1e-2


class VectorIndex:
    """Exact search over unit vectors, so inner product is cosine; ids are the caller's int64."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def create(cls, dimension: int) -> VectorIndex:
        """An empty index for vectors of `dimension` numbers."""
        faiss = _faiss()
        return cls(faiss.IndexIDMap2(faiss.IndexFlatIP(dimension)))

    @classmethod
    def open(cls, path: Path, read_only: bool = True) -> VectorIndex:
        """Read a saved index; `read_only` maps the file instead of loading it. Raises IndexDamaged."""
        faiss = _faiss()
        try:
            # a mapped index crashes the process when changed, so a writer loads it
            return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if read_only else 0))
        except RuntimeError as error:
            raise IndexDamaged(
                f"{path} is not a readable vector index", "Run ingest.py --rebuild."
            ) from error

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def ids(self) -> NDArray[np.int64]:
        """All ids, in no particular order."""
        return _faiss().vector_to_array(self._index.id_map)

    def add(self, ids: Ids, vectors: NDArray[np.float32]) -> None:
        """Add vectors of shape (len(ids), dimension). Raises ValueError unless they are of unit length."""
        import numpy as np

        rows = np.ascontiguousarray(vectors, np.float32).reshape(-1, self.dimension)
        keys = np.asarray(ids, np.int64)
        if len(keys) != len(rows):
            raise ValueError(f"{len(keys)} ids for {len(rows)} vectors")
        lengths = np.linalg.norm(rows, axis=1)
        if not np.all(np.abs(lengths - 1) < UNIT_TOLERANCE):  # also refuses NaN
            raise ValueError("vectors must be of unit length")
        if len(keys):
            self._index.add_with_ids(rows, keys)

    def remove(self, ids: Ids) -> int:
        """Remove these ids, unknown ones being ignored; returns how many went. Costs one pass over all."""
        import numpy as np

        return int(self._index.remove_ids(np.asarray(ids, np.int64))) if len(ids) and len(self) else 0

    def search(
        self, query: NDArray[np.float32], k: int, allowed: Ids | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids and cosines of the `k` nearest to a unit vector of shape (dimension,), best first.

        Fewer than `k` come back when there are not as many. With `allowed` only those ids compete.
        """
        import numpy as np

        count = min(k, len(self) if allowed is None else len(allowed), len(self))
        if count <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        faiss = _faiss()
        # For one query FAISS scans with a selector in 40 % of the time that it needs without one
        # (100,000 x 384, AVX-512), hence a selector that lets everything through.
        selector = faiss.IDSelectorAll() if allowed is None else faiss.IDSelectorBitmap(_bitmap(allowed))
        row = np.ascontiguousarray(query, np.float32).reshape(1, self.dimension)
        scores, ids = self._index.search(row, count, params=faiss.SearchParameters(sel=selector))
        found = ids[0] >= 0  # FAISS pads with -1
        return ids[0][found], scores[0][found]

    def reconstruct(self, ids: Ids) -> NDArray[np.float32]:
        """The vectors of these ids, shape (len(ids), dimension). Raises KeyError for an unknown id."""
        import numpy as np

        if not len(ids):
            return np.empty((0, self.dimension), np.float32)
        try:
            return self._index.reconstruct_batch(np.asarray(ids, np.int64))
        except RuntimeError as error:
            raise KeyError(f"an id among {list(ids)[:5]} is not in the vector index") from error

    def save(self, path: Path) -> None:
        """Write to a new file and flush it. Raises FileExistsError, IndexWriteFailed."""
        # write_index truncates its target and flushes nothing: never point it at a live file
        if path.exists():
            raise FileExistsError(path)
        try:
            _faiss().write_index(self._index, str(path))
            sync_file(path)
        except (RuntimeError, OSError) as error:
            raise write_failed(path.parent, error) from error


def _bitmap(allowed: Ids) -> NDArray[np.uint8]:
    import numpy as np

    keys = np.asarray(allowed, np.int64)
    member = np.zeros(int(keys.max()) + 1, bool)
    member[keys[keys >= 0]] = True
    return np.packbits(member, bitorder="little")


def _faiss() -> Any:
    import faiss

    if faiss.omp_get_max_threads() != usable_cores():
        faiss.omp_set_num_threads(usable_cores())
    return faiss
