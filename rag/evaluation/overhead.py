"""Our engines beside the bare libraries below them: what the worker, its checks and its messages cost.

Each side runs in a process of its own, in turns, so that a busy moment of the machine meets both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rag.errors import EvaluationError
from rag.evaluation.progress import counted
from rag.places import CHECKOUT

MODULE = "rag.evaluation.overhead_child"
SIDES = {
    "llamacpp": ("ours", "bare", "bare, a core less", "ours, copied"),
    "transformers": ("ours", "bare"),
}
"""Who is measured, in this order in each turn."""

FIGURES = {
    "prefill_tokens_per_s": "prompt, tokens a second",
    "decode_tokens_per_s": "answer, tokens a second",
    "first_token_s": "start to first token, s",
}
TIMES = {"first_token_s"}


def compare_engine(
    engine: str, model: str, runs: int = 3, threads: int = 0, brief: bool = False
) -> dict[str, Any]:
    """Prefill, decoding and the time from process start to the first token, ours beside the bare library's.

    `model` is a GGUF file for llamacpp, a model folder for transformers (in float32, and the prompt alone:
    the other side is one call of the model). The bare llama.cpp runs on all cores and with one core less;
    the better figure counts. `brief` takes a few tokens only: for trying out the measurement itself.
    Raises EvaluationError, ModelLoadFailed.
    """
    if engine not in SIDES:
        raise EvaluationError(f"{engine} has no bare side", f"Choose one of {', '.join(SIDES)}.")
    if engine == "llamacpp":
        from rag.loader.process import requantize

        requantize.make(Path(model))
    measured: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES[engine]}
    for turn in counted(range(runs * len(measured)), "runs"):
        side = SIDES[engine][turn % len(measured)]
        job = {"engine": engine, "side": side, "model": model, "threads": threads, "brief": brief}
        measured[side].append(_run(job))
    return record(engine, model, measured)


def record(engine: str, model: str, measured: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of all runs; a ratio is ours divided by the best bare figure: of times, lower is better."""
    sides = {side: _medians(runs) for side, runs in measured.items()}
    ours = sides["ours"]
    found = {
        "benchmark": "engines",
        "engine": engine,
        "model": Path(model).name,
        "runs": measured,
        "sides": sides,
        "ratio": {name: round(ours[name] / _best_bare(sides, name), 3) for name in ours},
    }
    if copied := sides.get("ours, copied"):
        found["copied"] = {name: round(copied[name] / ours[name], 3) for name in ours}
    return found


def _best_bare(sides: dict[str, dict[str, float]], name: str) -> float:
    figures = [figures[name] for side, figures in sides.items() if side.startswith("bare")]
    return min(figures) if name in TIMES else max(figures)


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(run[name] for run in runs), 3) for name in runs[0]}


def _run(job: dict[str, Any]) -> dict[str, float]:
    """One side's figures. Its process is told when it was started, so that Python's own start counts."""
    command = [sys.executable, "-P", "-m", MODULE, json.dumps({**job, "began": time.time()})]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, cwd=CHECKOUT, env=environment)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise EvaluationError(
            f"{job['engine']}, {job['side']}: the process ended with {done.returncode}: {' '.join(last)}",
            "Run `python scripts/diagnose_load.py` with that model to see more.",
        )
    return json.loads(done.stdout.decode("utf-8").strip().splitlines()[-1])


def table(found: dict[str, Any]) -> str:
    """The record as lines for a terminal."""
    sides, runs = found["sides"], len(found["runs"]["ours"])
    columns = "".join(f"{column:>19}" for column in [*sides, "ours / best bare"])
    lines = [f"{found['model']} through {found['engine']}, medians of {runs} runs", "", f"{'':<26}{columns}"]
    for name, words in FIGURES.items():
        if name in sides["ours"]:
            digits = 2 if name in TIMES else 1
            cells = "".join(f"{side[name]:>19.{digits}f}" for side in sides.values())
            lines.append(f"  {words:<24}{cells}{found['ratio'][name]:>19.2f}")
    if "copied" in found:
        gain = found["copied"]["prefill_tokens_per_s"]
        lines += ["", f"from the copy in Q8_0 the prompt is read {gain:.2f} times as fast"]
    return "\n".join(lines) + "\n"
