"""What was measured of the chat page, as one record and as a table (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

LONG = 100
"""Exchanges of the long conversation."""
GOALS = {"opening_s": 2.0, "rerun_s": 0.1, "slower_s": 0.2}

Record = Mapping[str, Any]
Reruns = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Seconds of the script and until all is painted, with the `last` answers shown and with `all`."""


def record(
    visits: Sequence[Record],
    reruns: Reruns,
    tabs: Record,
    machine: Record,
) -> dict[str, Any]:
    """Medians in seconds; `slower` is how much later the page shows something than the engine has it."""
    sides = {
        side: {what: median(visit[side][what] for visit in visits) for what in ("source", "word")}
        for side in ("page", "engine")
    }
    slower = {what: sides["page"][what] - sides["engine"][what] for what in sides["page"]}
    drawn = {
        shown: {"script": median(script), "painted": median(painted)}
        for shown, (script, painted) in reruns.items()
    }
    found = {
        "opening": {
            "median": median(visit["opened"] for visit in visits),
            "each": [v["opened"] for v in visits],
        },
        "rerun": {"messages": 2 * LONG, **drawn},
        "first": {**sides, "slower": slower},
        "together": dict(tabs),
    }
    return {"benchmark": "page", **machine, "runs": len(visits), "goals": GOALS, **_rounded(found)}


def _rounded(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _rounded(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_rounded(each) for each in found]
    return round(found, 3) if isinstance(found, float) else found


def table(figures: Record) -> str:
    """The record as lines for a terminal."""
    goals, first, tabs = figures["goals"], figures["first"], figures["together"]
    rows = [("from opening until one can type", figures["opening"]["median"], goals["opening_s"])]
    for shown, words in (("last", "the last 40 shown"), ("all", "all shown")):
        drawn = figures["rerun"][shown]
        rows.append((f"script with 200 messages, {words}", drawn["script"], goals["rerun_s"]))
        rows.append(("  from the click until it is painted", drawn["painted"], None))
    for what in ("source", "word"):
        rows.append((f"first {what}: page", first["page"][what], None))
        rows.append((f"first {what}: engine", first["engine"][what], None))
        rows.append((f"first {what}: the page is slower by", first["slower"][what], goals["slower_s"]))
    rows.append((f"{tabs['sessions']} tabs at once, until each shows words", tabs["first_words"], None))
    rows.append(("  until all are answered", tabs["seconds"], None))
    lines = [f"medians of {figures['runs']} runs; {figures['cores']} cores, load {figures['load']}", ""]
    lines.append(f"{'seconds':<46}{'measured':>9}{'goal':>7}")
    for words, seconds, goal in rows:
        measured = "-" if seconds is None else f"{seconds:.3f}"
        lines.append(f"  {words:<44}{measured:>9}{goal or '':>7}".rstrip())
    lines += [
        "",
        f"of {tabs['sessions']} tabs {tabs['errors']} with an error, {tabs['mixed_up']} with another answer; "
        f"models loaded: {tabs['model_loads']}",
    ]
    return "\n".join(lines) + "\n"
