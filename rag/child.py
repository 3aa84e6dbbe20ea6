"""A Python module in a process of its own, spoken to in JSON lines, that never outlives its parent.

Two users: the parser pool, where a hostile file may crash or hang the child, and the model worker,
where the kernel may. The child leaves when its standard input ends, which the operating system sees
to however the parent died, so nothing is left running after kill -9 either.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

STDERR_LINES = 40
_END = object()


class ChildGone(Exception):
    """The child ended; `explanation` says how, in words fit for a user."""

    def __init__(self, explanation: str, returncode: int | None) -> None:
        super().__init__(explanation)
        self.explanation = explanation
        self.returncode = returncode


class Child:
    """The parent's end: `send` and `receive` dictionaries; use as a context manager or `close()`."""

    def __init__(self, module: str, arguments: Sequence[str] = (), env: dict[str, str] | None = None) -> None:
        own_group: dict[str, Any] = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if sys.platform == "win32"
            else {"start_new_session": True}  # a Ctrl-C at the terminal is the parent's to handle
        )
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", **(env or {})},
            **own_group,
        )
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._readers = [
            threading.Thread(target=self._read_messages, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def stderr_tail(self) -> str:
        """The last lines that the child wrote to standard error."""
        return "\n".join(self._stderr)

    def resident_bytes(self) -> int:
        """Resident memory of the child and its own children; 0 once it is gone."""
        import psutil  # not needed for a start, which it would delay by 30 ms at both ends

        try:
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]
            return sum(member.memory_info().rss for member in family)
        except psutil.Error:
            return 0

    def send(self, message: dict[str, Any]) -> None:
        """Hand the child one message. Raises ChildGone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """Next message; None when `timeout_s` seconds pass without one. Raises ChildGone."""
        try:
            message = self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if message is _END:
            self._inbox.put(_END)  # whoever asks next must hear it too
            raise self._gone()
        return message

    def kill(self) -> None:
        """End the child and its own children at once."""
        import psutil

        try:
            family = psutil.Process(self.pid).children(recursive=True)
        except psutil.Error:
            family = []
        self._process.kill()
        for member in family:
            try:
                member.kill()
            except psutil.Error:
                continue
        self._reap()

    def close(self, patience_s: float = 2.0) -> None:
        """Let the child leave by itself (its input ends), and end it if it does not."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reap()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reap(self) -> None:
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=2)

    def _gone(self) -> ChildGone:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return ChildGone("closed its output but did not end", None)
        self._readers[1].join(timeout=1)
        return ChildGone(explain_exit(code), code)

    def _read_messages(self) -> None:
        assert self._process.stdout is not None
        for message in _messages(self._process.stdout):
            self._inbox.put(message)
        self._inbox.put(_END)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._stderr.append(line.decode("utf-8", "replace").rstrip())


class Parent:
    """The child's end, made once at its start.

    Standard output becomes standard error for everybody else, so that a native library's print
    never lands among the messages. A thread watches the input and ends the process with it.
    """

    def __init__(self) -> None:
        if sys.platform != "win32":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._watch, daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """Next message; None when `timeout_s` seconds pass without one."""
        try:
            return self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _watch(self) -> None:
        for message in _messages(sys.stdin.buffer):
            self._inbox.put(message)
        os._exit(0)


def explain_exit(returncode: int) -> str:
    """Say in words what an exit status means, as in "was killed (SIGKILL)"."""
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    words = {
        "SIGKILL": "was killed (SIGKILL), most often because memory ran out",
        "SIGSEGV": "crashed (SIGSEGV, invalid memory access)",
        "SIGABRT": "aborted itself (SIGABRT)",
        "SIGILL": "crashed (SIGILL, an instruction that this processor lacks)",
        "SIGBUS": "crashed (SIGBUS, a mapped file changed or shrank)",
        "SIGFPE": "crashed (SIGFPE, arithmetic fault)",
    }
    return words.get(name, f"was ended by {name}")


def limit_memory(limit_bytes: int) -> bool:
    """Cap this process's private memory; False where the system has no such limit.

    RLIMIT_DATA counts private writable memory on Linux 4.7 and later, and unlike RLIMIT_AS leaves
    mapped files and reserved address space alone.
    """
    if sys.platform == "win32":
        return False
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    except (OSError, ValueError):
        return False
    return True


def _messages(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    for line in stream:
        try:
            yield json.loads(line)
        except ValueError:
            return  # a torn last line: the other end died while writing
