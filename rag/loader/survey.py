"""From what the user typed to every way of running it: find the model, look at the machine, plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rag.errors import ModelNotFound, RagError
from rag.loader.download import local_copy
from rag.loader.files import Files
from rag.loader.hardware import machine as look
from rag.loader.inspect import inspect_files, inspect_local
from rag.loader.plan import make_plans, ranked, refuse_damaged
from rag.loader.presets import Preset, load_presets, siblings_of, suggestions
from rag.loader.records import Candidate, Machine, ModelFacts, Plan, Request

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
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
    found = find(model, open_hub)
    return plan_all(found, machine or look(), request)


def plan_all(found: list[ModelFacts], machine: Machine, request: Request) -> Survey:
    """All ways of all published forms, ranked together; a form that the request excludes adds none.

    Raises what the only form, or the first of them, raises where none is left.
    """
    candidates: list[Candidate] = []
    refusals: list[RagError] = []
    for facts in found:
        try:
            refuse_damaged(facts, request)
            candidates += make_plans(facts, machine, request, siblings_of(facts.repo or facts.name))
        except RagError as error:
            refusals.append(error)
    if not candidates:
        raise refusals[0]
    return Survey(tuple(found), machine, tuple(ranked(candidates)))


def find(model: str, open_hub: OpenHub | None = None) -> list[ModelFacts]:
    """What is known of the model that the user named: a file, a folder, a preset, "bundled", or a hub id.

    Raises ModelNotFound, DownloadFailed, BundledModelMissing.
    """
    if model == "bundled":
        return [bundled_facts()]
    path = Path(model).expanduser()
    if path.exists():
        return [inspect_local(path)]
    preset = load_presets().get(model.lower())
    if preset:
        return preset_facts(preset)
    if HUB_ID.fullmatch(model) and not model.startswith("."):
        return [_on_the_hub(model, open_hub)]
    raise ModelNotFound(
        f"there is no file or folder {model}, and no preset of that name",
        suggestions(model)
        or "Name a GGUF file, a model folder, a hub id (OWNER/NAME) or a preset (--recommend).",
    )


def bundled_facts() -> ModelFacts:
    """The facts of the model that comes with the installation. Raises BundledModelMissing."""
    from rag import bundled

    return replace(inspect_local(bundled.path(bundled.SMOLLM2)), target="bundled", name=bundled.SMOLLM2.name)


def preset_facts(preset: Preset) -> list[ModelFacts]:
    """Each published form of a preset: read from the files where they are here, else as the preset tells."""
    if preset.repo == "bundled":
        return [bundled_facts()]
    forms = []
    for method in preset.forms:
        told = preset.facts(method)
        here = local_copy(preset.repo_of(method), wanted=preset.wanted(method))
        forms.append(_local(told, here) if here else told)
    return forms


def _local(told: ModelFacts, folder: Path) -> ModelFacts:
    path = folder / told.shards[0].name if told.kind == "gguf" else folder
    return replace(inspect_local(path), target=told.target, name=told.name, repo=told.repo)


def _on_the_hub(repo: str, open_hub: OpenHub | None) -> ModelFacts:
    if here := local_copy(repo):
        return replace(inspect_local(here), target=repo, repo=repo)
    name = repo.rpartition("/")[2]
    return inspect_files((open_hub or _hub)(repo), repo, name, repo=repo)


def _hub(repo: str) -> Files:
    from rag.loader.hub import HubFiles

    return HubFiles(repo)


def _place(facts: ModelFacts) -> str:
    return str(facts.place or facts.repo or facts.target)


def published(siblings: Mapping[str, str]) -> str:
    """The published versions of a model as words: "AWQ: Qwen/...-AWQ, GGUF: ..."."""
    return ", ".join(f"{method.upper()}: {repo}" for method, repo in siblings.items())
