"""Predicted against measured memory: models in published shapes, each loaded and asked in a clean process."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from rag import bundled
from rag.child import Child, ChildGone
from rag.cores import usable_cores
from rag.errors import EvaluationError
from rag.evaluation import random_models
from rag.evaluation.progress import counted
from rag.loader.base import Sampling
from rag.loader.model.inspect import inspect_local
from rag.loader.planning import memory, sizes
from rag.loader.records import ModelFacts, Need, Plan

SAMPLE_SECONDS = 0.005
ANSWER_TOKENS = 4
WAIT_SECONDS = 900.0
BUNDLED = "smollm2-135m"


@dataclass(frozen=True, slots=True)
class Case:
    """One model, run one way; `held_out` ones were not looked at while the constants were found.

    `stored` is the file's dtype, for llama.cpp its GGUF type. `resident` is the share of the weights that
    stays in memory with device "disk".
    """

    model: str
    engine: str
    stored: str
    quantization: str = "none"
    dtype: str | None = None
    context_tokens: int = 1024
    device: str = "cpu"
    resident: float | None = None
    held_out: bool = False


PACKAGES = {"transformers": "transformers", "llamacpp": "xllamacpp", "vllm": "vllm"}

CASES = (
    Case("qwen2.5-0.5b", "transformers", "float16", dtype="float32"),
    Case("qwen2.5-0.5b", "transformers", "float16", dtype="bfloat16"),
    Case("llama-3.2-1b/8", "transformers", "bfloat16", dtype="float32"),
    Case("llama-3.2-1b/8", "transformers", "bfloat16", "bnb-4bit", "float32", 512),
    Case("llama-3.2-1b/8", "transformers", "bfloat16", "bnb-8bit", "float32", 512),
    Case("gemma-2-2b/6", "transformers", "bfloat16", dtype="bfloat16"),
    Case("gemma-2-2b/6", "transformers", "bfloat16", dtype="float32"),
    Case("phi-3-mini/6", "transformers", "bfloat16", "bnb-4bit", "bfloat16", 512),
    Case("phi-3-mini/6", "transformers", "bfloat16", "none", "float32", 512, "disk", 0.7, held_out=True),
    Case("mistral-7b/3", "transformers", "bfloat16", "bnb-8bit", "bfloat16", 512),
    Case("tinyllama-1.1b", "transformers", "float16", "none", "float32", 512, "disk", 0.5),
    Case("qwen3-30b-a3b/1", "transformers", "bfloat16", dtype="float32", held_out=True),
    Case("phi-4-mini/6", "transformers", "float16", dtype="float32", held_out=True),
    Case("gemma-3-270m", "transformers", "bfloat16", dtype="float32", context_tokens=2048, held_out=True),
    Case("qwen3-0.6b", "transformers", "bfloat16", "bnb-4bit", "float32", 512),
    Case("qwen3-0.6b", "transformers", "bfloat16", dtype="float16", context_tokens=256, held_out=True),
    Case("llama-3.2-3b/4", "transformers", "bfloat16", "bnb-4bit", "bfloat16", 512, held_out=True),
    Case("llama-3.2-3b/4", "transformers", "bfloat16", "bnb-8bit", "float32", 512, held_out=True),
    Case(BUNDLED, "llamacpp", "Q4_1", "Q4_1", context_tokens=1024),
    Case(BUNDLED, "llamacpp", "Q4_1", "Q4_1", context_tokens=4096),
    Case("llama-3.2-1b/8", "llamacpp", "Q4_K", "Q4_K"),
    Case("qwen2.5-0.5b", "llamacpp", "Q8_0", "Q8_0", context_tokens=2048),
    Case("qwen2.5-0.5b", "vllm", "bfloat16", dtype="bfloat16", context_tokens=2048, held_out=True),
    Case("gemma-3-270m", "llamacpp", "F16", "F16", context_tokens=2048),
    Case("gemma-3-1b", "llamacpp", "Q8_0", "Q8_0", context_tokens=1024, held_out=True),
    Case("tinyllama-1.1b", "llamacpp", "Q4_0", "Q4_0", context_tokens=2048, held_out=True),
)


def run(cases: Sequence[Case] = CASES) -> dict[str, Any]:
    """Measure all cases, one after the other; every model is written, used and removed again.

    Needs some 10 GB of disk and memory. Rows that fail are told in the record.
    """
    here = [case for case in cases if find_spec(PACKAGES[case.engine])]
    rows, failures = [], []
    with tempfile.TemporaryDirectory(prefix="footnote-memory-") as name:
        written: Path | None = None
        for number, case in counted(list(enumerate(here)), "measuring memory"):
            before = here[number - 1] if number else None
            if before is None or (before.model, before.stored) != (case.model, case.stored):
                if written is not None:
                    _remove(written)
                written = _write(case, Path(name))
            assert written is not None
            try:
                rows.append(_row(case, written))
            except EvaluationError as error:
                failures.append(error.message)
    missing = sorted({case.engine for case in cases} - {case.engine for case in here})
    return record(rows, missing, failures)


def record(
    rows: Sequence[dict[str, Any]], missing: Sequence[str] = (), failures: Sequence[str] = ()
) -> dict[str, Any]:
    """The rows with the median and the worst of their relative errors, held-out rows also alone.

    `missing` are engines that are not installed here, whose rows are left out. Raises EvaluationError when
    there are no rows.
    """
    if not rows:
        raise EvaluationError("no row could be measured", failures[0] if failures else "Install an engine.")
    errors = [abs(row["error"]) for row in rows]
    unseen = [abs(row["error"]) for row in rows if row["held_out"]]
    return {
        "benchmark": "memory",
        "rows": list(rows),
        "missing_engines": list(missing),
        "failures": list(failures),
        "median_error": round(median(errors), 4),
        "worst_error": round(max(errors), 4),
        "held_out": {
            "n": len(unseen),
            "median_error": round(median(unseen), 4) if unseen else None,
            "worst_error": round(max(unseen), 4) if unseen else None,
        },
    }


def table(figures: dict[str, Any]) -> str:
    """The record for people; megabytes are powers of 1000."""
    lines = [f"{'model':<16} {'way':<34} {'context':>7} {'predicted':>10} {'measured':>9} {'error':>7}"]
    for row in figures["rows"]:
        mark = "*" if row["held_out"] else " "
        lines.append(
            f"{row['model']:<16} {row['way']:<34} {row['context_tokens']:>7,}"
            f" {row['predicted_bytes'] / 1e6:>7,.0f} MB {row['measured_bytes'] / 1e6:>6,.0f} MB"
            f" {row['error']:>+6.1%}{mark}"
        )
    unseen = figures["held_out"]
    lines.append(f"error: median {figures['median_error']:.1%}, worst {figures['worst_error']:.1%}")
    if unseen["n"]:
        lines.append(
            f"* not used in finding the constants: median {unseen['median_error']:.1%},"
            f" worst {unseen['worst_error']:.1%}"
        )
    lines += [f"failed: {failure}" for failure in figures["failures"]]
    if figures["missing_engines"]:
        lines.append(f"not installed and left out: {', '.join(figures['missing_engines'])}")
    return "\n".join(lines) + "\n"


def _write(case: Case, folder: Path) -> Path:
    if case.model == BUNDLED:
        return bundled.path(bundled.SMOLLM2)
    config = random_models.CONFIGS[case.model]
    if case.engine == "llamacpp":
        return random_models.write_gguf(folder / "model.gguf", config, case.stored)
    random_models.write_folder(folder / "model", config, case.stored)
    return folder / "model"


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    elif place != bundled.path(bundled.SMOLLM2):
        place.unlink()


def _row(case: Case, place: Path) -> dict[str, Any]:
    facts = inspect_local(place)
    plan, need = predicted(case, facts)
    found = measure(plan)
    return {
        "model": case.model,
        "way": " ".join(filter(None, [case.engine, case.quantization, case.dtype, case.device])),
        "stored": case.stored,
        "context_tokens": case.context_tokens,
        "held_out": case.held_out,
        "predicted_bytes": need.peak,
        "measured_bytes": found.peak,
        "error": round(need.peak / found.peak - 1, 4),
        "predicted": asdict(need),
        "measured": asdict(found),
    }


def predicted(case: Case, facts: ModelFacts) -> tuple[Plan, Need]:
    """The plan that a case amounts to and what it is predicted to need."""
    way: dict[str, Any] = {
        "engine": case.engine,
        "quantization": case.quantization,
        "dtype": case.dtype,
        "context_tokens": case.context_tokens,
        "threads": usable_cores(),
        "device": case.device,
    }
    plan = Plan(
        str(facts.place),
        case.model,
        stored=facts.quantization.method,
        weight_bytes=facts.weight_bytes,
        sanity=False,
        **way,
    )
    if case.resident is None:
        return plan, memory.estimate(facts, **way)
    kept = round(case.resident * sizes.weight_bytes(facts, case.quantization, case.dtype))
    need = memory.estimate(facts, **way, resident_bytes=kept)
    return replace(plan, max_memory_bytes=kept + need.peak - need.weights), need


@dataclass(frozen=True, slots=True)
class Measured:
    """Most anonymous memory of a process until the model was ready, and afterwards; in bytes.

    `mapped` is the most file-backed memory at any moment.
    """

    loading: int
    running: int
    mapped: int

    @property
    def peak(self) -> int:
        return max(self.loading, self.running)


def measure(plan: Plan) -> Measured:
    """Load a plan in a worker of its own and have it read a prompt that fills the context.

    Raises EvaluationError when the worker fails; needs Linux, whose kernel tells anonymous memory apart.
    """
    with Child("rag.loader.process.worker") as child, _sampled(child.pid) as peaks:
        try:
            child.send({"load": asdict(plan)})
            _expect(child, "ready", plan)
            loading, _ = peaks
            _ask(child, plan)
        except ChildGone as gone:
            raise EvaluationError(
                f"{plan.name} {gone.explanation}: {child.stderr_tail}", "Report this."
            ) from gone
        return Measured(loading, peaks[0], peaks[1])


def _ask(child: Child, plan: Plan) -> None:
    """Fill the context with one long question, then generate a few tokens."""
    child.send({"id": 1, "count": [["user", ""]]})
    room = plan.context_tokens - ANSWER_TOKENS - _expect(child, "count", plan) - 2
    sampling = Sampling(max_tokens=ANSWER_TOKENS, stop=("\0",))  # random weights may say nothing at all
    child.send({"id": 2, "stream": [["user", " the" * room]], "sampling": asdict(sampling)})
    usage = _expect(child, "end", plan)
    if usage["prompt_tokens"] < 0.9 * plan.context_tokens:
        raise EvaluationError(f"the prompt had {usage['prompt_tokens']} tokens only", "Report this.")


def _expect(child: Child, key: str, plan: Plan) -> Any:
    """The value of the next message that has `key`."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        message = child.receive(1.0) or {}
        if "error" in message:
            raise EvaluationError(f"{plan.name}: {message['error']['message']}", message["error"]["fix"])
        if key in message:
            return message[key]
    raise EvaluationError(f"{plan.name} did not answer within {WAIT_SECONDS:.0f} s", "Close other programs.")


@contextmanager
def _sampled(pid: int) -> Iterator[list[int]]:
    """While open, the highest anonymous and file-backed memory of a process so far, in bytes."""
    peaks = [0, 0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            now = anonymous_and_mapped(pid)
            peaks[:] = [max(before, value) for before, value in zip(peaks, now)]

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()


def anonymous_and_mapped(pid: int) -> tuple[int, int]:
    """RssAnon + RssShmem and RssFile of a process in bytes; zeros once it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0, 0
    fields = dict(line.split(":", 1) for line in text.splitlines() if line.startswith("Rss"))
    kilobytes = {name: int(value.split()[0]) * 1024 for name, value in fields.items()}
    return kilobytes.get("RssAnon", 0) + kilobytes.get("RssShmem", 0), kilobytes.get("RssFile", 0)
