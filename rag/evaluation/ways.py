"""Which configurations there are to measure: the planner's, for each model and all that is asked of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rag.errors import EngineMissing, RagError, UsageError
from rag.evaluation.dummy import FORMS, without_weights, write_dummies
from rag.loader.records import Candidate, Machine, Plan, Request, title
from rag.loader.survey import plan_all, survey

ENGINES = ("llamacpp", "transformers", "vllm")
ROOM_TOKENS = 64
"""What a chat template may add to a prompt and its answer."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure. Empty sequences leave it to the planner; bytes and tokens.

    `dummy` measures without weights, through vLLM.
    """

    models: tuple[str, ...] = ("bundled",)
    engines: tuple[str, ...] = ()
    quantizations: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    prompt_tokens: int = 512
    answer_tokens: int = 64
    context_tokens: int = 2048
    max_memory_bytes: int | None = None
    dummy: bool = False

    def check(self) -> None:
        """Raises UsageError where the context has no room for what is to be measured."""
        least = self.prompt_tokens + self.answer_tokens + ROOM_TOKENS
        if self.context_tokens < least:
            raise UsageError(
                f"a context of {self.context_tokens} tokens has no room for {self.prompt_tokens} of a prompt "
                f"and {self.answer_tokens} of an answer",
                f"Use --context {least} or more.",
            )


@dataclass(frozen=True, slots=True)
class Way:
    """A candidate of the planner, or in its place the error of asking for it, under the name `asked`."""

    model: str
    asked: str
    candidate: Candidate | None = None
    error: RagError | None = None


def ways(options: Options, machine: Machine, folder: Path) -> list[Way]:
    """Every configuration once, best first for each model; `folder` takes what has to be written for them."""
    find = _dummies if options.dummy else _planned
    found = [way for model in options.models for way in find(model, options, machine, folder)]
    unique: dict[tuple[object, ...], Way] = {}
    for way in found:
        unique.setdefault(_key(way), way)
    return _offloaded_last(list(unique.values()))


def _planned(model: str, options: Options, machine: Machine, folder: Path) -> list[Way]:
    found = []
    for request in _requests(options, options.quantizations or ("auto",)):
        try:
            candidates = survey(model, request, machine).candidates
            found += [Way(model, title(each.plan), _sparing(each)) for each in candidates]
        except UsageError:  # a word that means nothing, whatever the model
            raise
        except RagError as error:
            found.append(Way(model, _asked(request), error=error))
    return _of_engines(model, found, options.engines)


def _of_engines(model: str, found: Sequence[Way], engines: Sequence[str]) -> list[Way]:
    wanted = [way for way in found if not way.candidate or way.candidate.plan.engine in (engines or ENGINES)]
    if wanted:
        return wanted
    words = " and ".join(engines)
    return [Way(model, words, error=EngineMissing(f"it is of a form that {words} cannot run"))]


def _dummies(model: str, options: Options, machine: Machine, folder: Path) -> list[Way]:
    """vLLM's ways for each form, and its reducing of unquantized weights where nothing is asked for."""
    if wrong := [engine for engine in options.engines if engine != "vllm"]:
        raise UsageError(f"{wrong[0]} cannot run a model without its weights", "Use --engines vllm.")
    asked = tuple(form for form in options.quantizations if form in FORMS)
    if unknown := set(options.quantizations) - set(asked):
        raise UsageError(
            f"there is no form {sorted(unknown)[0]!r} without weights", f"Use {', '.join(FORMS)}."
        )
    facts = write_dummies(model, folder, asked or FORMS)
    found = []
    for request in _requests(options, ("auto",)):
        candidates = plan_all(facts, machine, request).candidates
        found += [Way(model, title(each.plan), without_weights(_sparing(each))) for each in candidates]
    return [way for way in found if not asked or _is_asked(way, asked)]


def _sparing(candidate: Candidate) -> Candidate:
    """The same way, taking no more of a GPU than it needs: what vLLM fills on top tells nothing."""
    return replace(candidate, plan=replace(candidate.plan, least_memory=True))


def _is_asked(way: Way, forms: Sequence[str]) -> bool:
    """Whether a way is one of the forms; both methods of published models are called fp8."""
    assert way.candidate
    plan = way.candidate.plan
    return plan.quantization in forms or (plan.stored == "compressed-tensors" and "fp8" in forms)


def _requests(options: Options, quantizations: Sequence[str]) -> list[Request]:
    return [
        Request(
            engine="vllm" if options.dummy else "auto",
            quantization=quantization,
            dtype=dtype,
            context_tokens=options.context_tokens,
            context_forced=True,  # a shorter one would need less memory than its neighbours
            max_memory_bytes=options.max_memory_bytes,
        )
        for quantization, dtype in itertools.product(quantizations, options.dtypes or ("auto",))
    ]


def _asked(request: Request) -> str:
    words = [word for word in (request.quantization, request.dtype) if word != "auto"]
    return " ".join(words) or "any way"


def _key(way: Way) -> tuple[object, ...]:
    if way.candidate is None:
        return way.model, way.asked
    return way.model, *_kind(way.candidate.plan)


def _kind(plan: Plan) -> tuple[object, ...]:
    return plan.model, plan.engine, plan.quantization, plan.dtype, plan.device, plan.requantize


def _offloaded_last(found: list[Way]) -> list[Way]:
    """Without the disk where the same weights fit into memory: there it is never used."""
    in_memory = {
        way.candidate.plan.model
        for way in found
        if way.candidate
        and way.candidate.verdict == "fits"
        and way.candidate.plan.device != "disk"
        and way.candidate.plan.quantization == "none"
    }
    return [
        way
        for way in found
        if not (
            way.candidate and way.candidate.plan.device == "disk" and way.candidate.plan.model in in_memory
        )
    ]
