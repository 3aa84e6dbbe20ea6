"""Why a set-up failed, in one line with a fix, from what pip or venv printed."""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

PYTHON = "{}.{}".format(*sys.version_info)
NOISE = re.compile(
    r"^(WARNING: (Location|Skipping|Ignoring|Retrying|There was an error)|\[notice\]|DEPRECATION)"
)

NOT_OFFERED = (
    f"the package index has no {{name}} for Python {PYTHON} on {platform.system()} {platform.machine()}",
    "Check the network, that this is a 64-bit Python, and pip's own settings: python -m pip config list",
)
CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|Disk quota exceeded|not enough space on the disk|Errno 28\]|WinError 112",
        "the disk is full",
        "Free some space and run the same command again ({space}; TMPDIR moves pip's temporary files)",
    ),
    (
        r"ensurepip is not available|No module named '?(?:venv|ensurepip)",
        "this Python comes without its venv module",
        f"On Debian or Ubuntu: sudo apt install python{PYTHON}-venv; elsewhere install a complete Python",
    ),
    (
        r"ProxyError|Tunnel connection failed|annot connect to proxy|407 Proxy",
        "the proxy does not answer or refuses",
        "Check HTTPS_PROXY and HTTP_PROXY, or pip's own setting: python -m pip config list",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLError|SSLCertVerificationError|TLS CA cert",
        "the certificate of the package index is not trusted",
        "Check the computer's date; behind a company proxy set PIP_CERT to the company's certificate file",
    ),
    (
        r"NewConnectionError|Failed to establish a new connection|ConnectTimeout|ReadTimeout|Read timed out"
        r"|getaddrinfo failed|name resolution|Name or service not known|Network is unreachable"
        r"|Connection refused|ConnectionResetError|RemoteDisconnected|IncompleteRead|Connection aborted",
        "no network: the package index could not be reached",
        "Connect to the internet and run the same command again; what was installed is kept",
    ),
    (
        r"\b(?:401|403) (?:Client )?Error|HTTP error 40[13]",
        "the package index refuses access",
        "Check the address and password in pip's settings: python -m pip config list",
    ),
    (
        r"Windows Long Path",
        "a path is longer than Windows allows",
        "Move the checkout to a shorter path, such as C:\\footnote, or enable long paths",
    ),
    (
        r"Permission ?[Dd]enied|PermissionError|Access is denied|WinError (?:5|32)\]|Read-only file",
        "a file cannot be written",
        "Close programs that use .venv, or copy Footnote to a folder of your own, and run the command there",
    ),
    (
        r"DO NOT MATCH THE HASHES|BadZipFile|has an invalid wheel|is not a valid wheel",
        "a downloaded package is damaged",
        "Empty pip's cache (python -m pip cache purge) and run the same command again",
    ),
    (r"No matching distribution found for (?P<name>\S+)", *NOT_OFFERED),
    # How pip says it when the version comes from the constraints file.
    (r"The user requested \(constraint\) (?P<name>\S+)", *NOT_OFFERED),
)


class SetupFailed(Exception):
    """The environment cannot be made; its text is one line with a fix, then what pip said."""


def explain(output: str, status: int, folder: Path) -> str:
    """One line with the likeliest cause and its fix, and below it the line that shows it.

    `output` is what pip or venv printed, `status` its exit status, `folder` the checkout.
    """
    for pattern, message, fix in CAUSES:
        match = re.search(pattern, output)
        if match:
            words = {"space": free_space(folder), **match.groupdict()}
            return f"{message.format(**words)}. {fix.format(**words)}.\n  {_telling_line(output, pattern)}"
    if status < 0:
        return (
            f"the installation was killed (signal {-status}), most often because memory ran out. "
            "Close other programs and run the same command again."
        )
    return f"the installation failed (status {status}); its own words should help.\n  {_telling_line(output)}"


def free_space(folder: Path) -> str:
    """Free space where the environment and where pip's temporary files go, in words."""
    places = {str(folder): "here", tempfile.gettempdir(): "in the temporary folder"}
    return ", ".join(
        f"{shutil.disk_usage(place).free / 1e9:.1f} GB free {words}" for place, words in places.items()
    )


def _telling_line(output: str, pattern: str = r"^ERROR|[Ee]rror") -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip() and not NOISE.match(line)]
    errors = [line for line in lines if line.startswith("ERROR")]
    matching = [line for line in lines if re.search(pattern, line)]
    best = [line for line in errors if line in matching] or matching or errors or lines or [""]
    return best[-1][:300]
