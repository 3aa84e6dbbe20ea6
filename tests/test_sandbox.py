"""The parser pool with real processes; a child module made for the test misbehaves by file name."""

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from rag.child import Child, ChildGone
from rag.errors import TooMuch, Unreadable
from rag.ingest.discover import Candidate
from rag.ingest.parse_child import from_json, to_json
from rag.ingest.readers import Limits
from rag.ingest.sandbox import ParserPool
from rag.settings import IngestSettings
from rag.types import Document, Section

ODD_CHILD = """
import ctypes, os, sys, time
from rag.ingest import parse_child
from rag.ingest.readers import read

if os.environ.get("NO_SYSTEM_LIMIT"):
    parse_child.limit_memory = lambda limit: False
parse_child.BACKSTOP_S = float(os.environ.get("BACKSTOP_S", parse_child.BACKSTOP_S))

def odd_read(path, limits):
    if path.name.startswith("sleep"):
        time.sleep(600)
    if path.name.startswith("stuck"):
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter, as a C library does
    if path.name.startswith("abort"):
        os.abort()
    if path.name.startswith("print"):
        print("noise of a library", flush=True)
    hoard = []
    while path.name.startswith("eat"):
        hoard.append(bytearray(b"x" * 2**22))
        time.sleep(0.005)
    return read(path, limits)

if __name__ == "__main__":
    parse_child.main(odd_read)
"""


@pytest.fixture
def odd_child(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "odd_child.py").write_text(ODD_CHILD)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "odd_child"


@pytest.fixture
def files(tmp_path):
    def make(*names):
        made = []
        for name in names:
            path = tmp_path / name
            path.write_text(f"text of {name}")
            made.append(Candidate(path, name, path.stat().st_size))
        return made

    return make


def run(candidates, module="rag.ingest.parse_child", **settings):
    with ParserPool(IngestSettings(**settings), module) as pool:
        return {candidate.name: result for candidate, result in pool.parse_all(candidates)}


def own_children():
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_documents_come_back_whole(files):
    results = run(files("a.txt", "b.txt", "c.txt", "d.txt", "e.txt"))
    assert {name: document.text for name, document in results.items()} == {
        f"{letter}.txt": f"text of {letter}.txt" for letter in "abcde"
    }
    assert results["a.txt"].sections[0].line == 1


def test_a_document_survives_the_journey_through_json():
    sections = (Section("a\n😀", 3, None, ("H", "I")), Section("b", None, 7))
    document = Document("0" * 64, "/x.pdf", "T", "application/pdf", sections, "p", "slide", ("n",))
    assert from_json(json.loads(json.dumps(to_json(document)))) == document


def test_failures_are_results_and_the_others_go_on(odd_child, files, tmp_path):
    (tmp_path / "bad.docx").write_bytes(b"PK\x03\x04" + bytes(100))
    bad = Candidate(tmp_path / "bad.docx", "bad.docx", 104)
    gone = Candidate(tmp_path / "gone.txt", "gone.txt", 1)
    results = run([*files("abort.txt"), bad, gone, *files("a.txt", "abort2.txt", "b.txt")], odd_child)
    assert isinstance(results["abort.txt"], Unreadable)
    assert "SIGABRT" in results["abort.txt"].message or os.name == "nt"
    assert results["bad.docx"].message.startswith("is damaged")
    assert results["gone.txt"].message == "cannot be read: No such file or directory"
    assert results["a.txt"].text == "text of a.txt"
    assert results["b.txt"].text == "text of b.txt"


def test_a_file_that_takes_too_long_is_given_up(odd_child, files):
    results = run(files("sleep.txt", "a.txt", "b.txt"), odd_child, file_seconds=1.0)
    assert isinstance(results["sleep.txt"], TooMuch)
    assert results["sleep.txt"].message == "took longer than 1 s"
    assert results["a.txt"].text == "text of a.txt"
    assert results["b.txt"].text == "text of b.txt"


@pytest.mark.parametrize("system_limit", [True, False])
def test_a_file_that_eats_memory_is_given_up(odd_child, files, monkeypatch, system_limit):
    if not system_limit:
        monkeypatch.setenv("NO_SYSTEM_LIMIT", "1")
    results = run(files("eat.txt", "a.txt"), odd_child, file_memory_mb=200)
    assert isinstance(results["eat.txt"], TooMuch)
    assert results["eat.txt"].message == "needed more than 200 MiB"
    assert results["a.txt"].text == "text of a.txt"


def test_prints_of_a_library_do_not_mix_with_the_documents(odd_child, files):
    assert run(files("print.txt"), odd_child)["print.txt"].text == "text of print.txt"


def test_a_process_is_replaced_after_its_share_of_files(files, monkeypatch):
    monkeypatch.setattr("rag.ingest.sandbox.RETIRE_FILES", 2)
    seen = set()
    with ParserPool(IngestSettings(workers=1)) as pool:
        for _, document in pool.parse_all(files(*(f"{n}.txt" for n in range(7)))):
            assert document.text.startswith("text of")
            seen |= own_children()
    assert len(seen) >= 2


def test_candidates_are_drawn_in_the_callers_thread_and_not_far_ahead(files):
    drawn = []

    def candidates():
        for candidate in files(*(f"{n}.txt" for n in range(40))):
            drawn.append(threading.current_thread())
            yield candidate

    with ParserPool(IngestSettings(workers=2)) as pool:
        results = pool.parse_all(candidates())
        for taken in range(1, 11):
            next(results)
            assert len(drawn) <= taken + 4
        results.close()
    assert set(drawn) == {threading.current_thread()}


def test_closing_early_ends_all_processes_at_once(odd_child, files):
    before = own_children()
    with ParserPool(IngestSettings(workers=2), odd_child) as pool:
        results = pool.parse_all(files("a.txt", "sleep1.txt", "sleep2.txt", "b.txt", "c.txt"))
        next(results)
        results.close()
        assert own_children() == before


def test_an_interrupt_in_the_source_ends_all_processes(odd_child, files):
    before = own_children()

    def interrupted():
        yield from files("sleep1.txt", "sleep2.txt")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ParserPool(IngestSettings(workers=2), odd_child) as pool:
        list(pool.parse_all(interrupted()))
    assert own_children() == before


def test_a_pool_can_be_used_again(files):
    with ParserPool(IngestSettings()) as pool:
        for name in ("a.txt", "b.txt"):
            assert [document.text for _, document in pool.parse_all(files(name))] == [f"text of {name}"]


@pytest.mark.skipif(os.name == "nt", reason="the stuck call is a POSIX one")
def test_a_child_stuck_in_c_code_ends_itself(odd_child, files, monkeypatch):
    monkeypatch.setenv("BACKSTOP_S", "0.5")
    (candidate,) = files("stuck.txt")
    with Child(odd_child, [json.dumps(asdict(Limits(seconds=0.5)))]) as child:
        child.send({"path": candidate.key})
        with pytest.raises(ChildGone):
            assert child.receive(30) is None


def test_the_child_starts_without_heavy_libraries():
    import subprocess
    import sys

    code = (
        "import sys, rag.ingest.parse_child, rag.ingest.sandbox\n"
        "heavy = 'pypdfium2 docx pptx lxml selectolax python_calamine chardet torch numpy PIL'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
