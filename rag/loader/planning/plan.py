"""Every way to run this model on this machine, ranked, each with a verdict and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rag.errors import DoesNotFit, EngineMissing, ModelDamaged, ModelLoadFailed, ModelRefused, UsageError
from rag.loader.planning import speed
from rag.loader.planning.asked import notes, settle
from rag.loader.planning.fit import fit, way_of
from rag.loader.planning.ladder import Rung, ladder
from rag.loader.planning.support import why_refused, why_unavailable
from rag.loader.records import Candidate, Machine, ModelFacts, Plan, Request, Verdict, title

TYPICAL_PROMPT, TYPICAL_ANSWER = 1024, 160
"""Tokens of an ordinary question with its passages, and of its answer: ways on a processor rank by them."""

DEVICES = ("cuda", "cpu", "disk")
VERDICTS: tuple[Verdict, ...] = ("fits", "does not fit", "unavailable", "refused")


def make_plans(
    facts: ModelFacts,
    machine: Machine,
    request: Request,
    siblings: Mapping[str, str] | None = None,
    certain: bool = True,
) -> list[Candidate]:
    """All ways, those that fit first, the best of them in front.

    `siblings` maps a method to the published version of the model in that form, `certain` is whether they are
    known to exist.

    Raises what `settle` raises, and UsageError when engine, device and quantization exclude each other.
    """
    return ranked(judge_all(facts, machine, request, siblings or {}, certain))


def judge_all(
    facts: ModelFacts, machine: Machine, request: Request, siblings: Mapping[str, str], certain: bool
) -> list[Candidate]:
    """As `make_plans`, in the ladder's order."""
    settled = settle(request, facts, siblings, certain)
    rungs = ladder(facts, machine, settled)
    if not rungs:
        raise _nothing_left(facts, request)
    told = notes(request.quantization, facts)
    return [_judge(rung, facts, machine, settled, told) for rung in rungs]


def best(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that fit, in the order in which to try them. Raises DoesNotFit, EngineMissing or ModelRefused."""
    fitting = [candidate for candidate in candidates if candidate.verdict == "fits"]
    if fitting:
        return fitting
    raise none_fits(candidates)


def refuse_damaged(facts: ModelFacts, request: Request) -> None:
    """Raise ModelDamaged or ModelRefused for what keeps the model from being loaded at all."""
    for problem in facts.problems:
        if problem.kind == "remote_code" and request.trust_remote_code:
            continue
        kind = {"pickle_only": ModelRefused, "remote_code": ModelRefused}.get(problem.kind, ModelDamaged)
        raise kind(problem.message, problem.fix)


def none_fits(candidates: Sequence[Candidate]) -> ModelLoadFailed | EngineMissing:
    """The error for a model that cannot be run: the nearest way, and what it lacks."""
    short = [candidate for candidate in candidates if candidate.verdict == "does not fit"]
    if short:
        nearest = min(short, key=lambda candidate: candidate.need.peak if candidate.need else 1 << 62)
        return DoesNotFit(
            f"{nearest.plan.name} does not fit: the smallest way, {title(nearest.plan)}, {nearest.reason}",
            nearest.fix or "Choose a smaller model; --recommend lists what fits.",
        )
    closed = [candidate for candidate in candidates if candidate.verdict == "unavailable"]
    others = closed or list(candidates)
    first = next((candidate for candidate in others if candidate.plan.device == "cpu"), others[0])
    kind = EngineMissing if closed else ModelRefused
    return kind(f"{first.plan.name} cannot be run here: {first.reason}", first.fix)


# --- one rung -------------------------------------------------------------------------------------


def _judge(
    rung: Rung, facts: ModelFacts, machine: Machine, request: Request, told: tuple[str, ...]
) -> Candidate:
    plan = _plan(rung, facts, machine, request, told)
    method = facts.quantization.method
    if refused := why_refused(_method_for(rung, method), rung.engine):
        return Candidate(plan, "refused", refused, _instead(method))
    if misread := _misread(facts, rung.engine):
        return Candidate(plan, "refused", *misread)
    device = "cpu" if rung.device == "disk" else rung.device
    closed, fix = why_unavailable(_method_for(rung, method), rung.engine, device, machine)
    if closed:
        return Candidate(plan, "unavailable", closed, fix)
    return _with_speed(fit(plan, facts, machine, request), facts, machine)


def _misread(facts: ModelFacts, engine: str) -> tuple[str, str] | None:
    """Why an engine that believes the model's settings would read wrong weights, and what to do instead.

    vLLM is told what an older tool's side file says; transformers reads config.json alone.
    """
    stored = facts.quantization
    if facts.kind == "gguf" or not stored.declared:  # told by a preset, and not read from files
        return None
    if stored.legacy and engine == "vllm":
        return None
    if stored.declared not in ("none", stored.method):
        return (
            f"config.json says {stored.declared} and the tensors are {stored.method}: "
            f"{engine} would believe config.json and read nonsense",
            "Correct quantization_config in config.json, or download the model again.",
        )
    if (
        stored.method == "none"
        or (stored.declared == stored.method and engine == "vllm")
        or _in_config(facts)
    ):
        return None
    return (
        f"config.json does not name the quantization: {engine} would take {stored.method} weights for "
        "unquantized ones",
        "Use vLLM, which is told what the side file says." if stored.legacy else "Download the model again.",
    )


def _in_config(facts: ModelFacts) -> bool:
    inner = facts.config.get("text_config")
    return any(isinstance(c, Mapping) and c.get("quantization_config") for c in (facts.config, inner))


def _instead(method: str) -> str:
    if method == "gguf":
        return "Leave --engine out: llama.cpp reads it."
    return "Take another version of the model: a GGUF file, or unquantized safetensors."


def _method_for(rung: Rung, stored: str) -> str:
    """The row of SUPPORT that the rung needs: that of the reduction where weights are reduced on load."""
    return rung.quantization if stored == "none" and rung.quantization != "none" else stored


def _plan(rung: Rung, facts: ModelFacts, machine: Machine, request: Request, told: tuple[str, ...]) -> Plan:
    context = request.context_tokens
    notes = told
    if facts.context_tokens and facts.context_tokens < context:
        context = facts.context_tokens
        if request.context_forced:
            notes = (*notes, f"the model knows no more than {context} tokens of context")
    return Plan(
        model=str(facts.place or facts.repo or facts.target),
        name=facts.name,
        engine=rung.engine,
        quantization=rung.quantization,
        dtype=rung.dtype,
        context_tokens=context,
        threads=request.threads or machine.cores,
        device=rung.device,
        stored=facts.quantization.method,
        max_memory_bytes=request.max_memory_bytes,
        load_seconds=request.load_seconds,
        parameters=facts.parameters,
        weight_bytes=facts.weight_bytes,
        pipeline_parallel=request.pipeline_parallel,
        distributed_executor=None if request.distributed_executor == "auto" else request.distributed_executor,
        gpu_memory_utilization=request.gpu_memory_utilization,
        trust_remote_code=request.trust_remote_code,
        requantize=rung.requantize or ("none" if request.requantize == "off" else None),
        repo=None if facts.place else facts.repo,
        file=_gguf_file(facts),
        notes=(*notes, *filter(None, [rung.note])),
    )


def _with_speed(candidate: Candidate, facts: ModelFacts, machine: Machine) -> Candidate:
    way = way_of(candidate.plan)
    way.pop("threads")
    found = speed.predict(facts, machine, **way)
    return replace(
        candidate,
        load_seconds=found.load_seconds,
        prefill_tokens_per_s=found.prefill_tokens_per_s,
        tokens_per_s=found.tokens_per_s,
    )


def _gguf_file(facts: ModelFacts) -> str | None:
    """The file's name, or where that is not known the type to look for among the repository's files."""
    if facts.kind != "gguf":
        return None
    return facts.shards[0].name if facts.shards else facts.quantization.label


# --- all of them ----------------------------------------------------------------------------------


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Fitting ones first; GPU before processor before disk; on a processor the quickest answer first."""
    order = sorted(
        range(len(candidates)),
        key=lambda at: (
            VERDICTS.index(candidates[at].verdict),
            DEVICES.index(candidates[at].plan.device),
            _by_time(candidates, at),
            at,
        ),
    )
    ranked = [candidates[at] for at in order]
    return [ranked[0], *(_passed_over(candidate, ranked[0]) for candidate in ranked[1:])]


def _by_time(candidates: Sequence[Candidate], at: int) -> float:
    """Seconds of a typical answer on a processor; where one is unknown, the ladder's order stands."""
    rivals = [c for c in candidates if c.verdict == "fits" and c.plan.device == "cpu"]
    times = [answer_seconds(candidate) for candidate in rivals]
    if candidates[at] not in rivals or any(time is None for time in times):
        return 0.0
    return answer_seconds(candidates[at]) or 0.0


def answer_seconds(candidate: Candidate) -> float | None:
    """Predicted seconds of a typical question and answer; None where a speed is unknown."""
    if not candidate.prefill_tokens_per_s or not candidate.tokens_per_s:
        return None
    return TYPICAL_PROMPT / candidate.prefill_tokens_per_s + TYPICAL_ANSWER / candidate.tokens_per_s


def _passed_over(candidate: Candidate, first: Candidate) -> Candidate:
    """The candidate with the figures for which a better one is preferred."""
    mine, best_time = answer_seconds(candidate), answer_seconds(first)
    if (
        candidate.verdict != "fits"
        or first.verdict != "fits"
        or not mine
        or not best_time
        or round(mine) <= round(best_time)  # too near to be told apart
    ):
        return candidate
    slower = f"; slower: {mine:.0f} s for a typical answer against {best_time:.0f} s of {title(first.plan)}"
    return replace(candidate, reason=candidate.reason + slower)


def _nothing_left(facts: ModelFacts, request: Request) -> UsageError:
    kind = "a GGUF file" if facts.kind == "gguf" else f"a folder with {facts.quantization.label} weights"
    named = [
        f"--{name} {value}"
        for name, value in (
            ("engine", request.engine),
            ("device", request.device),
            ("quantization", request.quantization),
        )
        if value != "auto"
    ]
    return UsageError(f"{' '.join(named)} cannot run {facts.name}, which is {kind}", "Leave one of them out.")
