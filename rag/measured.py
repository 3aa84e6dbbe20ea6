"""What was measured on this machine, kept in the cache folder until it is stale."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag.cores import usable_cores
from rag.places import cache_root

KEEP_S = 30 * 86400
KEEP_BUSY_S = 600
"""What was measured while other programs worked says little of this machine."""


def is_busy() -> bool:
    """Whether other programs have used more than half of the cores in the last minute."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > max(1.0, usable_cores() / 2)


def recall(name: str, key: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Any:
    """What was kept under this name and key, not long ago; else None."""
    try:
        kept = json.loads(_file(name, key, environ).read_text(encoding="utf-8"))
        age = time.time() - kept["time"]
        fresh = kept["key"] == key and 0 <= age < (KEEP_BUSY_S if kept.get("busy") else KEEP_S)
        return kept["value"] if fresh else None
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or one that another version wrote
        return None


def keep(
    name: str, key: Mapping[str, Any], value: Any, busy: bool, environ: Mapping[str, str] | None = None
) -> None:
    """Write the cache file whole or not at all: another process may be reading it.

    A cache folder that cannot be written is no error: what was measured is measured again next time.
    """
    file = _file(name, key, environ)
    record = {"key": key, "time": time.time(), "busy": busy, "value": value}
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        aside.replace(file)
    except OSError:
        return


def _file(name: str, key: Mapping[str, Any], environ: Mapping[str, str] | None) -> Path:
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    return cache_root(environ) / f"{name}-{digest[:12]}.json"
