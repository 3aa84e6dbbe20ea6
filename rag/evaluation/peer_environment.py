"""A virtual environment for each peer, so that its packages and ours never meet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rag.errors import EvaluationError
from rag.evaluation.peer_process import tail

Run = Callable[[Sequence[str], Path], int]
"""A command and its log -> the exit status."""
STAMP = "footnote-peer.json"
"""Written last into an environment: which packages it holds. Without it, it is filled (again)."""


def ensure(folder: Path, packages: Sequence[str], run: Run | None = None) -> Path:
    """The Python of an environment in `folder` that has `packages` ("name==version"), the first alone first.

    One that is whole is used again. Raises EvaluationError.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    content = json.dumps({"python": sys.version.split()[0], "packages": list(packages)})
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == content and python.exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}-install.log")
    print(f"installing {', '.join(packages)} in {folder}", file=sys.stderr, flush=True)
    for command in _commands(folder, python, packages):
        if status := (run or _run)(command, log):
            raise EvaluationError(
                f"installing {folder.name} failed (exit status {status}):\n{tail(log)}",
                f"See {log}, and run the same command again: what is installed is kept.",
            )
    stamp.write_text(content, encoding="utf-8")
    return python


def _commands(folder: Path, python: Path, packages: Sequence[str]) -> list[list[str]]:
    """torch comes first and alone: in one call with the rest, a range could choose another build of it."""
    base = getattr(sys, "_base_executable", sys.executable)  # inside a virtual environment: where it is from
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--allow-existing", "--python", base, str(folder)]
        install = [uv, "pip", "install", "--python", str(python), "--only-binary", ":all:"]
    else:
        make = [base, "-m", "venv", str(folder)]
        install = [str(python), "-m", "pip", "install", "--no-input", "--only-binary", ":all:"]
    return [make, [*install, packages[0]], [*install, *packages]]


def _run(command: Sequence[str], log: Path) -> int:
    with log.open("ab") as out:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        ).returncode
