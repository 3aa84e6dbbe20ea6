"""The helper that all command lines share."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from rag import console
from rag.errors import IndexMissing
from rag.places import CHECKOUT


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\tand\nlines", "plain\tand\nlines"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\rb\x07c\x00d\x9be", "abcde"),
        ("evil\u202efdp.exe", "evilfdp.exe"),
        ("bad\udcff.txt", "bad\ufffd.txt"),
    ],
)
def test_clean_strips_what_a_terminal_obeys(raw: str, shown: str) -> None:
    assert console.clean(raw) == shown


def test_a_path_stays_on_one_line() -> None:
    assert console.clean_line("a\nb\tc") == "a b c"


def test_an_error_is_words_or_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: Sequence[str]) -> int:
        raise IndexMissing("no index yet", "Run ingest.")

    assert console.run(fail, []) == 3
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: no index yet\n  Run ingest.\n")
    assert console.run(fail, ["--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "error": {"code": "index_missing", "message": "no index yet", "fix": "Run ingest."}
    }
    assert said.err == ""


def test_a_bad_flag_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    def main(arguments: Sequence[str]) -> int:
        console.Arguments(prog="it").parse_args(arguments)
        return 0

    assert console.run(main, ["--json", "--wrong"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_interruption_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: Sequence[str]) -> int:
        raise KeyboardInterrupt

    assert console.run(interrupted, []) == 130


def test_a_reader_that_leaves_is_no_traceback() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from rag import console\n"
        "sys.exit(console.run(lambda _: [print('x' * 99) for _ in range(99999)] and 0))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(CHECKOUT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout and child.stderr
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait() == 0


def test_colours_only_on_a_terminal_that_wants_them() -> None:
    assert console.use_colour(Terminal(), {"TERM": "xterm"})
    assert not console.use_colour(Terminal(), {"TERM": "xterm", "NO_COLOR": "1"})
    assert not console.use_colour(Terminal(), {"TERM": "dumb"})
    assert not console.use_colour(io.StringIO(), {"TERM": "xterm"})


def test_json_survives_an_ascii_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.print_json({"path": "Grüße\udcff"})
    assert json.loads(raw.getvalue()) == {"path": "Grüße\udcff"}


def test_an_interrupt_that_a_library_reports_as_its_own_error_is_still_an_interrupt(capsys):
    def main(arguments):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None
        return 0

    before = signal.getsignal(signal.SIGINT)
    try:
        assert console.run(main, []) == console.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Interrupted." in capsys.readouterr().err


def test_an_error_of_our_own_making_is_not_hidden():
    def main(arguments):
        raise ImportError("initialization failed")

    with pytest.raises(ImportError):
        console.run(main, [])
