"""Run in the Python that has Footnote's packages, whichever one the user typed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def ensure_packages(required: bool = True) -> bool:
    """Start the script again in the checkout's `.venv` when this Python lacks the packages.

    Where there is no `.venv` either, the process ends with the command to run, or, if they are not
    `required`, False is returned.
    """
    if importlib.util.find_spec("pydantic") and importlib.util.find_spec("tantivy"):
        return True
    python = CHECKOUT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() or Path(sys.prefix).resolve() == (CHECKOUT / ".venv").resolve():
        if not required:
            return False
        sys.exit(
            "error: Footnote's packages are not installed.\n"
            f'Run `python {CHECKOUT / "scripts" / "run.py"} ask "your question"` once; it installs them.'
        )
    command = [str(python), *sys.argv]
    if os.name == "nt":  # execv there returns to the shell before the new process ends
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)
