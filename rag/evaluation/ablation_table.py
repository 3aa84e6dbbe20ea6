"""The ablation as one table: a record for programs, Markdown for people, from the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rag.evaluation.ablation import Ablation
from rag.evaluation.compare import SURE, paired
from rag.evaluation.variants import CUTTING, DEFAULT, GROUPS, SETS, Variant, settings_of

LEGEND = (
    "Each variant differs from the default in what its row names and in nothing else. A cell holds its "
    "figure and, in brackets, the difference to the default over the same questions, ± half the width of its "
    f"95 % bootstrap interval; * marks what chance alone brings about less than {SURE:.0%} of the time "
    "(paired randomisation test). Of twenty differences that are none, one is marked."
)


def record(ablation: Ablation) -> dict[str, Any]:
    """All that is measured so far. A row's "figures": set -> figure -> an entry of `compare`, B the variant.

    "missing" names what is not measured yet; "beaten_by" the passage sizes that retrieve at least as much of
    the right text as the default's in no more text, None where that is not measured.
    """
    rows = [_row(ablation, variant) for variant in ablation.variants if variant is not DEFAULT]
    return {
        "folder": str(ablation.options.folder),
        "sample": ablation.options.sample,
        "seed": ablation.options.seed,
        "settings": settings_of(DEFAULT).model_dump(mode="json"),
        "sets": {name: _default(ablation, name) for name in ablation.sets},
        "rows": [row for row in rows if row["figures"]],
        "beaten_by": _beaten_by(rows),
        "missing": _missing(ablation),
    }


def markdown(found: Mapping[str, Any]) -> str:
    """The record as Markdown, a table for each group."""
    lines = ["# What each choice in retrieval is worth", ""]
    lines += [f"- {name}: {_told(default)}" for name, default in found["sets"].items() if default]
    lines += [f"- Seed {found['seed']}, at most {found['sample']} questions of a set", "", LEGEND]
    for group in GROUPS:
        rows = [row for row in found["rows"] if row["group"] == group]
        if rows:
            lines += ["", f"## {group}", "", *_table(rows, found["sets"])]
        if rows and group == CUTTING and found["beaten_by"] is not None:
            lines += ["", _frontier(found["beaten_by"])]
    if found["missing"]:
        lines += ["", "## Not measured yet", ""]
        lines += [f"- {name}: {'; '.join(labels)}" for name, labels in found["missing"].items()]
    return "\n".join(lines) + "\n"


def _default(ablation: Ablation, name: str) -> dict[str, Any] | None:
    result = ablation.result(DEFAULT, name)
    if not result:
        return None
    values = result["per_question"]
    return {
        "n": max(len(each) for each in values.values()),
        "figures": {figure: _mean(each) for figure, each in values.items()},
        "notes": result["notes"],
    }


def _missing(ablation: Ablation) -> dict[str, list[str]]:
    """For each set the labels of what is still to be measured on it."""
    found: dict[str, list[str]] = {}
    for name, variant in ablation.missing():
        found.setdefault(name, []).append(variant.label)
    return found


def _row(ablation: Ablation, variant: Variant) -> dict[str, Any]:
    figures = {}
    for name in ablation.sets:
        default, result = ablation.result(DEFAULT, name), ablation.result(variant, name)
        if default and result and name in variant.sets:
            figures[name] = {
                figure: _paired(default, result, figure, ablation.options.seed) for figure in SETS[name][1]
            }
    return {"group": variant.group, "label": variant.label, **variant.choice, "figures": figures}


def _paired(default: Mapping[str, Any], result: Mapping[str, Any], figure: str, seed: int) -> dict[str, Any]:
    ours, theirs = default["per_question"][figure], result["per_question"][figure]
    return paired([(ours[question], theirs[question]) for question in ours if question in theirs], seed=seed)


def _mean(values: Mapping[str, float]) -> float | None:
    return round(sum(values.values()) / len(values), 4) if values else None


def _beaten_by(rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Labels of the sizes that are on no side worse than the default in recall and IoU, and on one better."""
    sizes = [row for row in rows if row["group"] == CUTTING and "chunking" in row["figures"]]
    if not sizes:
        return None
    beaten = []
    for row in sizes:
        figures = row["figures"]["chunking"]
        differences = [figures[name]["difference"] for name in ("token_recall@5", "token_iou@5")]
        if min(differences) >= 0 and max(differences) > 0:
            beaten.append(row["label"])
    return beaten


def _frontier(beaten_by: Sequence[str]) -> str:
    if not beaten_by:
        return "The default lies on the frontier: no other size in the table has more of both recall and IoU."
    return f"The default does not lie on the frontier of recall and IoU; beaten by: {'; '.join(beaten_by)}."


def _told(default: Mapping[str, Any]) -> str:
    return "; ".join([f"{default['n']} questions", *default["notes"]])


def _table(rows: Sequence[Mapping[str, Any]], sets: Mapping[str, Any]) -> list[str]:
    columns = [
        (name, figure)
        for name in sets
        for figure in SETS[name][1]
        if any(name in row["figures"] for row in rows)
    ]
    default = [_number(sets[name]["figures"][figure]) for name, figure in columns]
    return [
        _line(["", *(f"{name} {figure}" for name, figure in columns)]),
        _line(["---", *["---:"] * len(columns)]),
        _line(["**default**", *(f"**{number}**" for number in default)]),
        *(
            _line([row["label"], *(_cell(row["figures"].get(n, {}).get(f)) for n, f in columns)])
            for row in rows
        ),
    ]


def _cell(entry: Mapping[str, Any] | None) -> str:
    if not entry:
        return ""
    low, high = entry["ci95"]
    mark = "*" if entry["p"] < SURE else ""
    return f"{_number(entry['b'])} ({entry['difference']:+.3f} ±{(high - low) / 2:.3f}){mark}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
