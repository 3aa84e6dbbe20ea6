"""What to do: one sentence each, the most pressing first."""

from __future__ import annotations

from collections.abc import Iterator

from rag.diagnosis.records import Diagnosis
from rag.loader.planning.plan import answer_seconds
from rag.loader.records import Candidate, title
from rag.loader.survey import flags_of
from rag.loader.units import size

SLOW = 0.5
"""Below this share of the predicted speed something is in the way."""
READABLE = 5.0
"""Tokens a second that a reader can follow."""


def advice(diagnosis: Diagnosis) -> list[str]:
    """Sentences for this model on this machine; each only once."""
    told = [
        *_light(diagnosis),
        *_chosen(diagnosis),
        *_measured(diagnosis),
        *_closed(diagnosis),
        *_larger_memory(diagnosis),
        *_published(diagnosis),
        *_unmeasured(diagnosis),
    ]
    return list(dict.fromkeys(told))


def _light(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.light:
        yield (
            "Footnote's packages are not installed for this Python, so only files and machine were looked "
            "at. Run `python scripts/run.py shell` once; it installs them."
        )


def _chosen(diagnosis: Diagnosis) -> Iterator[str]:
    chosen = diagnosis.chosen
    if chosen is None or diagnosis.error:
        return
    yield f'Ask with it: python rag_query.py "your question" --model {_shown(diagnosis.model)}'
    if not diagnosis.request.forced:
        yield f"Without flags {title(chosen.plan)} is taken; {' '.join(flags_of(chosen.plan))} forces it."
    yield from chosen.plan.notes
    pace = diagnosis.outcome.speed.tokens_per_s if diagnosis.outcome else chosen.tokens_per_s
    if pace and pace < READABLE:
        yield (
            f"{pace:.1f} tokens a second are slower than one reads; --recommend lists what runs well here."
        )


def _shown(model: str) -> str:
    return f'"{model}"' if " " in model else model


def _measured(diagnosis: Diagnosis) -> Iterator[str]:
    outcome, chosen = diagnosis.outcome, diagnosis.chosen
    if outcome is None or chosen is None:
        return
    found, expected = outcome.speed.tokens_per_s, chosen.tokens_per_s
    if found and expected and found < SLOW * expected:
        yield (
            f"It writes {found:.1f} tokens a second where {expected:.1f} were predicted: another program may "
            "be using the processor. Close it and try again."
        )
    if outcome.failed:
        yield "A better way failed to load; `--report FILE` writes down what is needed to find out why."


def _closed(diagnosis: Diagnosis) -> Iterator[str]:
    """What would open the ways that are closed for want of a package; not of hardware."""
    for candidate in diagnosis.candidates:
        if candidate.verdict == "unavailable" and "pip install" in candidate.fix:
            yield f"For {title(candidate.plan)}: {candidate.fix}"


def _larger_memory(diagnosis: Diagnosis) -> Iterator[str]:
    """The way that would be better than the chosen one if only there were room for it."""
    chosen = diagnosis.chosen
    short = [found for found in diagnosis.candidates if found.verdict == "does not fit" and found.need]
    better = [found for found in short if chosen is None or _better(found, chosen)]
    if better:
        first = min(better, key=lambda found: found.need.peak if found.need else 0)
        assert first.need
        where = "on the GPU" if first.plan.device == "cuda" else "available"
        yield f"With {size(first.need.peak)} of memory {where}, {title(first.plan)} would fit."


def _better(candidate: Candidate, chosen: Candidate) -> bool:
    mine, other = answer_seconds(candidate), answer_seconds(chosen)
    return bool(mine and other and mine < other) or chosen.plan.device == "disk"


def _published(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.siblings:
        named = ", ".join(f"{method.upper()}: {repo}" for method, repo in diagnosis.siblings.items())
        yield f"The same model is published as {named}."


def _unmeasured(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.machine.probe is None:
        yield "No speed is predicted before this machine is measured, which a run without --plan does."
