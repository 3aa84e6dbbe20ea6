"""What the set-up says while it works: one living line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from collections.abc import Iterator
from typing import TextIO

SPINNER = "|/-\\"
PIP_STEPS = re.compile(
    r"^\s*(?:(?P<collecting>Collecting) (?P<name>[^\s;=<>!~\[]+)"
    r"|(?:Downloading|Using cached) (?P<file>[^\s-]+)\S* \((?P<size>[\d.]+ [kMG]?B)\)"
    r"|Installing collected packages: (?P<installing>.+)"
    r"|(?P<retry>WARNING: Retrying))",
    re.MULTILINE,
)


class Steps:
    """Announces each step with its number, and how long it took."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._number = 0
        self._stream = stream or sys.stderr
        self._living = self._stream.isatty()
        self._head, self._began, self._turn = "", 0.0, 0

    def say(self, line: str) -> None:
        """Print a line of its own."""
        self._wipe()
        print(line, file=self._stream, flush=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time one step; its last line says how long it took."""
        self._number += 1
        self._head = f"step {self._number} of {self._total}: {title}"
        self._began = time.monotonic()
        if self._living:
            self.tick()
        else:
            self.say(self._head)
        yield
        done = f"done in {time.monotonic() - self._began:.0f} s"
        self.say(f"{self._head}: {done}" if self._living else f"  {done}")

    def tick(self, detail: str = "") -> None:
        """Redraw the living line: spinner, step, seconds so far, what is happening."""
        if not self._living:
            return
        self._turn += 1
        spent = f"{time.monotonic() - self._began:.0f} s"
        line = f"{SPINNER[self._turn % 4]} {self._head} ({spent}) {detail}"
        width = shutil.get_terminal_size().columns - 1
        print("\r" + line[:width].ljust(width), end="", file=self._stream, flush=True)

    def _wipe(self) -> None:
        if self._living:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + " " * width + "\r", end="", file=self._stream)


def activity(pip_output: str) -> str:
    """The last thing that pip said it does, in a few words: "downloading lxml (5.2 MB), package 34"."""
    count, words = 0, ""
    for match in PIP_STEPS.finditer(pip_output):
        if match["collecting"]:
            count += 1
            words = f"{match['name']}, package {count}"
        elif match["file"]:
            words = f"downloading {match['file']} ({match['size']}), package {count}"
        elif match["installing"]:
            words = f"installing {match['installing'].count(',') + 1} packages"
        else:
            words = "no answer from the network, trying again"
    return words
