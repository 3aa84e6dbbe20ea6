"""The diagnosis as people read it: sections of plain text, each made from the same records as the JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rag.diagnosis.advice import advice
from rag.diagnosis.records import Diagnosis, GivenBack, Outcome
from rag.diagnosis.text import Row, bullets, pairs, table, wrapped
from rag.loader.machine.hardware import describe
from rag.loader.records import Candidate, ModelFacts, title
from rag.loader.units import size

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
LEAST_SHARE = 0.005
"""Types of fewer weights are left to the evidence, which names them all."""


def this_machine(diagnosis: Diagnosis, columns: int) -> list[str]:
    return pairs(describe(diagnosis.machine), columns)


def this_model(diagnosis: Diagnosis, columns: int) -> list[str]:
    facts = diagnosis.found
    return pairs(list(_facts(facts, diagnosis)), columns) if facts else []


def _facts(facts: ModelFacts, diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    stored = facts.quantization
    yield "Name", facts.name
    yield "Place", str(facts.place) if facts.place else f"on the hub ({facts.repo}), not downloaded yet"
    if facts.architecture:
        yield "Architecture", facts.architecture
    if facts.parameters:
        yield "Parameters", count(facts.parameters)
    if facts.shards:
        files = "1 file" if len(facts.shards) == 1 else f"{len(facts.shards)} files"
        yield "Weights", f"{files}, {size(sum(shard.bytes for shard in facts.shards))}{_dtypes(facts)}"
    detail = f" ({stored.detail})" if stored.detail and stored.detail != stored.label else ""
    yield "Quantization", ("none: not quantized" if stored.method == "none" else stored.label + detail)
    for evidence in stored.evidence:
        yield "", evidence
    if facts.context_tokens:
        yield "Context", f"{facts.context_tokens:,} tokens at most"
    yield "Chat", _chat(facts)
    others = [other for other in diagnosis.facts if other is not facts]
    if others:
        yield (
            "Also as",
            ", ".join(f"{other.quantization.label} ({size(other.weight_bytes)})" for other in others),
        )


def _dtypes(facts: ModelFacts) -> str:
    whole = sum(facts.dtypes.values())
    often = [name for name in facts.dtypes if facts.dtypes[name] >= LEAST_SHARE * whole]
    often.sort(key=lambda name: -facts.dtypes[name])
    named = ", ".join(f"{facts.dtypes[name] / whole:.0%} {name}" for name in often)
    return f" ({named})" if named else ""


def _chat(facts: ModelFacts) -> str:
    have = [
        name for name, there in (("template", facts.chat_template), ("tokenizer", facts.tokenizer)) if there
    ]
    lacking = [name for name in ("template", "tokenizer") if name not in have]
    return (
        " and ".join(have) + (" are" if len(have) == 2 else " is") + " there"
        if not lacking
        else (f"no {' and no '.join(lacking)} found")
    )


def contradictions(diagnosis: Diagnosis, columns: int) -> list[str]:
    facts = diagnosis.found
    if facts is None:
        return []
    if not facts.shards and not facts.problems:
        return wrapped("Not looked for: the files are not here, and this is what the preset says.", columns)
    told = [
        *facts.contradictions,
        *(f"{problem.message}. {problem.fix}" for problem in facts.problems),
        *(f"{shard.name}: {shard.problem}" for shard in facts.shards if shard.problem and not facts.problems),
        *facts.warnings,
    ]
    if not told:
        return wrapped("None: the files agree with what they say of themselves.", columns)
    return bullets(told, columns)


def plans(diagnosis: Diagnosis, columns: int) -> list[str]:
    if not diagnosis.candidates:
        return ["No way to run it was left to plan."]
    header = ("engine", "weights", "dtype", "device", "context", "verdict", "GB/peak", "tok/s")
    shared = set.intersection(*(set(candidate.plan.notes) for candidate in diagnosis.candidates))
    rows = [Row(_cells(candidate), _remark(candidate, shared)) for candidate in diagnosis.candidates]
    legend = (
        "Best first. GB/peak: memory that nothing can take back, and the most of it at any moment. "
        "tok/s: predicted for writing."
    )
    return [*table(header, rows, columns, "reason"), *wrapped(legend, columns)]


def _cells(candidate: Candidate) -> tuple[str, ...]:
    way, need = candidate.plan, candidate.need
    return (
        way.engine,
        way.quantization,
        DTYPES.get(way.dtype or "", way.dtype or "-"),
        way.device,
        str(way.context_tokens) if need else "-",
        candidate.verdict,
        f"{gigabytes(need.must_have)}/{gigabytes(need.peak)}" if need else "-",
        rate(candidate.tokens_per_s),
    )


def _remark(candidate: Candidate, shared: set[str]) -> str:
    """The reason, then what else is to be known of this way; what all have in common is told as advice."""
    notes = [note for note in candidate.plan.notes if note not in shared]
    absent = candidate.plan.repo and candidate.need
    download = [f"{size(candidate.plan.weight_bytes)} to download"] if absent else []
    return "; ".join([candidate.reason, *notes, *download])


def load(diagnosis: Diagnosis, columns: int) -> list[str]:
    outcome = diagnosis.outcome
    if outcome is None:
        return []
    lines = bullets([f"Tried in vain: {error['message']}" for error in outcome.failed], columns)
    told = f"{title(outcome.plan)}, ready after {outcome.seconds:.1f} s."
    lines += wrapped(told, columns)
    return lines


def sanity(diagnosis: Diagnosis, columns: int) -> list[str]:
    outcome = diagnosis.outcome
    if outcome is None:
        return []
    if not outcome.sanity:
        return ["Not checked."]
    return pairs([(name.replace("_", " "), _value(value)) for name, value in outcome.sanity.items()], columns)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    return str(value)


def speed(diagnosis: Diagnosis, columns: int) -> list[str]:
    outcome = diagnosis.outcome
    if outcome is None:
        return []
    rows = [Row(cells) for cells in _speeds(outcome, diagnosis.chosen)]
    lines = table(("", "measured", "predicted"), rows, columns)
    timed = outcome.speed
    told = f"Measured on a prompt of {timed.prompt_tokens} tokens, answered with {timed.answer_tokens}."
    return [*lines, *wrapped(told, columns)]


def _speeds(outcome: Outcome, chosen: Candidate | None) -> Iterator[tuple[str, str, str]]:
    measured = outcome.speed
    prefill, decode = (chosen.prefill_tokens_per_s, chosen.tokens_per_s) if chosen else (None, None)
    yield "reading the prompt, tok/s", rate(measured.prefill_tokens_per_s), rate(prefill)
    yield "writing, tok/s", rate(measured.tokens_per_s), rate(decode)
    yield "memory, most at once", size(outcome.peak_bytes), size(outcome.plan.peak_bytes)
    yield "with mapped files", size(outcome.resident_bytes), ""
    loading = f"{chosen.load_seconds:.1f}" if chosen and chosen.load_seconds else "?"
    yield "loading, seconds", f"{outcome.seconds:.1f}", loading


def given_back(diagnosis: Diagnosis, columns: int) -> list[str]:
    back = diagnosis.outcome.given_back if diagnosis.outcome else None
    return wrapped(_back(back), columns) if back else []


def _back(back: GivenBack) -> str:
    free = f"{size(back.after_bytes)} are available now, {size(back.before_bytes)} were before the load"
    if not back.process_ended:
        return f"No: the model's process has not ended and holds its memory still; {free}."
    if back.gpu_missing_bytes:
        return f"Not all: {size(back.gpu_missing_bytes)} of GPU memory are still taken; {free}."
    return f"Yes: the model was closed and its process has ended; {free}."


def counsel(diagnosis: Diagnosis, columns: int) -> list[str]:
    return bullets(advice(diagnosis), columns)


Section = Callable[[Diagnosis, int], list[str]]
LOOKED_AT: tuple[tuple[str, Section], ...] = (
    ("This machine", this_machine),
    ("This model", this_model),
    ("Contradictions", contradictions),
    ("Plans", plans),
)
TRIED: tuple[tuple[str, Section], ...] = (("Load", load), ("Sanity", sanity), ("Speed", speed))
AT_LAST: tuple[tuple[str, Section], ...] = (("Memory given back", given_back), ("Advice", counsel))


def everything(diagnosis: Diagnosis, columns: int) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of every section that has something to say."""
    for name, section in (*LOOKED_AT, *TRIED, *AT_LAST):
        if lines := section(diagnosis, columns):
            yield name, lines


def rate(value: float | None) -> str:
    """Tokens a second in as many digits as are worth it; "?" where nothing is known."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f}" if count >= 1e9 else f"{count / 1e9:.2f}"


def count(parameters: int) -> str:
    if parameters >= 1e9:
        return f"{parameters / 1e9:.1f} billion"
    return f"{parameters / 1e6:,.0f} million" if parameters >= 1e6 else f"{parameters:,}"
