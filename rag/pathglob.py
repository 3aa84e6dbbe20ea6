"""Files by what a person writes to mean them: a name, a folder, the end of a path, a glob."""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from rag.errors import UsageError

NEAREST = 5
"""Names that a hint lists."""
_FROM_HERE = re.compile(r"~|\.{1,2}(?:[/\\]|$)")
_WHOLE = re.compile(r"/|[a-z]:/")


def matching(pattern: str, paths: Iterable[str]) -> set[str]:
    """The paths that a glob as in .gitignore matches, at any depth unless it is absolute.

    `report.pdf`, `*.pdf`, `reports/`, `reports/*.pdf` and `~/docs/**/q1*` all do what they say; case is
    ignored. The folder that all paths share counts only if nothing matches below it, or `documents/`
    would mean all that lies in /home/ann/documents. Raises UsageError.
    """
    spelled = {path: _spelled(path).lstrip("/") for path in paths}
    wanted = _spelled(_absolute(pattern))
    whole = bool(_WHOLE.match(wanted))
    literal = wanted.strip("/")
    spec = _spec(wanted if whole else f"**/{wanted}", pattern)

    def matched(cut: int) -> set[str]:
        found = set()
        for path, text in spelled.items():
            tail = text[cut:].lstrip("/")
            # report[1].pdf is a glob, but more often a name
            named = tail == literal if whole else f"/{tail}".endswith(f"/{literal}")
            if named or spec.match_file(tail):
                found.add(path)
        return found

    if not literal:
        return set(spelled) if whole else set()
    return matched(0) if whole else matched(len(_shared_folder(spelled))) or matched(0)


def nearest(name: str, paths: Iterable[str]) -> str:
    """A sentence with the files and folders named much like `name`, or with a few that are there."""
    names: dict[str, str] = {}
    for path in map(PurePath, sorted(paths)):
        for spelling in (path.name, path.stem):
            names.setdefault(spelling.casefold(), path.name)
        names.setdefault(path.parent.name.casefold(), f"{path.parent.name}/")
    close = difflib.get_close_matches(PurePath(name).name.casefold(), names, NEAREST)
    if close:
        return f"Nearest: {', '.join(dict.fromkeys(names[each] for each in close))}."
    there = sorted({PurePath(path).name for path in paths})
    more = f" and {len(there) - NEAREST} more" if len(there) > NEAREST else ""
    return f"The index has {', '.join(there[:NEAREST])}{more}."


def _absolute(pattern: str) -> str:
    """Spelled out where it begins at this folder or at home; links are followed, as they are in an index."""
    if _FROM_HERE.match(pattern) or Path(pattern).is_absolute():
        return str(Path(pattern).expanduser().resolve())
    return pattern


def _spelled(path: str) -> str:
    """One spelling for what people and file systems spell in several ways."""
    slashes = path if os.sep == "/" else path.replace(os.sep, "/")
    return unicodedata.normalize("NFC", slashes).casefold()


def _shared_folder(spelled: dict[str, str]) -> str:
    return posixpath.commonpath([text.rpartition("/")[0] for text in spelled.values()]) if spelled else ""


def _spec(glob: str, written: str) -> Any:
    import pathspec

    try:
        return pathspec.GitIgnoreSpec.from_lines([glob])
    except ValueError as error:
        raise UsageError(
            f"'{written}' is no pattern: {error}", "Write it as in .gitignore: reports/*.pdf."
        ) from error
