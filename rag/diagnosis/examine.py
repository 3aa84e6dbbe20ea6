"""Up to the plan: what was asked, this machine, the model, and every way to bring them together."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rag.diagnosis.records import Diagnosis, Options
from rag.errors import ModelNotFound, RagError
from rag.loader.hub.presets import siblings_of
from rag.loader.machine.hardware import machine as look
from rag.loader.machine.installed import import_problems
from rag.loader.planning.plan import best
from rag.loader.records import Machine, ModelFacts, Request
from rag.loader.survey import find, plan_all, with_nearest
from rag.loader.units import parse_bytes
from rag.places import CHECKOUT

Say = Callable[[str], None]
"""Tells the user what is being done, on standard error."""

NO_SETTINGS = {"FOOTNOTE_INDEX", "FOOTNOTE_CACHE", "FOOTNOTE_TEST_DATA", "FOOTNOTE_API_KEY"}
DOCUMENTS = {".pdf", ".docx", ".md", ".txt", ".html", ".epub", ".pptx", ".xlsx", ".odt"}
SLOW_IMPORTS = {"vllm"}
"""Their import takes up to a minute, so it is tried only where they could run the model."""


def examine(options: Options, light: bool, say: Say) -> Diagnosis:
    """Look at the model and at this machine, and plan. Raises what `find` raises, and UsageError.

    What keeps the model from being run is the diagnosis's `error`. Unless only a plan is asked for, the
    engines are really imported and the machine is measured, which takes some seconds.
    """
    assert options.model
    request = request_of(options, light)
    machine = look()
    facts = _found(options.model, machine)
    diagnosis = planned(Diagnosis(options.model, request, machine, tuple(facts), light=light))
    enough = options.plan_only or not diagnosis.candidates
    return diagnosis if enough else planned(tried(diagnosis, say))


def _found(model: str, machine: Machine) -> list[ModelFacts]:
    """As `find`, with a word for those who name the folder of their documents."""
    try:
        return find(model, gpu=bool(machine.gpus))
    except ModelNotFound as error:
        documents = [path for path in Path(model).expanduser().glob("*") if path.suffix.lower() in DOCUMENTS]
        if not documents:
            raise
        fix = f"To ask questions about them: python scripts/ingest.py {shlex.quote(model)}"
        raise ModelNotFound(f"{model} holds documents ({documents[0].name}) and no model", fix) from error


def request_of(options: Options, light: bool = False, environ: Mapping[str, str] | None = None) -> Request:
    """The command line over the settings, where any are set. Raises SettingsError, UsageError.

    The settings' own module takes most of a second to import, more than all the rest of a plan.
    """
    flags = {
        "engine": options.engine,
        "quantization": options.quantization,
        "dtype": options.dtype,
        "device": options.device,
    }
    said: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    cap = parse_bytes(options.max_memory) if options.max_memory else None
    if not light and anything_set(os.environ if environ is None else environ):
        from rag.loader import load
        from rag.settings import load_settings

        named = {f"model.{name}": value for name, value in said.items()}
        more = {"model.context": options.context, "model.max_memory": options.max_memory}
        return load.request_of(load_settings({**named, **more}, environ).model)
    asked = Request(**said, max_memory_bytes=cap)
    return replace(asked, context_tokens=options.context, context_forced=True) if options.context else asked


def anything_set(environ: Mapping[str, str]) -> bool:
    """Whether a settings file or an environment variable says anything."""
    variables = {name for name in environ if name.startswith("FOOTNOTE_")} - NO_SETTINGS
    return bool(variables) or (CHECKOUT / "footnote.toml").exists()


def planned(diagnosis: Diagnosis) -> Diagnosis:
    """All ways, and the error where none can be taken."""
    facts, request = list(diagnosis.facts), diagnosis.request
    named = facts[0].repo or facts[0].name
    siblings, known = siblings_of(named)
    diagnosis = replace(diagnosis, siblings=siblings if known else {}, candidates=(), error=None)
    try:
        surveyed = plan_all(facts, diagnosis.machine, request)
        diagnosis = replace(diagnosis, candidates=surveyed.candidates)
        best(surveyed.candidates)
    except RagError as error:
        told = with_nearest(error, surveyed, diagnosis.request) if diagnosis.candidates else error
        return replace(diagnosis, error=told)
    return diagnosis


def tried(diagnosis: Diagnosis, say: Say) -> Diagnosis:
    """The machine once more, with its engines really imported and its speed measured."""
    from rag.loader.machine.probe import probe

    wanted = [name for name in diagnosis.machine.engines if _worth_importing(name, diagnosis)]
    problems: dict[str, str] = {}
    for name in wanted:
        say(f"Importing {name}, to see whether it works")
        problems.update(import_problems([name]))
    if diagnosis.machine.probe is None:
        say("Measuring this machine for a second")
    machine = with_problems(diagnosis.machine, problems)
    return replace(diagnosis, machine=replace(machine, probe=probe()), imports=problems)


def with_problems(machine: Machine, problems: Mapping[str, str]) -> Machine:
    """The machine with engines that are installed and do not import marked as broken."""
    engines = dict(machine.engines)
    for name, problem in problems.items():
        fix = engines[name].fix or "Install its packages again: `python scripts/run.py shell` once."
        engines[name] = replace(engines[name], problem=f"it does not import: {problem}", fix=fix)
    return replace(machine, engines=engines)


def missing_to_load() -> list[str]:
    """The packages that this Python lacks for watching over a model's process."""
    return [name for name in ("psutil", "rich") if importlib.util.find_spec(name) is None]


def _worth_importing(name: str, diagnosis: Diagnosis) -> bool:
    state = diagnosis.machine.engine(name)
    could = any(
        candidate.plan.engine == name and candidate.verdict in ("fits", "does not fit")
        for candidate in diagnosis.candidates
    )
    return state.version is not None and (name not in SLOW_IMPORTS or could)


# --- what does not fit ----------------------------------------------------------------------------
