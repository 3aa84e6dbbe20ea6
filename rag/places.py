"""Where things lie: the checkout, its indexes, its cache, what is kept. Needs the standard library only."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def index_root(environ: Mapping[str, str] | None = None) -> Path:
    """The folder that holds all collections: FOOTNOTE_INDEX, else `index/` in the checkout."""
    named = (os.environ if environ is None else environ).get("FOOTNOTE_INDEX")
    return Path(named).expanduser() if named else CHECKOUT / "index"


def cache_root(environ: Mapping[str, str] | None = None) -> Path:
    """The folder for what can be made again: FOOTNOTE_CACHE, else the user's cache folder.

    The same folders as platformdirs names, without a package: the diagnosis has to work where none is.
    """
    environ = os.environ if environ is None else environ
    if named := environ.get("FOOTNOTE_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "footnote" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "footnote"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "footnote"


def data_root(environ: Mapping[str, str] | None = None) -> Path:
    """The folder for what nothing can make again: FOOTNOTE_DATA, else the user's folder for data.

    As platformdirs names it. Cleaning the cache leaves it alone.
    """
    environ = os.environ if environ is None else environ
    if named := environ.get("FOOTNOTE_DATA"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "footnote"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "footnote"
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "footnote"
