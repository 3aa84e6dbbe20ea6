"""What has changed on the disk since the ledger was written: found first, compared then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import InputNotFound, UsageError
from rag.ingest.discover import Candidate, Discovery, discover

if TYPE_CHECKING:
    from rag.store.ledger import LedgerRow


@dataclass(frozen=True, slots=True)
class Found:
    """All files below `roots`; `failures` maps what could not be looked at to the reason."""

    roots: tuple[Path, ...]
    candidates: tuple[Candidate, ...]
    failures: Mapping[str, str]
    hidden: int
    excluded: int
    binary: int

    def covers(self, path: str) -> bool:
        """Whether the path lies below a root, and not in a folder that could not be looked into."""
        return _is_below(path, {str(root) for root in self.roots}) and not _is_below(path, self.failures)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it stands on the disk; `known` when the ledger has a row for its path."""

    candidate: Candidate
    size: int
    mtime_ns: int
    sha256: str
    known: bool

    @property
    def path(self) -> str:
        return self.candidate.key


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do: read or adopt `contents` (new and changed files by sha256), forget `gone` paths.

    `unreadable` are paths and reasons that the ledger does not hold yet, `touched` rows whose file
    has another time of change but the same bytes, `failed_before` rows of files that failed and
    are not tried again.
    """

    contents: Mapping[str, tuple[File, ...]]
    unreadable: Mapping[str, str]
    gone: tuple[str, ...]
    touched: tuple[LedgerRow, ...]
    failed_before: tuple[LedgerRow, ...]
    unchanged: int

    @property
    def files(self) -> list[File]:
        return [file for same in self.contents.values() for file in same]

    def __bool__(self) -> bool:
        """Touched files alone are no reason to publish: the generations kept for rollback are few."""
        return bool(self.contents or self.unreadable or self.gone)


def find(roots: Sequence[Path], exclude: Sequence[str]) -> Found:
    """Look through all roots. Raises InputNotFound, and UsageError when there is no file to read."""
    looked = [_discover(root, exclude) for root in roots]
    candidates = {each.key: each for one in looked for each in one.candidates}
    failures = {path: reason for one in looked for path, reason in one.failures}
    hidden, excluded, binary = (
        sum(getattr(one, kind) for one in looked) for kind in ("hidden", "excluded", "binary")
    )
    if not candidates and not failures:
        passed_over = f" ({hidden} hidden, {excluded} excluded, {binary} binary)"
        skipped = passed_over if hidden or excluded or binary else ""
        raise UsageError(
            f"no file to read in {', '.join(map(str, roots))}{skipped}",
            "Name a folder with documents. To empty an index use --remove FOLDER.",
        )
    resolved = tuple(root.resolve() for root in roots)
    return Found(resolved, tuple(candidates.values()), failures, hidden, excluded, binary)


def _discover(root: Path, exclude: Sequence[str]) -> Discovery:
    try:
        found = discover(root, exclude)
        failures = dict(found.failures)
        if reason := failures.get(str(root.resolve())):
            raise InputNotFound(
                f"{root} {reason}", "Check the permissions, or run as a user who may read it."
            )
    except OSError as error:
        raise InputNotFound(f"{root} cannot be read: {error.strerror or error}", "Check the path.") from error
    return found


def with_others(found: Found, ledger: Iterable[LedgerRow]) -> Found:
    """Add the files of earlier runs that lie below other roots: a rebuild has to read them again."""
    roots = {str(root) for root in found.roots}
    others = [
        Candidate(Path(row.path), Path(row.path).name, row.size)
        for row in ledger
        if not _is_below(row.path, roots) and Path(row.path).is_file()
    ]
    seen = {each.key for each in found.candidates}
    return replace(found, candidates=(*found.candidates, *(one for one in others if one.key not in seen)))


def compare(
    found: Found,
    ledger: Iterable[LedgerRow],
    retry_failed: bool = False,
    looked: Callable[[int], None] = lambda count: None,
) -> Changes:
    """Hold the files against the ledger; only those of another size or time of change are read.

    `looked` is told how many files were looked at so far.
    """
    rows = {row.path: row for row in ledger}
    contents: dict[str, list[File]] = {}
    failures = dict(found.failures)
    present: set[str] = set()
    touched, failed_before = [], []
    for count, candidate in enumerate(found.candidates, start=1):
        looked(count)
        row = rows.get(candidate.key)
        try:
            file = _look(candidate, row)
        except FileNotFoundError:
            continue  # gone since it was found
        except OSError as error:
            failures[candidate.key] = f"cannot be read: {error.strerror or error}"
            continue
        present.add(file.path)
        if not row or row.sha256 != file.sha256 or (retry_failed and row.status in ("failed", "empty")):
            contents.setdefault(file.sha256, []).append(file)
            continue
        if row.mtime_ns != file.mtime_ns:
            touched.append(replace(row, mtime_ns=file.mtime_ns))
        if row.status == "failed":
            failed_before.append(row)
    still = [row for path, reason in failures.items() if (row := rows.get(path)) and row.reason == reason]
    unreadable = {path: reason for path, reason in failures.items() if path not in {r.path for r in still}}
    changed = sum(len(same) for same in contents.values())
    return Changes(
        {sha256: tuple(same) for sha256, same in contents.items()},
        unreadable,
        tuple(path for path in rows if path not in present and found.covers(path)),
        tuple(touched),
        (*failed_before, *still),
        len(present) - changed - len(failed_before),
    )


def _look(candidate: Candidate, row: LedgerRow | None) -> File:
    """Raises OSError."""
    state = candidate.path.stat()
    if row and row.sha256 and (row.size, row.mtime_ns) == (state.st_size, state.st_mtime_ns):
        return File(candidate, state.st_size, state.st_mtime_ns, row.sha256, True)
    with candidate.path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(candidate, state.st_size, state.st_mtime_ns, sha256, row is not None)


def _is_below(path: str, folders: Container[str]) -> bool:
    return path in folders or any(str(parent) in folders for parent in Path(path).parents)
