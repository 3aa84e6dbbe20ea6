"""The chat page as its users start it: a server of its own, in a process that is ended by its id."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Self

from rag.places import CHECKOUT

START_S = 120.0


class PageServer:
    """`streamlit run app.py` on a free port; index, conversations and uploads lie below `folder`.

    The cache is the tests' own, so that nothing is measured twice. `environ` are further variables. Use it
    as a context manager. Raises RuntimeError with what the server printed if it does not come up.
    """

    def __init__(self, folder: Path, **environ: str) -> None:
        self.index, self.data, self.log = folder / "index", folder / "data", folder / "server.log"
        settings = folder / "footnote.toml"  # empty: a developer's own must not count
        settings.touch()
        places = {"INDEX": self.index, "DATA": self.data, "CONFIG": settings}
        self.environ = {f"FOOTNOTE_{name}": str(place) for name, place in places.items()} | environ
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=CHECKOUT, env={**os.environ, **self.environ}, stdout=out, stderr=out
            )
        try:
            self._await_start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5):
                return
            time.sleep(0.1)
        raise RuntimeError(f"the page did not start:\n{self.log.read_text(errors='replace')}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])
