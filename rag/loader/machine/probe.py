"""About a second of measuring: how fast this machine multiplies matrices and reads memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag.cores import usable_cores
from rag.loader.machine.cpu import cpu
from rag.loader.machine.pins import version
from rag.loader.records import Probe
from rag.places import CHECKOUT, cache_root

KEEP_S = 30 * 86400
KEEP_BUSY_S = 600
"""What was measured while other programs worked says little of this machine."""
TIMEOUT_S = 60.0


def probe(refresh: bool = False, environ: Mapping[str, str] | None = None) -> Probe:
    """The machine's measured speeds: cached ones, or after about a second and torch's import new ones.

    `refresh` measures anyway. What cannot be measured is None or absent in the record.
    """
    known = None if refresh else cached_probe(environ)
    if known is not None:
        return known
    busy = _is_busy()
    measured = _measure(()) or _measure(("--without-torch",)) or {}
    found = Probe(measured.get("bandwidth"), measured.get("matmul", {}))
    if found.matmul or not version("torch"):  # a torch that fails now may be mended soon
        _remember(found, busy, environ)
    return found


def _is_busy() -> bool:
    """Whether other programs have used more than half of the cores in the last minute."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > max(1.0, usable_cores() / 2)


def cached_probe(environ: Mapping[str, str] | None = None) -> Probe | None:
    """What was measured on this machine, with these cores and this torch, not long ago; else None."""
    try:
        kept = json.loads(_file(environ).read_text(encoding="utf-8"))
        age = time.time() - kept["time"]
        fresh = kept["key"] == _key() and 0 <= age < (KEEP_BUSY_S if kept.get("busy") else KEEP_S)
        return Probe(kept["bandwidth"], kept["matmul"]) if fresh else None
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or one that another version wrote
        return None


def _key() -> dict[str, Any]:
    return {"cpu": cpu()[0], "cores": usable_cores(), "torch": version("torch")}


def _file(environ: Mapping[str, str] | None) -> Path:
    digest = hashlib.sha256(json.dumps(_key()).encode()).hexdigest()
    return cache_root(environ) / f"probe-{digest[:12]}.json"


def _remember(found: Probe, busy: bool, environ: Mapping[str, str] | None) -> None:
    """Write the cache file whole or not at all: another process may be reading it."""
    file = _file(environ)
    record = {
        "key": _key(),
        "time": time.time(),
        "busy": busy,
        "bandwidth": found.bandwidth,
        "matmul": dict(found.matmul),
    }
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        aside.replace(file)
    except OSError:  # a read-only cache: measured again next time
        return


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
