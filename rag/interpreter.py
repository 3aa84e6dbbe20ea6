"""Run in the Python that has Footnote's packages, whichever one the user typed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def ensure_packages() -> None:
    """Start the script again in the checkout's `.venv` when this Python lacks the packages.

    Ends the process with status 2 and the command to run when there is no `.venv` either.
    """
    if importlib.util.find_spec("pydantic") and importlib.util.find_spec("tantivy"):
        return
    python = CHECKOUT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() or Path(sys.prefix).resolve() == (CHECKOUT / ".venv").resolve():
        sys.exit(
            "error: Footnote's packages are not installed.\n"
            f'Run `python {CHECKOUT / "scripts" / "run.py"} ask "your question"` once; it installs them.'
        )
    command = [str(python), *sys.argv]
    if os.name == "nt":  # execv there returns to the shell before the new process ends
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)
