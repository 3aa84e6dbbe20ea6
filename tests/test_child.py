"""The child process helper, with real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rag.child import Child, ChildGone, explain_exit

ECHO = """
from rag.child import Parent
import sys, time
parent = Parent()
print("stray output of a library")
while (message := parent.receive()):
    if message.get("crash"):
        import os; os.abort()
    if message.get("sleep"):
        time.sleep(message["sleep"])
    parent.send({"echo": message})
"""


@pytest.fixture
def echo_module(tmp_path, monkeypatch):
    (tmp_path / "echo_child.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "echo_child"


def test_messages_travel_both_ways_and_stray_prints_do_not_mix_in(echo_module):
    with Child(echo_module) as child:
        child.send({"text": "Zürich\u2028\n"})
        assert child.receive(10) == {"echo": {"text": "Zürich\u2028\n"}}
        child.send({"text": "again"})
        assert child.receive(10) == {"echo": {"text": "again"}}
        assert "stray output" in child.stderr_tail


def test_receive_gives_up_after_its_timeout(echo_module):
    with Child(echo_module) as child:
        assert child.receive(0.05) is None


def test_a_crash_is_explained_every_time_it_is_asked_about(echo_module):
    with Child(echo_module) as child:
        child.send({"crash": True})
        for _ in range(2):
            with pytest.raises(ChildGone, match="SIGABRT"):
                child.receive(10)


def test_close_ends_a_child_that_does_not_listen(echo_module):
    child = Child(echo_module)
    child.send({"sleep": 60})
    child.close(patience_s=0.2)
    assert not child.alive


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_no_child_survives_a_killed_parent(echo_module, tmp_path):
    script = (
        "from rag.child import Child; import time\n"
        "child = Child('echo_child'); child.send({'hello': 1}); child.receive(10)\n"
        "child.send({'sleep': 60}); print(child.pid, flush=True); time.sleep(60)\n"
    )
    root = str(Path(__file__).resolve().parent.parent)
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, str(tmp_path)])},
    )
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_exit_statuses_are_put_into_words():
    assert explain_exit(3) == "ended with exit status 3"
    assert "memory ran out" in explain_exit(-9)
    assert "instruction" in explain_exit(-4)


def test_files_in_the_working_directory_do_not_pose_as_modules(echo_module, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with Child(echo_module) as child:
        child.send({"text": "hello"})
        assert child.receive(10) == {"echo": {"text": "hello"}}
