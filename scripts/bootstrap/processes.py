"""Running pip and venv so that they neither outlive a set-up unnoticed nor install elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from typing import IO, Any

POLL_S = 0.2
OWN_END_S = 2
PATIENCE_S = 10
# Settings that make pip install elsewhere than into the environment it is started from.
ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV")


def run(command: list[str], output: IO[Any], lock: int, tick: Callable[[], None]) -> int:
    """Run a command to its end, calling `tick` all the while; returns its exit status."""
    # Through the lock's descriptor the command holds the lock too, in case that this process is killed.
    inherit: dict[str, Any] = {} if os.name == "nt" else {"pass_fds": (lock,)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=_environ(),
        **inherit,
    )
    try:
        while True:
            try:
                return process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                tick()
    except BaseException:
        _stop(process)
        raise


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End pip the way Ctrl-C does, so that it removes its temporary files; by force if it does not."""
    # At a terminal Ctrl-C has reached pip as well, and a second one would break off its cleaning up.
    if not _ended(process, OWN_END_S):
        with contextlib.suppress(OSError):
            process.terminate() if os.name == "nt" else process.send_signal(signal.SIGINT)
        if not _ended(process, PATIENCE_S):
            process.kill()
            process.wait()


def _ended(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    # PIP_USER=0 also overrules a configuration file that says user = true, which fails in an environment.
    return {**kept, "PIP_USER": "0", "PYTHONUTF8": "1"}
