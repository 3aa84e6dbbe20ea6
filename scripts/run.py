"""Set up Footnote and run it, in one command.

    python scripts/run.py ask "question"    answer from your documents (and the flags of rag_query.py)
    python scripts/run.py app               the chat page in the browser
    python scripts/run.py test              the whole test suite (and the flags of pytest)
    python scripts/run.py lint              ruff and mypy
    python scripts/run.py shell             a shell in which `python` is Footnote's own

The first call makes a virtual environment in .venv and installs everything into it; later calls
find it ready. What is printed about that goes to standard error.
"""

# This file must be readable for Python 3.6, so that an old one can say what is wrong with it:
# newer annotations in quotes, no newer syntax. The modules in bootstrap/ may use today's.
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)
INTERRUPTED = 130
BREAKS_PYTHON = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")


def main(argv: "list[str]") -> int:
    """Run one command; returns the exit status."""
    if not supported(sys.version_info[:3]):
        return _fail(refusal(sys.version_info[:3], other_python()))
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(__doc__.strip())
        return 0
    command, rest = argv[0], argv[1:]
    if command not in COMMANDS:
        return _fail("there is no command '{}'; known: {}".format(command, ", ".join(COMMANDS)), 2)
    try:
        return COMMANDS[command](rest)
    except KeyboardInterrupt:
        print("\nStopped. The same command carries on from here.", file=sys.stderr)
        return INTERRUPTED


def supported(version: "tuple[int, ...]") -> bool:
    """Whether Footnote runs on this version of Python."""
    return OLDEST <= version[:2] <= NEWEST


def refusal(version: "tuple[int, ...]", other: str) -> str:
    """Why this Python cannot be used and what to do, in one line; `other` starts one that can."""
    return "Footnote runs on Python {}.{} to {}.{}, and this is {}. {}".format(
        *OLDEST,
        *NEWEST,
        ".".join(str(number) for number in version),
        f"Start it with: {other} scripts/run.py" if other else "Install Python {}.{}.".format(*NEWEST),
    )


def other_python() -> str:
    """The command that starts a supported Python on this machine, newest first; empty without one."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        plain, launcher = [f"python3.{minor}"], ["py", f"-3.{minor}"]
        for command in (launcher, plain) if os.name == "nt" else (plain,):
            # Started for real: version managers leave commands around that lead nowhere.
            if shutil.which(command[0]) and _starts(command):
                return " ".join(command)
    return ""


def _starts(command: "list[str]") -> bool:
    try:
        return (
            subprocess.call([*command, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
        )
    except OSError:
        return False


def ask(rest: "list[str]") -> int:
    python = _ready("base")
    return _become([python, ROOT / "rag_query.py", *rest], cwd=None) if python else 1


def app(rest: "list[str]") -> int:
    if not (ROOT / "app.py").exists():
        return _fail('this version has no chat page yet. Use: python scripts/run.py ask "your question"', 2)
    python = _ready("base")
    return _become([python, "-m", "streamlit", "run", "app.py", *rest]) if python else 1


def test(rest: "list[str]") -> int:
    python = _ready("dev")
    return _become([python, "-m", "pytest", *rest]) if python else 1


def lint(rest: "list[str]") -> int:
    if rest:
        return _fail("lint takes no arguments", 2)
    python = _ready("dev")
    if not python:
        return 1
    failed = []
    for check in ("ruff check .", "ruff format --check .", "mypy"):
        print(f"lint: {check}", flush=True)
        status = subprocess.call([str(python), "-m", *check.split()], cwd=str(ROOT), env=_environ())
        if status:
            failed.append(check)
    print("lint: " + ("failed: " + ", ".join(failed) if failed else "all three are content"))
    return 1 if failed else 0


def shell(rest: "list[str]") -> int:
    if not _ready("base"):
        return 1
    default = os.environ.get("COMSPEC", "cmd.exe") if os.name == "nt" else os.environ.get("SHELL", "/bin/sh")
    print("`python` is now Footnote's own; `exit` leaves.", file=sys.stderr)
    return _become([default, *rest], cwd=None)


COMMANDS = {"ask": ask, "app": app, "test": test, "lint": lint, "shell": shell}


def _ready(profile: str) -> "Path | None":
    """The environment's Python, installed if it was not; None after saying why it cannot be."""
    from bootstrap.environment import ensure
    from bootstrap.failures import SetupFailed

    for name in BREAKS_PYTHON:  # meant for another Python, and they would shadow what is installed
        os.environ.pop(name, None)
    try:
        return ensure(ROOT, profile)
    except SetupFailed as failure:
        _fail(str(failure))
        return None


def _become(command: "list[str | Path]", cwd: "Path | None" = ROOT) -> int:
    """Hand this process over to the command, so that signals and the exit status are its own."""
    words = [str(word) for word in command]
    if cwd:
        os.chdir(str(cwd))
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execvpe(words[0], words, _environ())
    process = subprocess.Popen(words, env=_environ())  # Windows cannot replace a process
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the command got it as well, and decides


def _environ() -> "dict[str, str]":
    """The caller's variables, with the environment's programs found first."""
    folder = ROOT / ".venv"
    programs = str(folder / ("Scripts" if os.name == "nt" else "bin"))
    path = os.pathsep.join(filter(None, [programs, os.environ.get("PATH", "")]))
    return {**os.environ, "VIRTUAL_ENV": str(folder), "PATH": path}


def _fail(message: str, status: int = 1) -> int:
    print(f"run.py: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
