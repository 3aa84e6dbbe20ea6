"""diagnose_load.py as a user runs it: on a terminal or not, with and without packages."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rag import bundled
from tests import tiny_checkpoints as tiny

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "diagnose_load.py"
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals are POSIX")


def diagnose(*arguments, python=(sys.executable,), script=SCRIPT, env=None, **kwargs):
    return subprocess.run(
        [*python, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUTF8": "1", **(env or {})},
        **kwargs,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The program where no .venv lies beside it."""
    place = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "rag", place / "rag", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "scripts").mkdir()
    shutil.copy(SCRIPT, place / "scripts")
    return place / "scripts" / "diagnose_load.py"


def test_a_load_in_json_with_a_torch_that_does_not_import(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libtorch_cpu.so: file too short')")
    done = diagnose("bundled", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "libtorch_cpu.so: file too short" in found["import_problems"]["transformers"]
    assert "file too short" in found["machine"]["engines"]["transformers"]["problem"]
    loaded = found["loaded"]
    assert {"plan", "seconds", "peak_bytes", "predicted_peak_bytes", "tokens_per_s", "sanity"} <= set(loaded)
    assert loaded["plan"]["engine"] == "llamacpp" and loaded["tokens_per_s"] > 1
    assert loaded["given_back"]["process_ended"]
    assert "Importing transformers" in done.stderr and "Ready after" in done.stderr


def test_a_plan_imports_no_package_that_it_can_do_without(tmp_path):
    place = tiny.plain_folder(tmp_path / "base")
    shown = diagnose(place, "--plan", python=(sys.executable, "-X", "importtime"))
    assert shown.returncode == 0 and shown.stdout.startswith("This machine\n")
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "rag.diagnosis.run" in imported
    assert not imported & {
        "torch",
        "pydantic",
        "psutil",
        "rich",
        "numpy",
        "transformers",
        "httpx2",
        "xllamacpp",
    }


def test_a_bare_python_plans_and_says_why_it_cannot_load(copy, tmp_path):
    bare = {"python": (sys.executable, "-S"), "script": copy}
    file = bundled.path(bundled.SMOLLM2)
    done = diagnose(file, "--plan", "--json", **bare)
    found = json.loads(done.stdout)
    assert done.returncode == 4 and found["error"]["code"] == "engine_missing"
    assert found["found"]["quantization"] == "Q4_1" and found["machine"]["memory_available_bytes"] > 0
    assert "pip install" in found["machine"]["engines"]["llamacpp"]["fix"]
    assert done.stderr.splitlines() == [
        "Footnote's packages are not installed for this Python; going on with what needs none"
    ]
    # the engine's metadata alone, so that a plan fits
    (tmp_path / "xllamacpp-1.0.dist-info").mkdir()
    (tmp_path / "xllamacpp-1.0.dist-info" / "METADATA").write_text("Name: xllamacpp\nVersion: 1.0\n")
    (tmp_path / "xllamacpp.py").write_text("")
    done = diagnose(file, env={"PYTHONPATH": str(tmp_path)}, **bare)
    assert done.returncode == 4
    assert "fits" in done.stdout and "mostly Q4_1" in done.stdout
    said = " ".join(done.stderr.split())
    assert "psutil and rich are not installed" in said and "run.py shell" in said


@pytest.mark.parametrize(
    ("arguments", "status", "message", "fix"),
    [
        (["no/where/model.gguf"], 4, "there is no file or folder no/where/model.gguf", "--recommend"),
        (
            ["documents"],
            4,
            "documents holds documents (paper.pdf) and no model",
            "scripts/ingest.py documents",
        ),
        (["empty"], 4, "empty holds no config.json and no GGUF file", "Name a folder"),
        ([], 2, "which model?", "--recommend lists presets"),
        (["bundled", "--context", "-1"], 2, "not a number above 0", "--help"),
        (["bundled", "--max-memory", "lots"], 2, "'lots' is not an amount of memory", "8GB"),
        (["bundled", "--plan", "--report", "empty"], 2, "empty is a folder", "report.md"),
        (["bundled", "--recommend"], 2, "--recommend lists all presets", "Leave MODEL"),
    ],
)
def test_what_a_stranger_types(tmp_path, arguments, status, message, fix):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "paper.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "empty").mkdir()
    done = diagnose(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    said = " ".join(done.stderr.split())
    assert message in said and fix in said and "Traceback" not in said
    if arguments and "--recommend" not in arguments:
        error = json.loads(diagnose(*arguments, "--json", cwd=tmp_path).stdout)["error"]
        assert message in error["message"] and fix in error["fix"]


def test_a_report_is_written_also_when_there_is_no_model(tmp_path):
    done = diagnose("nowhere.gguf", "--report", tmp_path / "report.md")
    assert done.returncode == 4 and "Report written to" in done.stderr
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "model_not_found" in text and '"cores"' in text


def test_recommendations_in_json_need_no_network():
    done = diagnose("--recommend", "--json", env={"HTTPS_PROXY": "http://127.0.0.1:1"})
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert len(found["presets"]) > 20
    promised = {
        "preset",
        "form",
        "engine",
        "download_bytes",
        "memory_bytes",
        "tokens_per_s",
        "licence",
        "verdict",
    }
    assert all(promised <= set(preset) for preset in found["presets"])
    first = found["presets"][0]
    assert found["recommended"] in (first["preset"], None)


# --- interruptions and terminals ------------------------------------------------------------------


@posix_only
def test_ctrl_c_while_loading_leaves_nothing_behind():
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "bundled", "--engine", "llamacpp"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("Starting llamacpp"):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(30) == 130
    assert "Interrupted." in said and "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def on_a_terminal(script, *arguments, cwd, patience_s=150.0):
    """What the program shows on a terminal while `script` types: (pattern to wait for, keys) pairs."""
    import pty
    import select

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ.update(TERM="xterm", COLUMNS="100")
        os.execv(sys.executable, [sys.executable, str(SCRIPT), *arguments])
    shown, seen, waiting = b"", 0, list(script)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            if script and not waiting and script[-1][1] == "\x03":
                os.write(terminal, b"\x03")  # one that comes between the prompt and the read is not heard
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # how Linux tells that the other side has closed
            break
        if not data:
            break
        shown += data
        if waiting and re.search(waiting[0][0].encode(), shown[seen:]):
            seen = len(shown)
            os.write(terminal, waiting.pop(0)[1].encode())
    if time.monotonic() >= deadline:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode("utf-8", "replace"))
    return text.replace("\r\n", "\n"), status


@posix_only
def test_the_walk_through_offers_what_fits_loads_it_and_asks_it_something(tmp_path):
    shutil.copy(bundled.path(bundled.SMOLLM2), tmp_path / "own.gguf")
    typed = [
        (r"\[1\] > ", "nowhere\r"),
        (r"\[1\] > ", "99\r"),
        (r"\[1\] > ", "2\r"),
        (r"\[1\] > ", "\r"),
        (r"\[1\] > ", "\r"),
    ]
    text, status = on_a_terminal(typed, cwd=tmp_path)
    assert status == 0, text
    assert "there is no file or folder nowhere" in text and "Type a number from 1 to" in text
    assert "  2  own.gguf (98 MB)" in text
    assert (
        re.search(r"-  cuda: unavailable, \w", text)
        or "cuda" not in text.partition("On which device")[2][:300]
    )
    assert "What is the capital of France?" in text and "tokens a second" in text.rpartition("France?")[2]
    assert text.index("Speed") < text.index("A test question") < text.index("Memory given back")


@posix_only
@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_ctrl_c_and_ctrl_d_leave_the_walk_through(tmp_path, key):
    text, status = on_a_terminal([(r"\[1\] > ", key)], cwd=tmp_path)
    assert status == 130 and text.rstrip().endswith("Interrupted.") and "Traceback" not in text
