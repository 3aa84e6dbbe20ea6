"""The quantization table: every way to run a model here, each measured in a process of its own.

A way that does not fit, is refused or fails becomes a row with its reason, and the rest go on. After each
one it is checked that its memory has come back before the next one loads.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from rag.errors import RagError
from rag.evaluation.perplexity import Perplexity, fixed_text, perplexity
from rag.evaluation.timing import Speeds, measure
from rag.evaluation.ways import Options, Way, ways
from rag.loader.base import LanguageModel, Report, Sampling
from rag.loader.machine.hardware import machine as look
from rag.loader.process import giving_back
from rag.loader.process.attempt import Loaded
from rag.loader.process.watch import Sample
from rag.loader.records import Candidate, Machine
from rag.types import Message

CANARY = "What is the capital of France?"
CANARY_TOKENS = 24
WIDTHS = {"float32": 32, "bfloat16": 16, "float16": 16}
SAME_MODEL = 0.02
"""Parameters of two files of one model differ by less: GGUF counts a table for positions, say."""


class Measured(LanguageModel, Protocol):
    """What is needed of a `WorkerModel`."""

    loaded: Loaded | None

    @property
    def pid(self) -> int: ...

    def wait_ready(self) -> Any: ...

    def peak(self) -> Sample: ...

    def token_logprobs(self, text: str) -> list[float]: ...


Open = Callable[[Candidate, Report], Measured]
Show = Callable[[], AbstractContextManager[Report]]
"""Opens what shows the progress of one way."""


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration. `status` is "measured", "failed" or "not run", with the `reason` of the latter two.

    Bytes: `predicted_peak_bytes` and `peak_bytes` are must-have memory, of the GPUs where `device` is "cuda",
    else the worker's own. `kept_back` says what of it had not come back, empty when all had.
    `perplexity_ratio` is to the same model's unquantized weights in their widest type.
    """

    model: str
    way: str
    status: str
    reason: str = ""
    engine: str = ""
    quantization: str = ""
    dtype: str | None = None
    device: str = ""
    parameters: int | None = None
    load_s: float | None = None
    predicted_peak_bytes: int | None = None
    peak_bytes: int | None = None
    speeds: Speeds = field(default_factory=Speeds)
    perplexity: Perplexity | None = None
    perplexity_ratio: float | None = None
    answer: str | None = None
    notes: tuple[str, ...] = ()
    kept_back: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows, with the machine and the settings that they hold for; `date` as in 2026-03-01."""

    machine: Machine
    options: Options
    rows: tuple[Row, ...]
    date: str
    python: str


def compare(
    options: Options,
    show: Show = lambda: nullcontext(lambda event: None),
    machine: Machine | None = None,
    open_way: Open | None = None,
    text: str | None = None,
) -> Comparison:
    """Measure every configuration, one after the other. Raises UsageError, ModelNotFound, EvaluationError."""
    options.check()
    machine = machine or look()
    text = fixed_text() if text is None else text
    with tempfile.TemporaryDirectory(prefix="footnote-benchmark-") as folder:
        found = ways(options, machine, Path(folder))
        rows = list(_measured(found, options, open_way or _open, text, show))
    date = time.strftime("%Y-%m-%d")
    return Comparison(machine, options, tuple(with_ratios(rows)), date, platform.python_version())


def _measured(
    found: Sequence[Way], options: Options, open_way: Open, text: str, show: Show
) -> Generator[Row]:
    runs = sum(1 for way in found if _fits(way))
    number = 0
    for way in found:
        if _fits(way):
            number += 1
            with show() as tell:
                tell({"event": "note", "message": f"{number}/{runs}: {way.model}, {way.asked}"})
                yield _run(way, options, open_way, text, tell)
        else:
            yield _row(way, "not run", _why_not(way))


def _fits(way: Way) -> bool:
    return way.candidate is not None and way.candidate.verdict == "fits"


def _why_not(way: Way) -> str:
    if way.error:
        return way.error.message
    assert way.candidate
    return f"{way.candidate.verdict}: {way.candidate.reason}"


def _row(way: Way, status: str, reason: str = "") -> Row:
    row = Row(way.model, way.asked, status, reason)
    if way.candidate is None:
        return row
    plan, need = way.candidate.plan, way.candidate.need
    return replace(
        row,
        engine=plan.engine,
        quantization=plan.quantization,
        dtype=plan.dtype,
        device=plan.device,
        parameters=plan.parameters,
        predicted_peak_bytes=need.peak if need else None,
        notes=plan.notes,
    )


def _run(way: Way, options: Options, open_way: Open, text: str, tell: Report) -> Row:
    """Load one way, measure it, close it and wait for its memory."""
    assert way.candidate
    row = _row(way, "measured")
    on_gpu = way.candidate.plan.device == "cuda"
    before = giving_back.gpu_free() if on_gpu else None
    pids: set[int] = set()
    try:
        model = open_way(way.candidate, tell)
        try:
            model.wait_ready()
            pids = giving_back.family(model.pid)
            tell({"event": "note", "message": "Loaded; measuring."})
            if before is None:
                row = replace(_figures(row, model, options, text), peak_bytes=model.peak().private)
            else:
                with giving_back.GpuWatch(before) as watch:
                    row = _figures(row, model, options, text)
                row = replace(row, peak_bytes=watch.peak_bytes)
        finally:
            model.close()
    except RagError as error:
        row = replace(_row(way, "failed", error.message), load_s=row.load_s)
    return replace(row, kept_back=giving_back.kept_back(pids, before))


def _figures(row: Row, model: Measured, options: Options, text: str) -> Row:
    loaded = model.loaded
    assert loaded
    row = replace(
        row,
        load_s=loaded.seconds,
        notes=tuple(dict.fromkeys([*row.notes, *model.info.notes])),
        parameters=row.parameters or model.info.parameters,
        speeds=measure(model, options.prompt_tokens, options.answer_tokens),
    )
    return row if options.dummy else _with_quality(row, model, text)


def _with_quality(row: Row, model: Measured, text: str) -> Row:
    """The row with what the model says; its speeds stand even where it cannot be examined."""
    try:
        row = replace(row, answer=_answer(model))
        return replace(row, perplexity=perplexity(model, text))
    except RagError as error:
        return replace(row, notes=(*row.notes, f"not examined to the end: {error.message}"))


def _answer(model: LanguageModel) -> str:
    pieces = model.stream([Message("user", CANARY)], Sampling(max_tokens=CANARY_TOKENS))
    return "".join(pieces).strip()


def _open(candidate: Candidate, tell: Report) -> Measured:
    from rag.loader.load import start_all

    return start_all([candidate], tell)


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """The rows with their perplexity beside that of the same model, unquantized and in its widest type.

    Rows belong together when they have as many parameters and cut the text into as many tokens.
    """
    plain = [row for row in rows if row.quantization == "none" and row.perplexity]
    plain.sort(key=lambda row: -WIDTHS.get(row.dtype or "", 0))
    return [_with_ratio(row, plain) for row in rows]


def _with_ratio(row: Row, plain: Sequence[Row]) -> Row:
    if row.perplexity is None:
        return row
    for base in plain:
        assert base.perplexity
        if base.perplexity.tokens == row.perplexity.tokens and _same_size(base.parameters, row.parameters):
            return replace(row, perplexity_ratio=row.perplexity.value / base.perplexity.value)
    return row


def _same_size(one: int | None, other: int | None) -> bool:
    return not one or not other or abs(one - other) <= SAME_MODEL * one
