"""Our own servers that run now, so that no model is loaded twice by accident.

A server announces itself in the cache folder for as long as it runs. Only their owner may read the files,
because they hold the server's key. Where no server runs, looking costs one listing of a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import urllib.parse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rag.places import cache_root

HEALTH_S = 0.5
"""How long a server on this computer may take to say that it is there."""

START_TOLERANCE_S = 2.0
"""Two readings of one process's start differ by less, also after the clock was set."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: `url` ends in /v1; `started` is its process's start, in seconds since 1970."""

    identity: str
    url: str
    key: str | None
    pid: int
    started: float


def identity(path: Path) -> str:
    """What tells a model file or folder from every other, and from itself after a change. Raises OSError.

    A file by path, size and time of change; a folder by its path and those of its config and index.
    """
    whole = path.resolve()
    if not whole.is_dir():
        return _state(whole)
    named = [whole / "config.json", *sorted(whole.glob("*.index.json"))]
    return "|".join([str(whole), *(_state(file) for file in named if file.is_file())])


@contextlib.contextmanager
def announce(model_identity: str, url: str, key: str | None = None) -> Iterator[Server]:
    """Let other processes of this user find the server at `url` for as long as the context lasts.

    Raises OSError when the cache folder cannot be written.
    """
    import psutil

    pid = os.getpid()
    server = Server(model_identity, url.rstrip("/"), key, pid, psutil.Process(pid).create_time())
    entry = _folder() / f"{pid}-{hashlib.sha256(model_identity.encode()).hexdigest()[:8]}.json"
    entry.parent.mkdir(parents=True, exist_ok=True)
    _write_private(entry, json.dumps(asdict(server)))
    try:
        yield server
    finally:
        entry.unlink(missing_ok=True)


def find(model_identity: str) -> Server | None:
    """The server that runs this model and answers; entries of processes that are gone are removed."""
    for entry in sorted(_folder().glob("*.json")):
        server = _read(entry)
        if server is None or not _lives(server):
            entry.unlink(missing_ok=True)
        elif server.identity == model_identity and _answers(server):
            return server
    return None


def _folder() -> Path:
    return cache_root() / "servers"


def _state(file: Path) -> str:
    state = file.stat()
    return f"{file}:{state.st_size}:{state.st_mtime_ns}"


def _write_private(entry: Path, text: str) -> None:
    """Write the file in one step; on Windows the user's cache folder itself is closed to others."""
    aside = entry.with_suffix(".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(
        os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    aside.replace(entry)


def _read(entry: Path) -> Server | None:
    try:
        return Server(**json.loads(entry.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # just removed, or not written by this version
        return None


def _lives(server: Server) -> bool:
    """Whether the process is still the one that announced itself: numbers are given again."""
    import psutil

    try:
        return abs(psutil.Process(server.pid).create_time() - server.started) < START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # it lives, and the system does not tell us more
        return True


def _answers(server: Server) -> bool:
    at = urllib.parse.urlsplit(server.url)
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=HEALTH_S)
    try:
        connection.request("GET", f"{at.path}/models", headers=headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
