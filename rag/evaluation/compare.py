"""Is B better than A? Two records of `evaluate.py --json`, question by question."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rag.errors import EvaluationError, InputNotFound

RESAMPLES = 10_000
SURE = 0.05
"""A difference is called one when chance alone makes so large a one less often than this."""

LOWER_IS_BETTER = {"false_refusal"}
FIX = "Make both with the same version: python scripts/evaluate.py DATASET --json > A.json"


def compare(a: Path, b: Path, seed: int = 0) -> dict[str, Any]:
    """Each figure that both records have, over the questions that both asked.

    A figure's entry: n, the means of A and B, B - A with its 95 % bootstrap interval, p, and a verdict
    "better", "worse" or "no difference shown" of B. Raises InputNotFound, EvaluationError.
    """
    first, second = _read(a), _read(b)
    figures = {}
    for part in ("retrieval", "answers"):
        ours, theirs = first["per_question"].get(part) or {}, second["per_question"].get(part) or {}
        for name in [name for name in ours if name in theirs]:
            shared = [question for question in ours[name] if question in theirs[name]]
            if shared:
                pairs = [(ours[name][question], theirs[name][question]) for question in shared]
                figures[name] = paired(pairs, name in LOWER_IS_BETTER, seed)
    if not figures:
        raise EvaluationError(f"{a} and {b} have no question in common", FIX)
    return {"a": str(a), "b": str(b), "figures": figures, "settings": _changed(first, second)}


def paired_p(differences: Sequence[float], seed: int = 0) -> float:
    """How often chance makes a mean difference at least so large, either way.

    A randomisation test: each pair's sign is thrown anew 10,000 times (Noreen 1989, "Computer-Intensive
    Methods for Testing Hypotheses"; as used for retrieval by Smucker, Allan and Carterette 2007). Observed
    signs count as one throw, so p is never 0.
    """
    import numpy as np

    values = np.asarray([value for value in differences if value], np.float64)
    if not len(values):
        return 1.0
    random = np.random.default_rng(seed)
    observed, as_large = abs(values.sum()), 1
    for _ in range(RESAMPLES // 1000):
        signs = random.integers(0, 2, (1000, len(values))) * 2 - 1
        as_large += int((np.abs(signs @ values) >= observed - 1e-9).sum())
    return as_large / (RESAMPLES + 1)


def table(found: Mapping[str, Any]) -> str:
    """The comparison as lines for a terminal."""
    lines = [f"A  {found['a']}", f"B  {found['b']}"]
    lines += [f"   {name}: {old} -> {new}" for name, (old, new) in found["settings"].items()]
    lines += ["", f"  {'':<16} {'n':>5} {'A':>7} {'B':>7} {'B - A':>7}  {'95 %':<16} {'p':>6}"]
    for name, row in found["figures"].items():
        low, high = row["ci95"]
        between = f"{low:+.3f} to {high:+.3f}"
        numbers = f"{row['n']:>5} {row['a']:>7.3f} {row['b']:>7.3f} {row['difference']:>+7.3f}"
        lines.append(f"  {name:<16} {numbers}  {between:<16} {row['p']:>6.3f}  {row['verdict']}")
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputNotFound(f"there is no file {path}", FIX)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record["per_question"]["retrieval"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} is no record of evaluate.py with its questions", FIX) from error
    return record


def paired(
    pairs: Sequence[tuple[float, float]], lower_is_better: bool = False, seed: int = 0
) -> dict[str, Any]:
    """One figure of A and B, over pairs of their values for the same question: an entry of `compare`."""
    from rag.evaluation.metrics import bootstrap

    count = len(pairs)
    differences = [b - a for a, b in pairs]
    low, high = bootstrap(differences, seed) or (0.0, 0.0)
    difference, p = sum(differences) / count, paired_p(differences, seed)
    rises = difference > 0
    verdict = "no difference shown" if p >= SURE else "worse" if rises == lower_is_better else "better"
    return {
        "n": count,
        "a": round(sum(a for a, _ in pairs) / count, 4),
        "b": round(sum(b for _, b in pairs) / count, 4),
        "difference": round(difference, 4),
        "ci95": [round(low, 4), round(high, 4)],
        "p": round(p, 4),
        "verdict": verdict,
    }


def _changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Settings in which the two differ, by dotted names."""
    ours, theirs = _flat(first["settings"]), _flat(second["settings"])
    return {
        name: [ours.get(name), theirs.get(name)]
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
    }


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found
