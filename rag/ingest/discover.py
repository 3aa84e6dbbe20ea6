"""Which files of a folder are read: recursively, without hidden, excluded and binary ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import InputNotFound, UsageError
from rag.ingest.readers.kinds import BINARY, HEAD_BYTES, sniff_head


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to read; `path` is absolute and resolved, `name` is relative to the ingested folder."""

    path: Path
    name: str
    size: int

    @property
    def key(self) -> str:
        """What the ledger and `Chunk.path` call the file."""
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Discovery:
    """The files found, in the order of their names, and how many were passed over and why.

    `failures` are (path, reason) of folders and files that could not be looked into.
    """

    candidates: tuple[Candidate, ...]
    hidden: int = 0
    excluded: int = 0
    binary: int = 0
    failures: tuple[tuple[str, str], ...] = ()


def discover(root: Path, exclude: Sequence[str]) -> Discovery:
    """Find the files below `root`, which may be a file itself; `exclude` are patterns as in .gitignore.

    Raises InputNotFound, and UsageError for a pattern that makes no sense.
    """
    if not root.exists():
        raise InputNotFound(f"{root} does not exist", "Check the path.")
    root = root.resolve()
    search = _Search(root if root.is_dir() else root.parent, _patterns(exclude))
    if root.is_dir():
        search.folder(root)
    else:
        search.file(root, root.name)
    return Discovery(
        tuple(search.found), search.hidden, search.excluded, search.binary, tuple(sorted(search.failures))
    )


@dataclass(slots=True)
class _Search:
    base: Path
    patterns: object
    found: list[Candidate] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    failures: list[tuple[str, str]] = field(default_factory=list)
    hidden: int = 0
    excluded: int = 0
    binary: int = 0

    def folder(self, top: Path) -> None:
        """Walk without recursion; `seen` holds resolved folders, so loops of links end."""
        pending = [(top, "")]
        while pending:
            folder, prefix = pending.pop()
            resolved = os.path.realpath(folder)
            if resolved in self.seen:
                continue
            self.seen.add(resolved)
            deeper = []
            for entry in self._entries(folder):
                name = prefix + entry.name
                if entry.is_dir():
                    if self._wanted(entry.name, name + "/"):
                        deeper.append((Path(entry.path), name + "/"))
                elif self._wanted(entry.name, name):
                    self.file(Path(entry.path), name)
            pending.extend(reversed(deeper))

    def file(self, path: Path, name: str) -> None:
        try:
            path = path.resolve(strict=True)
            if str(path) in self.seen or not path.is_file():  # sockets, pipes and devices are no documents
                return
            self.seen.add(str(path))
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
            self._fail(path, error)
            return
        if sniff_head(head, path.suffix.lower()) == BINARY:
            self.binary += 1
        else:
            self.found.append(Candidate(path, name, size))

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._fail(folder, error)

    def _wanted(self, own_name: str, name: str) -> bool:
        if own_name.startswith("."):
            self.hidden += 1
            return False
        if self.patterns.match_file(name):  # type: ignore[attr-defined]
            self.excluded += 1
            return False
        return True

    def _fail(self, path: Path, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        self.failures.append((str(path), f"cannot be read: {reason}"))


def _patterns(exclude: Sequence[str]) -> object:
    import pathspec

    try:
        return pathspec.GitIgnoreSpec.from_lines(exclude)
    except ValueError as error:
        raise UsageError(
            f"an exclude pattern makes no sense: {error}", "Write patterns as in .gitignore."
        ) from error
