"""What the user is told when the worker fails, and that no worker outlives its parent."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from rag import bundled
from rag.errors import EngineMissing, ModelDied, ModelLoadFailed
from rag.loader.base import Sampling
from rag.loader.load import bundled_plan
from rag.loader.process.supervise import start
from rag.loader.records import Request
from rag.types import Message

ROOT = str(Path(__file__).resolve().parent.parent)
LONG = [Message("user", "Count to a thousand.")]


def plan(**changes):
    return dataclasses.replace(bundled_plan(Request(context_tokens=256)), **changes)


def gone(pid, patience_s=20.0):
    deadline = time.monotonic() + patience_s
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not psutil.pid_exists(pid)


def test_start_does_not_wait_and_tells_when_the_model_is_ready():
    events = []
    with start(plan(), events.append) as model:
        assert not any(event["event"] == "ready" for event in events)
        assert model.info.parameters == 134_515_008  # known beforehand: asking does not wait
        model.wait_ready()
        assert model.count_tokens(LONG) > 10
    told = [event["event"] for event in events if event["event"] != "memory"]
    assert (told[:2], told[-1]) == (["trying", "loading"], "ready")
    assert events[-1]["resident_bytes"] > 90_000_000


def test_nothing_is_told_of_a_load_once_the_model_is_ready():
    events = []

    def listen_slowly(event):
        if event["event"] in ("tensor", "memory"):
            time.sleep(0.3)  # the model comes to be ready in the meantime
        events.append(event["event"])

    with start(plan(), listen_slowly) as model:
        model.wait_ready()
        time.sleep(1)
    assert "memory" in events and events[-1] == "ready"


def test_a_killed_worker_is_explained_to_who_waits_and_who_asks_later():
    with start(plan()) as model:
        stream = model.stream(LONG, Sampling(200))
        next(stream)
        os.kill(model.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        with pytest.raises(ModelDied, match="SmolLM2-135M-Instruct was killed"):
            list(stream)
        with pytest.raises(ModelDied, match="was killed"):
            model.count_tokens(LONG)


def test_a_damaged_file_fails_with_the_engine_s_reason_and_silently(tmp_path, capfd):
    file = tmp_path / "cut.gguf"
    file.write_bytes(bundled.path(bundled.SMOLLM2).read_bytes()[:6_000_000])
    with start(plan(model=str(file), name="cut")) as model:
        with pytest.raises(ModelLoadFailed, match=r"cannot load cut .*corrupted or incomplete"):
            model.wait_ready()
        with pytest.raises(ModelLoadFailed, match="corrupted"):
            list(model.stream(LONG, Sampling(5)))
    assert capfd.readouterr() == ("", "")


def test_a_missing_engine_says_how_to_install_it(tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with start(plan()) as model, pytest.raises(EngineMissing, match="libgomp") as caught:
        model.wait_ready()
    assert "run.py" in caught.value.fix


def test_a_cap_on_memory_ends_the_worker_and_names_both_figures():
    with start(plan(max_memory_bytes=60_000_000)) as model:
        with pytest.raises(ModelLoadFailed, match=r"used [1-9]\d+ MB of memory, over the cap of 60 MB"):
            model.wait_ready()
        assert gone(model.pid)


def test_loading_is_given_up_in_time():
    with start(plan(load_seconds=0.01)) as model:
        with pytest.raises(ModelLoadFailed, match=r"did not load within 0\.01 s"):
            model.count_tokens(LONG)
        assert gone(model.pid)


def test_a_caller_may_look_again_later():
    with start(plan()) as model:
        with pytest.raises(TimeoutError):
            model.wait_ready(0.0)
        assert model.wait_ready().context_tokens == 256


def test_close_ends_the_worker_and_whoever_still_reads():
    model = start(plan())
    stream = model.stream(LONG, Sampling(200))
    next(stream)
    threading.Timer(0.1, model.close).start()
    with pytest.raises(ModelDied, match="was closed"):
        list(stream)
    assert gone(model.pid)


def test_close_while_loading_leaves_nothing_behind():
    model = start(plan())
    model.close()
    assert gone(model.pid)


@pytest.mark.parametrize("moment", ["loading", "generating"])
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGINT", "exit"])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_no_worker_outlives_its_parent(moment, end):
    script = (
        "import sys, time\n"
        "from rag.loader.base import Sampling\n"
        "from rag.loader.load import bundled_plan\n"
        "from rag.loader.process.supervise import start\n"
        "from rag.loader.records import Request\n"
        "from rag.types import Message\n"
        "model = start(bundled_plan(Request()))\n"
        "moment, end = sys.argv[1:]\n"
        "if moment == 'generating':\n"
        "    stream = model.stream([Message('user', 'Count to a thousand.')], Sampling(1500))\n"
        "    next(stream)\n"
        "print(model.pid, flush=True)\n"
        "if end != 'exit': time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, moment, end],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    pid = int(parent.stdout.readline())
    if end != "exit":
        parent.send_signal(getattr(signal, end))
    parent.wait(30)
    parent.stdout.close()
    assert gone(pid)


def test_the_parent_imports_nothing_heavy():
    script = (
        "import sys, rag.loader.load, rag.loader.process.supervise\n"
        "heavy = {'torch', 'numpy', 'transformers', 'xllamacpp', 'pydantic', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process that lets no thread run")
def test_a_library_that_lets_no_thread_run_does_not_outlive_the_parent(tmp_path):
    (tmp_path / "stubborn.py").write_text(
        "import ctypes\n"
        "from rag.child import Parent\n"
        "from rag.loader.process.worker import _end_with_parent_even_while_loading\n"
        "_end_with_parent_even_while_loading()\n"
        "Parent().send({})\n"
        "ctypes.PyDLL(None).sleep(60)\n"  # keeps Python's lock, as llama.cpp does while loading
    )
    script = (
        "from rag.child import Child; import time\n"
        "child = Child('stubborn'); child.receive(); print(child.pid, flush=True); time.sleep(60)\n"
    )
    path = os.pathsep.join([ROOT, str(tmp_path)])
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    ) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)
