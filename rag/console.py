"""What all command lines share: exit codes, one JSON object, errors in words, colours, Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import IO, Any, NoReturn

from rag.errors import RagError, UsageError

OK, FILES_FAILED, INTERRUPTED = 0, 5, 130
"""Exit codes that are no error's own; the others are in `rag.errors`."""

# Controls (but not tab and newline), DEL and C1, the marks that reverse the direction of text, and
# halves of surrogate pairs, which odd file names hold and no terminal takes.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile("[\ud800-\udfff]")


class Arguments(argparse.ArgumentParser):
    """An argument parser whose complaints are UsageErrors, so that --json holds for them too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"See {self.prog} --help.")


def count(text: str) -> int:
    """An argument's `type`: a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return int(text)


def run(main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Call a command's `main` with the command line; turn whatever it raises into an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 is no reason to die
    interrupted = _note_interrupts()
    try:
        status = main(arguments)
        sys.stdout.flush()
        return status
    except RagError as error:
        print_error(error, "--json" in arguments)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has left, as `| head` does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except ModuleNotFoundError as error:
        fix = "Run `python scripts/run.py shell` once; it installs what is needed."
        print_error(
            RagError(f"the package {error.name} is not installed for {sys.executable}", fix),
            "--json" in arguments,
        )
        return RagError.exit_code
    except Exception:
        if not interrupted:  # a library stopped in the middle of its import complains in words of its own
            raise
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


def _note_interrupts() -> list[int]:
    """Have Ctrl-C raise KeyboardInterrupt as ever, and be noted in the list that is returned."""
    noted: list[int] = []

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, on_interrupt)
    return noted


def print_json(record: Mapping[str, Any]) -> None:
    """Write one JSON object to standard output, escaped where the terminal's encoding needs it."""
    text = json.dumps(record, ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(record, indent=2)
    print(text, flush=True)


def print_error(error: RagError, as_json: bool) -> None:
    """Say what happened and what to do: to standard error, or as the one object of `--json`."""
    if as_json:
        print_json(error.as_dict())
        return
    red = paint("error:", "1;31", sys.stderr)
    print(f"{red} {clean(error.message)}", file=sys.stderr)
    if error.fix:
        print(f"  {clean(error.fix)}", file=sys.stderr)


def clean(text: str) -> str:
    """The text without what a terminal would obey: control characters, direction marks, surrogates."""
    return _SURROGATES.sub("\ufffd", _UNPRINTABLE.sub("", text))


def clean_line(text: str) -> str:
    """`clean` for what must stay on one line, such as a path."""
    return " ".join(clean(text).split("\n")).replace("\t", " ")


def unpainted(text: str) -> str:
    """The text without `paint`'s marks: what takes room on the line."""
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person watches the stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def use_colour(stream: IO[str], environ: Mapping[str, str] | None = None) -> bool:
    """Colours only on a terminal that has them, and never against NO_COLOR."""
    environ = os.environ if environ is None else environ
    return is_terminal(stream) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def paint(text: str, codes: str, stream: IO[str]) -> str:
    """The text in an ANSI style such as "1;31" where the stream shows colours."""
    return f"\x1b[{codes}m{text}\x1b[0m" if use_colour(stream) else text
