"""What a diagnosis finds, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag.errors import RagError
from rag.loader.records import Candidate, Machine, ModelFacts, Plan, Request


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for: the command line's words; None where nothing was said."""

    model: str | None = None
    quantization: str | None = None
    engine: str | None = None
    dtype: str | None = None
    device: str | None = None
    context: int | None = None
    max_memory: str | None = None
    plan_only: bool = False
    as_json: bool = False
    report: Path | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured on one long prompt and one answer; tokens a second are None where none could be timed."""

    prompt_tokens: int = 0
    prefill_tokens_per_s: float | None = None
    answer_tokens: int = 0
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Bytes available before the load and after the model was closed; other programs change them too.

    `gpu_missing_bytes` are less free on the GPUs than before.
    """

    before_bytes: int
    after_bytes: int
    process_ended: bool
    gpu_missing_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What loading came to; bytes are of must-have memory, `resident_bytes` with mapped files.

    `failed` holds the errors of the ways that were tried in vain before.
    """

    plan: Plan
    seconds: float
    peak_bytes: int
    resident_bytes: int
    sanity: Mapping[str, Any]
    speed: Speed = Speed()
    given_back: GivenBack | None = None
    failed: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that is known so far; `error` is what keeps the model from being used.

    `light` says that the packages are missing, `imports` what went wrong when the engines were imported
    (None: not tried), `events` what happened while loading, `log` the worker's last words.
    """

    model: str
    request: Request
    machine: Machine
    facts: tuple[ModelFacts, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    siblings: Mapping[str, str] = field(default_factory=dict)
    error: RagError | None = None
    outcome: Outcome | None = None
    imports: Mapping[str, str] | None = None
    events: tuple[Mapping[str, Any], ...] = ()
    log: str = ""
    light: bool = False

    @property
    def chosen(self) -> Candidate | None:
        """The way that was loaded, else the best that fits."""
        if self.outcome:
            # a plan changes once its files are downloaded, but not its way
            key = _way(self.outcome.plan)
            return next((found for found in self.candidates if _way(found.plan) == key), None)
        return next((found for found in self.candidates if found.verdict == "fits"), None)

    @property
    def found(self) -> ModelFacts | None:
        """The facts behind the chosen way, else of the first form."""
        first = self.chosen or next(iter(self.candidates), None)
        for facts in self.facts:
            if first and str(facts.place or facts.repo or facts.target) == first.plan.model:
                return facts
        return self.facts[0] if self.facts else None


def _way(plan: Plan) -> tuple[str | None, ...]:
    return plan.engine, plan.quantization, plan.dtype, plan.device, plan.requantize
