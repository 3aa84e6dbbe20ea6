"""The walk-through: which model, in which form, on which device; then it is loaded and asked a question."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag import console
from rag.diagnosis.examine import planned, request_of
from rag.diagnosis.recommend import measured, offers
from rag.diagnosis.records import Diagnosis, Options
from rag.diagnosis.run import diagnose, say
from rag.diagnosis.sections import gigabytes, rate
from rag.diagnosis.text import width, wrapped
from rag.errors import RagError
from rag.loader.base import Sampling
from rag.loader.hub.download import models_root
from rag.loader.hub.presets import presets, user_presets
from rag.loader.machine.hardware import machine as look
from rag.loader.records import Candidate, Machine, Request
from rag.loader.survey import find
from rag.loader.units import size
from rag.render import Wrapper
from rag.types import Message

if TYPE_CHECKING:
    from rag.loader.process.supervise import WorkerModel

QUESTION = "What is the capital of France?"
MOST_FILES, MOST_PRESETS = 8, 6
OTHER = "another: type a path or a hub id (OWNER/NAME)"


@dataclass(frozen=True, slots=True)
class Choice:
    """One numbered line: `value` is what choosing it means; without one it is only told why it is closed."""

    text: str
    value: str | None = None


def interview(options: Options, light: bool = False) -> int:
    """Ask for what the command line leaves open, then diagnose and put a test question to the model.

    Ctrl-D and Ctrl-C leave, with the exit code of an interruption. Raises RagError.
    """
    print("This loads a language model and shows what happens. Enter takes the choice in brackets.\n")
    try:
        machine = measured(look(), say)
        request = request_of(options, light)
        facts_of = _model_asked(machine, request)
        chosen = _ways_asked(replace(options, model=facts_of), machine, request)
    except EOFError:
        print()
        raise KeyboardInterrupt from None
    return diagnose(chosen, light, _test_question)


# --- which model ----------------------------------------------------------------------------------


def _model_asked(machine: Machine, request: Request) -> str:
    """A model's name that leads to a model; asked again until it does."""
    choices = [*_files(), *_presets(machine, request)]
    while True:
        name = ask(
            "Which model?", [Choice("the small one that comes with Footnote", "bundled"), *choices], OTHER
        )
        try:
            if find(name, gpu=bool(machine.gpus)):
                return name
        except RagError as error:
            _tell(f"{error.message}. {error.fix}")


def _files() -> list[Choice]:
    """Models on this computer: in the current folder and in the cache."""
    here, cache = Path.cwd(), models_root()
    found = [path for place in (here, cache) for path in _models_in(place)]
    return [Choice(f"{_near(path)} ({size(_bytes(path))})", str(path)) for path in found[:MOST_FILES]]


def _models_in(place: Path) -> list[Path]:
    """GGUF files and model folders, at most two folders deep."""
    patterns = ("*.gguf", "*/*.gguf", "*/*/*.gguf", "config.json", "*/config.json", "*/*/config.json")
    try:
        found = [path for pattern in patterns for path in sorted(place.glob(pattern)) if path.is_file()]
    except OSError:
        return []  # a folder that may not be read offers nothing
    folders = [path.parent for path in found if path.name == "config.json" and _weights(path.parent)]
    return [path for path in found if path.suffix == ".gguf"] + folders


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (_weights(path) if path.is_dir() else [path]))


def _near(path: Path) -> str:
    for start, sign in ((Path.cwd(), "."), (Path.home(), "~")):
        if path.is_relative_to(start):
            return str(Path(sign) / path.relative_to(start))
    return str(path)


def _presets(machine: Machine, request: Request) -> list[Choice]:
    """Those that fit, the best first; of the others how many there are, and why."""
    found = offers(presets(user_presets(os.environ)).values(), machine, request)
    good = [offer for offer in found if offer.fits and offer.preset.name != "bundled"][:MOST_PRESETS]
    choices = []
    for offer in good:
        download = (
            f"{gigabytes(offer.download_bytes)} GB to download"
            if offer.download_bytes
            else "on this computer"
        )
        pace = f"about {rate(offer.tokens_per_s)} tokens a second"
        choices.append(Choice(f"{offer.preset.name}: {download}, {pace}", offer.preset.name))
    closed = [offer for offer in found if not offer.fits]
    if closed:
        named = ", ".join(offer.preset.name for offer in closed[:MOST_PRESETS])
        more = f" and {len(closed) - MOST_PRESETS} more" if len(closed) > MOST_PRESETS else ""
        choices.append(
            Choice(f"not on this machine: {named}{more} ({closed[0].preset.name}: {closed[0].reason})")
        )
    return choices


# --- in which way ---------------------------------------------------------------------------------


def _ways_asked(options: Options, machine: Machine, request: Request) -> Options:
    """The options with quantization and device, where there is a choice between ways that fit."""
    assert options.model
    diagnosis = planned(
        Diagnosis(options.model, request, machine, tuple(find(options.model, gpu=bool(machine.gpus))))
    )
    fitting = [found for found in diagnosis.candidates if found.verdict == "fits"]
    if options.quantization is None and fitting:
        methods = _first_of_each(diagnosis.candidates, "quantization")
        if method := _way_asked("In which form should its weights be in memory?", methods, "quantization"):
            options = replace(options, quantization=method)
            fitting = [found for found in fitting if found.plan.quantization == method]
    if options.device is None and fitting:
        kept = [
            found
            for found in diagnosis.candidates
            if options.quantization is None or found.plan.quantization == options.quantization
        ]
        devices = _first_of_each(kept, "device")
        if device := _way_asked("On which device?", devices, "device"):
            options = replace(options, device=device)
    return options


def _first_of_each(candidates: Sequence[Candidate], field: str) -> list[Candidate]:
    """The best way for each value of a plan's field; ways that fit come first."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(getattr(candidate.plan, field), candidate)
    return list(first.values())


def _way_asked(question: str, ways: Sequence[Candidate], field: str) -> str:
    """The value that was chosen; empty for whatever is best, and where there is nothing to choose."""
    if len(ways) < 2:
        return ""
    choices = [Choice("the best that fits", "")]
    for way in ways:
        value = getattr(way.plan, field)
        fits = way.verdict == "fits"
        pace = f", about {rate(way.tokens_per_s)} tokens a second" if fits and way.tokens_per_s else ""
        text = f"{value}: {way.reason}{pace}" if fits else f"{value}: {way.verdict}, {way.reason}"
        choices.append(Choice(text, value if fits else None))
    return ask(question, choices)


def ask(question: str, choices: Sequence[Choice], other: str = "") -> str:
    """The value of the choice whose number is typed; Enter takes the first. Raises EOFError.

    With `other`, what is no number is taken as it is.
    """
    columns = width()
    open_ones = [choice for choice in choices if choice.value is not None]
    print(console.paint(question, "1", sys.stdout))
    for choice in choices:
        number = f"{open_ones.index(choice) + 1:3}  " if choice.value is not None else "  -  "
        print("\n".join(wrapped(choice.text, columns, number)))
    if other:
        print(f"     {other}")
    while True:
        typed = input("[1] > ").strip() or "1"
        if typed.isdecimal() and 1 <= int(typed) <= len(open_ones):
            print()
            return open_ones[int(typed) - 1].value or ""
        if other and not typed.isdecimal():
            print()
            return typed
        _tell(f"Type a number from 1 to {len(open_ones)}{', a path or a hub id' if other else ''}.")


def _tell(text: str) -> None:
    print("\n".join(wrapped(text, width())) + "\n")


# --- at last --------------------------------------------------------------------------------------


def _test_question(model: WorkerModel) -> None:
    """Stream an answer, and how fast it came. Raises ModelError."""
    out, lines = sys.stdout, Wrapper(width())
    out.write(f"{console.paint('A test question', '1', out)}\n{QUESTION}\n\n")
    times: list[float] = []
    for text in model.stream([Message("user", QUESTION)], Sampling(max_tokens=80)):
        times.append(time.perf_counter())
        out.write(lines.feed(console.clean(text)))
        out.flush()
    out.write(lines.flush() + "\n")
    if len(times) > 1:
        out.write(f"\n{rate((len(times) - 1) / (times[-1] - times[0]))} tokens a second\n")
    out.write("\n")
