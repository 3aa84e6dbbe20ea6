"""What can this machine run well? Every preset, judged without a network, the best first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rag import bundled, console
from rag.diagnosis import record as records
from rag.diagnosis.advice import READABLE
from rag.diagnosis.examine import Say, request_of
from rag.diagnosis.records import Options
from rag.diagnosis.run import print_section, say
from rag.diagnosis.sections import gigabytes, rate
from rag.diagnosis.text import Row, bullets, pairs, table, width, wrapped
from rag.errors import RagError, UsageError
from rag.loader.hub.presets import Preset, presets, user_presets
from rag.loader.machine.hardware import describe
from rag.loader.machine.hardware import machine as look
from rag.loader.planning.plan import TYPICAL_PROMPT, answer_seconds
from rag.loader.records import Candidate, Machine, ModelFacts, Request
from rag.loader.survey import bundled_facts, flags_of, plan_all, preset_facts

LONGEST_WAIT_S = 60.0
"""Until the first word of an answer: a longer wait is not for a conversation."""
BUNDLED_PARAMETERS = 134_515_008
ROOMY = 100
"""Columns from which on the licence has a column of its own."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A preset with the best way to run it here, None where there is none; `reason` is for people.

    `chosen` says that the plan by itself would take another way, which writes too slowly.
    """

    preset: Preset
    candidate: Candidate | None
    reason: str
    fix: str = ""
    chosen: bool = False

    @property
    def fits(self) -> bool:
        return self.candidate is not None and self.candidate.verdict == "fits"

    @property
    def tokens_per_s(self) -> float | None:
        return self.candidate.tokens_per_s if self.candidate else None

    @property
    def good(self) -> bool:
        return self.candidate is not None and _good(self.candidate)

    @property
    def memory_bytes(self) -> int | None:
        """What it takes in memory; for llama.cpp the mapped weights too, which every token reads."""
        need = self.candidate.need if self.candidate else None
        if need is None or self.candidate is None:
            return None
        return need.peak + (need.reclaimable if self.candidate.plan.engine == "llamacpp" else 0)

    @property
    def download_bytes(self) -> int | None:
        """0 where the files are here already; None where nothing is known of them."""
        if self.candidate is None:
            return None
        return self.candidate.plan.weight_bytes if self.candidate.plan.repo else 0


def recommend(options: Options, light: bool = False) -> int:
    """Print the presets as a table or as JSON; returns the exit code. Raises UsageError, SettingsError."""
    if options.model or options.plan_only or options.report:
        raise UsageError("--recommend lists all presets", "Leave MODEL, --plan and --report out.")
    request = request_of(options, light)
    machine = measured(look(), say)
    found = offers(presets(user_presets(os.environ)).values(), machine, request)
    if options.as_json:
        console.print_json(_record(found, machine))
        return console.OK
    columns = width()
    print_section("This machine", pairs(describe(machine), columns))
    print_section("Presets, the best for this machine first", lines(found, columns))
    print_section("Advice", bullets(_advice(found), columns))
    return console.OK


def measured(machine: Machine, tell: Say) -> Machine:
    """The machine with its speed, which takes about a second the first time."""
    from rag.loader.machine.probe import probe

    if machine.probe is None:
        tell("Measuring this machine for a second")
    return replace(machine, probe=machine.probe or probe())


def offers(known: Iterable[Preset], machine: Machine, request: Request) -> list[Offer]:
    """The bundled model and all presets: the largest one can talk with first, then what is slower."""
    found = [_bundled(machine, request), *(_offer(preset, machine, request) for preset in known)]
    return sorted(found, key=_rank)


def _bundled(machine: Machine, request: Request) -> Offer:
    comes = Preset(
        "bundled",
        bundled.SMOLLM2.name,
        note="comes with the installation",
        licence=bundled.SMOLLM2.licence,
        parameters=BUNDLED_PARAMETERS,
    )
    return _judged(comes, lambda: [bundled_facts()], machine, request)


def _offer(preset: Preset, machine: Machine, request: Request) -> Offer:
    return _judged(preset, lambda: preset_facts(preset, bool(machine.gpus)), machine, request)


def _judged(
    preset: Preset, look_up: Callable[[], list[ModelFacts]], machine: Machine, request: Request
) -> Offer:
    try:
        forms = look_up()
        if not forms:
            name = console.clean_line(preset.name)
            return Offer(
                preset, None, "its size is not known here", f"`diagnose_load.py {name} --plan` asks the hub."
            )
        candidates = plan_all(forms, machine, request).candidates
    except RagError as error:
        return Offer(preset, None, error.message, error.fix)
    first = next(filter(_good, candidates), candidates[0])
    return Offer(preset, first, first.reason, first.fix, chosen=first is not candidates[0])


def _good(candidate: Candidate) -> bool:
    """Whether one can talk with it: it writes as fast as one reads, and begins before one gives up."""
    wait = wait_s(candidate) or 0.0
    return (
        candidate.verdict == "fits" and (candidate.tokens_per_s or 0) >= READABLE and wait <= LONGEST_WAIT_S
    )


def wait_s(candidate: Candidate) -> float | None:
    """Predicted seconds until the first word of a typical answer."""
    return TYPICAL_PROMPT / candidate.prefill_tokens_per_s if candidate.prefill_tokens_per_s else None


def _rank(offer: Offer) -> tuple[int, float, float]:
    """Sizes compare what a model can do; between forms of one model the quicker answer wins."""
    seconds = answer_seconds(offer.candidate) if offer.candidate else None
    if offer.good:
        return 0, -offer.preset.parameters, seconds or 0.0
    if offer.fits:
        return 1, seconds or -offer.preset.parameters, 0.0
    return 2, offer.memory_bytes or float(1 << 62), 0.0


# --- for people -----------------------------------------------------------------------------------


def lines(found: Sequence[Offer], columns: int) -> list[str]:
    roomy = columns >= ROOMY
    header = [
        "preset",
        "form",
        "engine",
        "GB",
        "memory",
        "tok/s",
        "wait",
        *(["licence"] if roomy else []),
        "verdict",
    ]
    rows = [
        Row(_cells(offer, number == 0, roomy), _remark(offer, roomy)) for number, offer in enumerate(found)
    ]
    legend = (
        f"> is the largest that writes {READABLE:.0f} tokens a second, as fast as one reads, and begins "
        f"within {LONGEST_WAIT_S:.0f} s. GB: to download (0: it is here). memory: GB. wait: until the first "
        "word of an answer from documents. ?: not known."
    )
    return [*table(["  preset", *header[1:]], rows, columns, "remark"), *wrapped(legend, columns)]


def _cells(offer: Offer, best: bool, roomy: bool) -> list[str]:
    plan = offer.candidate.plan if offer.candidate else None
    licence = [offer.preset.licence or "?"] if roomy else []
    return [
        f"{'>' if best and offer.good else ' '} {offer.preset.name}",
        plan.quantization if plan else "?",
        plan.engine if plan else "?",
        "?"
        if offer.download_bytes is None
        else gigabytes(offer.download_bytes)
        if offer.download_bytes
        else "0",
        gigabytes(offer.memory_bytes) if offer.memory_bytes else "?",
        rate(offer.tokens_per_s),
        _seconds(wait_s(offer.candidate) if offer.candidate else None),
        *licence,
        verdict(offer),
    ]


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


def verdict(offer: Offer) -> str:
    if offer.good:
        return "good"
    if offer.fits:
        return "slow" if offer.tokens_per_s else "fits"
    return offer.candidate.verdict if offer.candidate else "unknown"


def _remark(offer: Offer, roomy: bool) -> str:
    words = [] if roomy else [offer.preset.licence]
    words += ["accept its licence on the hub first"] if offer.preset.gated else []
    words += [offer.preset.note] if offer.fits else [offer.reason]
    return "; ".join(filter(None, words))


def _advice(found: Sequence[Offer]) -> list[str]:
    first = found[0] if found else None
    if first is None or not first.fits:
        return ["No preset fits. Close other programs, or answer without a model: rag_query.py --no-llm."]
    flags = f" {' '.join(flags_of(first.candidate.plan))}" if first.chosen and first.candidate else ""
    name = first.preset.name + flags
    told = [
        f'Ask with it: python rag_query.py "your question" --model {name}',
        f"Look at it more closely: python scripts/diagnose_load.py {name}",
    ]
    if not first.good:
        told.insert(
            0, f"None is known to write {READABLE:.0f} tokens a second here; the first is the quickest."
        )
    return told


# --- for programs ---------------------------------------------------------------------------------


def _record(found: Sequence[Offer], machine: Machine) -> dict[str, Any]:
    best = found[0] if found and found[0].good else None
    return {
        "recommended": best.preset.name if best else None,
        "readable_tokens_per_s": READABLE,
        "machine": records.machine(machine),
        "presets": [_entry(offer) for offer in found],
    }


def _entry(offer: Offer) -> dict[str, Any]:
    preset, candidate = offer.preset, offer.candidate
    plan = candidate.plan if candidate else None
    return {
        "preset": preset.name,
        "repo": (plan.repo if plan else None) or preset.repo,
        "form": plan.quantization if plan else None,
        "engine": plan.engine if plan else None,
        "dtype": plan.dtype if plan else None,
        "device": plan.device if plan else None,
        "verdict": candidate.verdict if candidate else "unknown",
        "good": offer.good,
        "reason": offer.reason,
        "fix": offer.fix,
        "download_bytes": offer.download_bytes,
        "memory_bytes": offer.memory_bytes,
        "tokens_per_s": offer.tokens_per_s,
        "prefill_tokens_per_s": candidate.prefill_tokens_per_s if candidate else None,
        "first_token_s": wait_s(candidate) if candidate else None,
        "answer_s": answer_seconds(candidate) if candidate else None,
        "licence": preset.licence,
        "gated": preset.gated,
        "parameters": preset.parameters,
        "note": preset.note,
    }
