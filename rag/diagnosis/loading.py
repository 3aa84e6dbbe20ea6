"""Load the model, measure it, and see that its memory comes back."""

from __future__ import annotations

import contextlib
import shlex
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rag.diagnosis.examine import missing_to_load
from rag.diagnosis.records import Diagnosis, GivenBack, Outcome, Speed
from rag.errors import EngineMissing, RagError
from rag.loader.base import LanguageModel, Sampling
from rag.loader.machine.limits import available_bytes
from rag.loader.process.giving_back import gpu_free
from rag.loader.progress import shown
from rag.loader.records import Candidate
from rag.places import CHECKOUT
from rag.types import Message

if TYPE_CHECKING:
    from rag.loader.process.supervise import WorkerModel

PROMPT_TOKENS = (48, 512)
"""Shortest and longest prompt to measure with."""
PREFILL_S = 5.0
"""What reading the prompt should take, by the prediction."""
PREFILL_LIMIT_S, DECODE_LIMIT_S = 90.0, 10.0
ANSWER_TOKENS = 64
LEAST_TOKENS = 4
"""Fewer tokens than this say nothing about the speed."""
LINE = "Entry {}: the lighthouse keeper counted the ships, noted the wind and the tide, and lit the lamp.\n"
TASK = "\nTell what the entries above say, as a long story."
SETTLE_S = 3.0
"""Memory of a process that has ended is free within this time."""
SLACK_BYTES = 200_000_000
"""A GPU's driver keeps a little."""
FREQUENT = ("tensor", "memory", "downloading", "requantizing")

Event = dict[str, Any]
Use = Callable[[Diagnosis, "WorkerModel"], None]


def load(diagnosis: Diagnosis, on_terminal: bool, use: Use | None = None) -> Diagnosis:
    """Load in the best way that fits, the next if it fails, and measure; `use` has the loaded model last.

    What goes wrong becomes the diagnosis's `error`.
    """
    if missing := missing_to_load():
        return replace(diagnosis, error=_cannot_load(missing))
    from rag.loader.load import open_best
    from rag.loader.survey import Survey

    surveyed = Survey(diagnosis.facts, diagnosis.machine, diagnosis.candidates)
    events: list[Event] = []
    before = available_bytes()
    with contextlib.ExitStack() as stack:
        with shown(sys.stderr, on_terminal) as tell:

            def heard(event: Event) -> None:
                _keep(events, event)
                tell(event)

            gpu_before = _gpu_free(diagnosis)
            model = stack.enter_context(open_best(surveyed, diagnosis.request, heard))
            done = _ready(diagnosis, model, events)
            if done.outcome and not done.error:
                heard({"event": "measuring", "name": done.outcome.plan.name})
                done = _measured(done, model, gpu_before)
        if use and done.outcome:
            use(done, model)
        done = replace(done, events=tuple(events), log=model.log)
    return _given_back(done, model, before, gpu_before)


def _cannot_load(missing: Sequence[str]) -> EngineMissing:
    verb = "is" if len(missing) == 1 else "are"
    return EngineMissing(
        f"the model cannot be loaded by {sys.executable}: {' and '.join(missing)} {verb} not installed",
        f"Run `{shlex.quote(sys.executable)} {CHECKOUT / 'scripts' / 'run.py'} shell` once; it installs all "
        "packages into .venv, which this script then uses by itself.",
    )


def _keep(events: list[Event], event: Event) -> None:
    """Of a run of tensors or of memory figures the last is enough to see how far loading came."""
    kind = event.get("event")
    if kind in FREQUENT and events and events[-1].get("event") == kind:
        events[-1] = event
    else:
        events.append(event)


def _ready(diagnosis: Diagnosis, model: WorkerModel, events: list[Event]) -> Diagnosis:
    """The diagnosis with what loading came to, or its error."""
    try:
        model.wait_ready()
    except RagError as error:
        return replace(diagnosis, error=error)
    loaded = model.loaded
    assert loaded
    failed = tuple(
        {key: str(event.get(key, "")) for key in ("code", "message", "fix")}
        for event in events
        if event.get("event") == "rung_failed"
    )
    outcome = Outcome(
        plan=loaded.plan,
        seconds=loaded.seconds,
        peak_bytes=loaded.peak_private_bytes,
        resident_bytes=loaded.peak_bytes,
        sanity=loaded.sanity,
        failed=failed,
    )
    return replace(diagnosis, outcome=outcome)


def _measured(diagnosis: Diagnosis, model: WorkerModel, gpu_before: int) -> Diagnosis:
    """Speed, and the highest memory, reading a long prompt included."""
    outcome, chosen = diagnosis.outcome, diagnosis.chosen
    assert outcome
    try:
        speed = measure(model, outcome.plan.context_tokens, chosen)
    except RagError as error:
        return replace(diagnosis, error=error)
    peak = model.peak()
    held = max(outcome.peak_bytes, peak.private)
    if outcome.plan.device == "cuda":
        held = max(0, gpu_before - _gpu_free(diagnosis))
    resident = max(outcome.resident_bytes, peak.resident)
    outcome = replace(outcome, speed=speed, peak_bytes=held, resident_bytes=resident)
    return replace(diagnosis, outcome=outcome)


def measure(model: LanguageModel, context_tokens: int, expected: Candidate | None = None) -> Speed:
    """Time one long prompt and one answer; shorter ones where the model is expected to be slow.

    Prefill is the prompt's tokens until the first piece of the answer; decoding the tokens after it, a
    piece being a token. Raises ModelError, ModelDied.
    """
    prompt = _prompt(model, _prompt_tokens(context_tokens, expected))
    tokens = model.count_tokens(prompt)
    cancel = threading.Event()
    alarm = threading.Timer(PREFILL_LIMIT_S, cancel.set)
    alarm.start()
    begun = time.perf_counter()
    times: list[float] = []
    try:
        for _ in model.stream(prompt, Sampling(max_tokens=ANSWER_TOKENS), cancel):
            times.append(time.perf_counter())
            alarm.cancel()
            if times[-1] - times[0] > DECODE_LIMIT_S:
                cancel.set()
    finally:
        alarm.cancel()
    prefill = tokens / (times[0] - begun) if times else None
    decode = (len(times) - 1) / (times[-1] - times[0]) if len(times) >= LEAST_TOKENS else None
    return Speed(tokens, prefill, len(times), decode)


def _prompt_tokens(context_tokens: int, expected: Candidate | None) -> int:
    least, most = PROMPT_TOKENS
    pace = expected.prefill_tokens_per_s if expected else None
    wanted = int(pace * PREFILL_S) if pace else most // 2
    room = max(least, context_tokens - 2 * ANSWER_TOKENS)
    return min(max(least, min(wanted, most)), room)


def _prompt(model: LanguageModel, tokens: int) -> list[Message]:
    """A prompt of about so many tokens."""
    ten = "".join(LINE.format(number) for number in range(10))
    each = max(
        1.0, (model.count_tokens([Message("user", ten)]) - model.count_tokens([Message("user", "")])) / 10
    )
    lines = max(1, int((tokens - model.count_tokens([Message("user", TASK)])) / each))
    text = "".join(LINE.format(number) for number in range(lines))
    return [Message("user", text + TASK)]


def _given_back(diagnosis: Diagnosis, model: WorkerModel, before: int, gpu_before: int) -> Diagnosis:
    """Look whether what the process held can be used again; a GPU's driver may take a moment for that."""
    if diagnosis.outcome is None:
        return diagnosis
    deadline = time.monotonic() + SETTLE_S
    while (missing := gpu_before - _gpu_free(diagnosis)) > SLACK_BYTES and time.monotonic() < deadline:
        time.sleep(0.1)
    missing = missing if missing > SLACK_BYTES else 0
    back = GivenBack(before, available_bytes(), model.resident_bytes() == 0, missing)
    return replace(diagnosis, outcome=replace(diagnosis.outcome, given_back=back))


def _gpu_free(diagnosis: Diagnosis) -> int:
    """Free bytes of all GPUs; 0 where there is none."""
    return gpu_free() if diagnosis.machine.gpus else 0
