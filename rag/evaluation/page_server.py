"""A chat page of its own in a folder, as a process: the real server, the guide's index, the bundled model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil

from rag.embedding import load_embedder
from rag.errors import EvaluationError
from rag.first_run import GUIDE
from rag.ingest.pipeline import ingest
from rag.places import CHECKOUT
from rag.settings import DEFAULT_COLLECTION, Settings, load_settings
from rag.store.generation import Collection

WORKER = "rag.loader.process.worker"
START_S, STOP_S = 120.0, 20.0
KEPT = ("FOOTNOTE_CACHE",)
"""Of a user's own settings none may change what is measured."""
FIXED = {"FOOTNOTE_RETRIEVAL_RERANK_MS": "0"}
"""As many passages are reread as there are, however busy the machine is: two answers then are the same."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page has its index and conversations, and the environment that says so.

    `further` are settings of its own, as variables of the environment.
    """

    folder: Path
    further: InitVar[Mapping[str, str]] = MappingProxyType({})
    environ: dict[str, str] = field(init=False)

    def __post_init__(self, further: Mapping[str, str]) -> None:
        config = self.folder / "footnote.toml"
        config.touch()
        named = {"INDEX": self.index, "DATA": self.data, "CONFIG": config}
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FOOTNOTE_") or k in KEPT}
        environ |= {f"FOOTNOTE_{name}": str(path) for name, path in named.items()} | FIXED
        environ |= further
        object.__setattr__(self, "environ", {**environ, "PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "1"})

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def conversations(self) -> Path:
        return self.data / "conversations.sqlite"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def settings(self) -> Settings:
        """What the server reads, too."""
        return load_settings(environ=self.environ)

    def read_guide(self) -> None:
        """Build the index that the first questions are asked of."""
        settings = self.settings()
        ingest(
            [GUIDE], Collection(self.index, DEFAULT_COLLECTION), load_embedder(settings.embedding), settings
        )


@dataclass(frozen=True, slots=True)
class Server:
    """The page of a place, which answers at `address`."""

    place: Place
    address: str
    pid: int

    def workers(self) -> list[psutil.Process]:
        """Processes of it that hold a model now, or load one; the newest last."""
        found = []
        for child in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.Error):  # ended meanwhile
                if WORKER in child.cmdline():
                    found.append(child)
        return sorted(found, key=psutil.Process.create_time)


@contextmanager
def serving(place: Place) -> Iterator[Server]:
    """The page, from when it answers until the block ends. Raises EvaluationError."""
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with place.log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=place.environ, cwd=CHECKOUT)
    try:
        server = Server(place, f"http://localhost:{port}", process.pid)
        _await(server, process)
        yield server
    finally:
        process.terminate()  # its worker ends with it
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _await(server: Server, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.address}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    last = server.place.log.read_text("utf-8", "replace").strip().splitlines()[-1:]
    raise EvaluationError(
        f"the page does not start: {' '.join(last)}", "Run `python scripts/run.py app` to see more."
    )
