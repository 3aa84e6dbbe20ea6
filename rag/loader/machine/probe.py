"""About a second of measuring: how fast this machine multiplies matrices and reads memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from rag.cores import usable_cores
from rag.loader.machine.cpu import cpu
from rag.loader.machine.pins import version
from rag.loader.records import Probe
from rag.measured import is_busy, keep, recall
from rag.places import CHECKOUT

TIMEOUT_S = 60.0


def probe(refresh: bool = False, environ: Mapping[str, str] | None = None) -> Probe:
    """The machine's measured speeds: cached ones, or after about a second and torch's import new ones.

    `refresh` measures anyway. What cannot be measured is None or absent in the record.
    """
    known = None if refresh else cached_probe(environ)
    if known is not None:
        return known
    busy = is_busy()
    measured = _measure(()) or _measure(("--without-torch",)) or {}
    found = Probe(measured.get("bandwidth"), measured.get("matmul", {}))
    if found.matmul or not version("torch"):  # a torch that fails now may be mended soon
        value = {"bandwidth": found.bandwidth, "matmul": dict(found.matmul)}
        keep("probe", _key(), value, busy, environ)
    return found


def cached_probe(environ: Mapping[str, str] | None = None) -> Probe | None:
    """What was measured on this machine, with these cores and this torch, not long ago; else None."""
    kept = recall("probe", _key(), environ)
    try:
        return Probe(kept["bandwidth"], kept["matmul"]) if kept else None
    except (KeyError, TypeError):  # another version wrote it
        return None


def _key() -> dict[str, Any]:
    return {"cpu": cpu()[0], "cores": usable_cores(), "torch": version("torch")}


def _measure(arguments: tuple[str, ...]) -> dict[str, Any] | None:
    """What the measuring process found; None when it died or hung."""
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "rag.loader.machine.measure", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        return json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
