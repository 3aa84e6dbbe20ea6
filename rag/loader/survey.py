"""From what the user typed to every way of running it: find the model, look at the machine, plan."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rag.errors import ModelNotFound, RagError
from rag.loader.hub.download import files_for, local_copy
from rag.loader.hub.presets import Preset, nearest, presets, siblings_of, user_presets
from rag.loader.machine.hardware import machine as look
from rag.loader.model.files import Files, LocalFiles
from rag.loader.model.inspect import inspect_files, inspect_local
from rag.loader.planning.plan import best, judge_all, ranked, refuse_damaged
from rag.loader.records import Candidate, Machine, ModelFacts, Plan, Request

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
BUNDLED_PRESET = "smollm2-135m"
URL = re.compile(r"https?://", re.IGNORECASE)

OpenHub = Callable[[str], Files]
"""Opens a repository on a hub for a look at its headers."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A model, this machine and all ways to bring them together, best first.

    A preset is published in several forms: `facts` has one entry for each that was looked at.
    """

    facts: tuple[ModelFacts, ...]
    machine: Machine
    candidates: tuple[Candidate, ...]

    def facts_of(self, plan: Plan) -> ModelFacts:
        """The facts that a plan was made from."""
        return next(found for found in self.facts if plan.model == _place(found))


def survey(
    model: str, request: Request, machine: Machine | None = None, open_hub: OpenHub | None = None
) -> Survey:
    """Look at a model and at this machine, and judge every way to run it; nothing is loaded or downloaded.

    Raises ModelNotFound, ModelDamaged, ModelRefused, NotQuantized, UsageError, DownloadFailed.
    """
    machine = machine or look()
    return plan_all(find(model, open_hub, bool(machine.gpus)), machine, request)


def plan_all(found: Sequence[ModelFacts], machine: Machine, request: Request) -> Survey:
    """All ways of all published forms, ranked together; a form that the request excludes adds none.

    Raises what the first form raises where none is left.
    """
    candidates: list[Candidate] = []
    refusals: list[RagError] = []
    for facts in found:
        try:
            refuse_damaged(facts, request)
            candidates += judge_all(facts, machine, request, *siblings_of(facts.repo or facts.name))
        except RagError as error:
            refusals.append(error)
    if not candidates:
        raise refusals[0]
    return Survey(tuple(found), machine, tuple(ranked(candidates)))


def find(model: str, open_hub: OpenHub | None = None, gpu: bool = False) -> list[ModelFacts]:
    """What is known of the model that the user named: a file, a folder, a preset, "bundled", or a hub id.

    A preset's forms come in the order in which they are to be preferred; `gpu` says whether there is one.
    Raises ModelNotFound, DownloadFailed, BundledModelMissing, SettingsError.
    """
    if model == "bundled":
        return [bundled_facts()]
    path = Path(model).expanduser()
    if path.exists():
        return [inspect_local(path)]
    known = {name.lower(): preset for name, preset in presets(user_presets(os.environ)).items()}
    if preset := known.get(model.lower()):
        return preset_facts(preset, gpu) or [_on_the_hub(preset.repo, open_hub)]
    if HUB_ID.fullmatch(model) and not model.startswith(".") and path.suffix.lower() != ".gguf":
        return [_on_the_hub(model, open_hub)]
    near = nearest(model) or difflib.get_close_matches(model.lower(), known, n=2)
    raise ModelNotFound(
        f"there is no file or folder {model}, and no preset of that name",
        f"Did you mean {' or '.join(near)}?"
        if near
        else "Name a GGUF file, a model folder, a hub id (OWNER/NAME), or a preset that "
        "`python scripts/diagnose_load.py --recommend` lists.",
    )


def bundled_facts() -> ModelFacts:
    """The facts of the model that comes with the installation. Raises BundledModelMissing."""
    from rag import bundled

    return replace(inspect_local(bundled.path(bundled.SMOLLM2)), target="bundled", name=bundled.SMOLLM2.name)


def preset_facts(preset: Preset, gpu: bool = False) -> list[ModelFacts]:
    """Each published form of a preset: read from the files where they are here, else as the preset tells.

    Without a GPU the GGUF form comes first: llama.cpp is the engine that is written for processors.
    """
    if preset.name == BUNDLED_PRESET and not preset.own:
        return [bundled_facts()]
    forms = list(preset.prefer or preset.variants)
    if not gpu and not preset.prefer:
        forms.sort(key=lambda form: form != "gguf")
    return [_on_disk(preset, form) or preset.facts(form) for form in forms if form in preset.variants]


def _on_disk(preset: Preset, form: str) -> ModelFacts | None:
    engine, label = ("llamacpp", preset.gguf_file) if form == "gguf" else ("transformers", None)
    folder = local_copy(preset.repo_of(form), wanted=lambda sizes: files_for(sizes, engine, label))
    if folder is None:
        return None
    path = folder / files_for(LocalFiles(folder).sizes(), engine, label)[0] if label else folder
    return replace(inspect_local(path), target=preset.name, repo=preset.repo_of(form))


def _on_the_hub(repo: str, open_hub: OpenHub | None) -> ModelFacts:
    if here := local_copy(repo):
        return replace(inspect_local(here), target=repo, repo=repo)
    name = repo.rpartition("/")[2]
    return inspect_files((open_hub or _hub)(repo), repo, name, repo=repo)


def _hub(repo: str) -> Files:
    from rag.loader.hub.hub import HubFiles

    return HubFiles(repo)


def _place(facts: ModelFacts) -> str:
    return str(facts.place or facts.repo or facts.target)


# --- when what was asked for does not fit ---------------------------------------------------------


def fitting(surveyed: Survey, request: Request) -> list[Candidate]:
    """The ways that fit, best first. Raises as `best`, naming the nearest that fits where one was forced."""
    try:
        return best(surveyed.candidates)
    except RagError as error:
        raise with_nearest(error, surveyed, request) from error


def with_nearest(error: RagError, surveyed: Survey, request: Request) -> RagError:
    """The error of a way that was asked for, with the nearest one that fits."""
    near = nearest_way(surveyed.facts, surveyed.machine, request) if request.forced else None
    if near is None:
        return error
    words, need = " ".join(flags_of(near.plan)), near.reason.partition(";")[0]
    return type(error)(error.message, f"{error.fix} Nearest that fits: {words}, which {need}.")


def nearest_way(facts: Sequence[ModelFacts], machine: Machine, request: Request) -> Candidate | None:
    """The way that fits and has most in common with what was asked for; None where none fits."""
    free = replace(request, engine="auto", quantization="auto", dtype="auto", device="auto")
    try:
        ways = best(plan_all(facts, machine, free).candidates)
    except RagError:
        return None  # the error that the caller has says why
    names = ("engine", "quantization", "dtype", "device")
    return max(ways, key=lambda way: sum(getattr(request, name) == getattr(way.plan, name) for name in names))


def flags_of(plan: Plan) -> list[str]:
    """The flags that force a way."""
    words = [f"--engine {plan.engine}"]
    if plan.engine != "llamacpp":
        words += [f"--quantization {plan.quantization}", f"--dtype {plan.dtype}"]
    return [*words, f"--device {plan.device}"]
