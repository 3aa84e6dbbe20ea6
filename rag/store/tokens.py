"""Token vectors of passages, for late interaction: segments of rows of bytes that are read in place.

A segment is two files: `NNNNNN.bin`, the rows of its passages one after another, and
`NNNNNN.index`, for each passage its id and its number of tokens as little-endian int64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import IndexDamaged
from rag.store.files import link_or_copy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SEGMENTS = 8
"""With more, all are copied into one: a question touches every segment that holds a candidate."""
ROWS, INDEX = ".bin", ".index"


class TokenVectors:
    """All segments in a folder, mapped rather than read."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self.folder = folder
        self.dimension = dimension
        self.segments: dict[str, list[int]] = {}
        self._places: dict[int, tuple[Any, int, int]] = {}
        for index in sorted(folder.glob(f"*{INDEX}")):
            self._add(index)

    def __len__(self) -> int:
        return len(self._places)

    def ids(self) -> NDArray[np.int64]:
        """All ids, each as often as it is stored, in no particular order."""
        import numpy as np

        return np.array([id for ids in self.segments.values() for id in ids], np.int64)

    def read(self, ids: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Per id its tokens' vectors, shape (tokens, dimension). Raises KeyError for an unknown id."""
        places = [self._places[id] for id in ids]
        return [rows[start:end] for rows, start, end in places]

    def _add(self, index: Path) -> None:
        import numpy as np

        try:
            table = np.fromfile(index, "<i8").reshape(-1, 2)
            rows = np.memmap(index.with_suffix(ROWS), np.uint8, "r").reshape(-1, self.dimension)
        except (OSError, ValueError) as error:
            raise IndexDamaged(f"{index} is not readable: {error}", "Run ingest.py --rebuild.") from error
        ends = np.cumsum(table[:, 1])
        if not len(ends) or ends[-1] != len(rows) or table[:, 1].min() < 1:
            raise IndexDamaged(f"{index} does not fit its rows", "Run ingest.py --rebuild.")
        self.segments[index.stem] = table[:, 0].tolist()
        for (id, count), end in zip(table.tolist(), ends.tolist()):
            self._places[id] = (rows, end - count, end)


class TokenWriter:
    """Collects the next generation's token vectors in `folder`, on top of `base`; `finish` ends it."""

    def __init__(self, folder: Path, dimension: int, base: TokenVectors | None) -> None:
        folder.mkdir()
        self.dimension = dimension
        self._folder = folder
        self._base = base
        self._new: dict[int, tuple[int, int]] = {}
        self._tokens = 0
        self._waiting = folder / "new"
        self._file = self._waiting.open("w+b")

    @property
    def size_bytes(self) -> int:
        """What base and additions take, what was removed included."""
        kept = sum(path.stat().st_size for path in self._base.folder.iterdir()) if self._base else 0
        return kept + self._tokens * self.dimension

    def add(self, ids: Sequence[int], matrices: Sequence[NDArray[np.uint8]]) -> None:
        """Add each id's vectors, shape (tokens, dimension). Raises ValueError for another shape or type."""
        for id, matrix in zip(ids, matrices, strict=True):
            if (
                matrix.ndim != 2
                or matrix.shape[1] != self.dimension
                or matrix.dtype != "uint8"
                or not len(matrix)
            ):
                raise ValueError(f"token vectors of shape {matrix.shape} and type {matrix.dtype}")
            self._file.write(matrix.tobytes())
            self._new[id] = (self._tokens, self._tokens + len(matrix))
            self._tokens += len(matrix)

    def read(self, ids: Iterable[int]) -> dict[int, NDArray[np.uint8]]:
        """Those of these ids that were added here, with their vectors."""
        import numpy as np

        found = {}
        for id in ids:
            if id in self._new:
                start, end = self._new[id]
                self._file.seek(start * self.dimension)
                content = self._file.read((end - start) * self.dimension)
                found[id] = np.frombuffer(content, np.uint8).reshape(-1, self.dimension)
        self._file.seek(0, 2)
        return found

    def finish(self, removed: Iterable[int]) -> NDArray[np.int64]:
        """Link the segments that lose nothing; what is left of the others and is new becomes one more.

        Returns all ids.
        """
        gone = set(removed)
        segments = self._base.segments if self._base else {}
        whole = [name for name, ids in segments.items() if gone.isdisjoint(ids)]
        if len(whole) >= MAX_SEGMENTS:
            whole = []
        for name in whole:
            for suffix in (ROWS, INDEX):
                link_or_copy(self._base.folder / (name + suffix), self._folder / (name + suffix))  # type: ignore[union-attr]
        number = max(map(int, segments), default=0) + 1
        self._write(self._folder / f"{number:06d}", self._left(segments, whole, gone))
        self.discard()
        return TokenVectors(self._folder, self.dimension).ids()

    def discard(self) -> None:
        """Let go of what was added and not finished; harmless when done twice."""
        self._file.close()
        self._waiting.unlink(missing_ok=True)

    def _left(
        self, segments: dict[str, list[int]], whole: Sequence[str], gone: set[int]
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for name, ids in segments.items():
            for id in ids:
                if name not in whole and id not in gone:
                    yield id, self._base.read([id])[0]  # type: ignore[union-attr]
        for id in self._new:
            if id not in gone:
                yield id, self.read([id])[id]

    def _write(self, stem: Path, passages: Iterable[tuple[int, NDArray[np.uint8]]]) -> None:
        import numpy as np

        table = []
        with stem.with_suffix(ROWS).open("xb") as file:
            for id, matrix in passages:
                file.write(matrix.tobytes())
                table.append((id, len(matrix)))
        if table:
            np.array(table, "<i8").tofile(stem.with_suffix(INDEX))
        else:
            stem.with_suffix(ROWS).unlink()
