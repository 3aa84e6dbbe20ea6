"""The way from settings to a model that answers: survey, then the best way first, the next if it fails."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag.cores import usable_cores
from rag.errors import ModelRefused, RagError
from rag.loader.base import LanguageModel, Report
from rag.loader.planning.plan import refuse_damaged
from rag.loader.process import requantize, running
from rag.loader.process.supervise import Step, WorkerModel, start
from rag.loader.records import Candidate, Plan, Request
from rag.loader.survey import URL, Survey, fitting, survey
from rag.loader.units import parse_bytes

if TYPE_CHECKING:
    from rag.settings import ModelSettings

CONTEXT_TOKENS = 2048


def open_model(
    settings: ModelSettings, context_tokens: int = CONTEXT_TOKENS, on_event: Report = lambda event: None
) -> LanguageModel:
    """Begin to load the model that the settings name, in the best way that fits, and return at once.

    `context_tokens` is what prompt and answer need together. A server of ours that runs the model already
    is used instead of loading it twice. Raises what `survey` raises, DoesNotFit and EngineMissing; what goes
    wrong later is raised by the model when it is asked.
    """
    request = request_of(settings, context_tokens)
    if URL.match(settings.model) or settings.engine == "remote":
        return open_remote_model(settings.model, request)
    if settings.model == "bundled" and request == Request(context_tokens=request.context_tokens):
        plan = bundled_plan(request)
        return _on_our_server([Path(plan.model)], request) or start(plan, on_event)
    surveyed = survey(settings.model, request)
    places = [facts.place for facts in surveyed.facts if facts.place]
    return _on_our_server(places, request) or open_best(surveyed, request, on_event)


def bundled_plan(request: Request) -> Plan:
    """How the bundled model is run when nothing is asked for: it fits anywhere, and looking would cost time.

    Raises BundledModelMissing.
    """
    from rag import bundled

    return Plan(
        str(bundled.path(bundled.SMOLLM2)),
        bundled.SMOLLM2.name,
        "llamacpp",
        "Q4_1",
        None,
        min(request.context_tokens, 8192),
        usable_cores(),
        stored="gguf",
        parameters=134_515_008,
        weight_bytes=bundled.SMOLLM2.size,
    )


def request_of(settings: ModelSettings, context_tokens: int = CONTEXT_TOKENS) -> Request:
    """The settings in the plan's terms. Raises UsageError."""
    return Request(
        engine=settings.engine,
        quantization=settings.quantization,
        dtype=settings.dtype,
        device=settings.device,
        context_tokens=settings.context or context_tokens,
        context_forced=bool(settings.context),
        max_memory_bytes=None if settings.max_memory is None else parse_bytes(settings.max_memory),
        threads=settings.threads,
        load_seconds=settings.load_seconds,
        tensor_parallel=settings.tensor_parallel,
        pipeline_parallel=settings.pipeline_parallel,
        distributed_executor=settings.distributed_executor,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        trust_remote_code=settings.trust_remote_code,
        requantize=settings.requantize,
    )


def prepare(settings: ModelSettings, on_event: Report = lambda event: None) -> None:
    """Make the faster copy of a local GGUF file whose type is slow here, if it is worth it and quickly done.

    For the moment of setting up, not of answering. What stands against it is told once the model is loaded.
    """
    if settings.requantize == "off" or settings.engine not in ("auto", "llamacpp"):
        return
    with contextlib.suppress(RagError, OSError):
        surveyed = survey(settings.model, request_of(settings))
        facts = surveyed.facts[0]
        target = requantize.worth(facts.tensors, surveyed.machine) if facts.kind == "gguf" else None
        if target and facts.place:
            requantize.make(facts.place, target, on_event)


def open_best(surveyed: Survey, request: Request, on_event: Report = lambda event: None) -> WorkerModel:
    """Start the best way that fits; unless one is forced, the next is tried when it fails."""
    ways = fitting(surveyed, request)
    return start_all(ways[:1] if request.forced else ways, on_event, request)


def start_all(
    rungs: Sequence[Candidate],
    on_event: Report = lambda event: None,
    request: Request | None = None,
) -> WorkerModel:
    """Start the first of the candidates, and the next whenever one does not come to be ready."""
    cancel = threading.Event()
    steps: list[Step] = [_step(rung.plan, on_event, cancel, request or Request()) for rung in rungs]
    return WorkerModel(steps, rungs[0].plan, on_event, cancel)


def _step(plan: Plan, on_event: Report, cancel: threading.Event, request: Request) -> Step:
    return (lambda: fetched(plan, on_event, cancel, request)) if plan.repo else (lambda: plan)


def fetched(plan: Plan, on_event: Report, cancel: threading.Event, request: Request) -> Plan:
    """The plan with its model on disk, downloaded if need be, and looked at once more: now the files tell.

    Raises DownloadFailed, ModelNotFound, ModelDamaged, ModelRefused.
    """
    from rag.loader.hub.download import download, files_for
    from rag.loader.model.files import LocalFiles
    from rag.loader.model.inspect import inspect_local

    assert plan.repo
    folder = download(
        plan.repo,
        wanted=lambda sizes: files_for(sizes, plan.engine, plan.file, plan.trust_remote_code),
        on_event=on_event,
        cancel=cancel,
    )
    names = files_for(LocalFiles(folder).sizes(), plan.engine, plan.file, plan.trust_remote_code)
    place = folder / names[0] if plan.file else folder
    facts = inspect_local(place)
    refuse_damaged(facts, request)
    if facts.quantization.method != plan.stored:
        raise ModelRefused(
            f"{plan.repo} was to hold {plan.stored} weights, and holds {facts.quantization.label}",
            f"Name the folder to have it planned anew: {place}",
        )
    return replace(
        plan, model=str(place), repo=None, parameters=facts.parameters, weight_bytes=facts.weight_bytes
    )


def _on_our_server(places: Sequence[Path], request: Request) -> LanguageModel | None:
    """The model through a server of ours that runs one of its forms already."""
    for place in places:
        if server := running.find(running.identity(place)):
            return open_remote_model(server.url, request, server.key)
    return None


def open_remote_model(url: str, request: Request, key: str | None = None) -> LanguageModel:
    """A model behind an OpenAI-compatible URL; without `key` it is FOOTNOTE_API_KEY's."""
    from rag.loader.engines.remote import open_remote

    name = url.partition("#")[2] or url
    plan = Plan(url, name, "remote", "unknown", None, request.context_tokens, 1, device="remote")
    return open_remote(plan, key)
