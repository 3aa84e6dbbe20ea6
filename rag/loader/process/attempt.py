"""One way being tried: its worker, what that says while it loads and serves, and why it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from rag.child import Child, ChildGone
from rag.errors import ModelDied, ModelLoadFailed, RagError
from rag.loader.base import Report
from rag.loader.process.death import Kills, Reached, explain, over_cap, rebuilt, starved
from rag.loader.process.reading import Reading
from rag.loader.process.watch import Sample, Watcher
from rag.loader.records import Limit, Plan
from rag.types import ModelInfo

WORKER_ENV = {
    "HF_HUB_OFFLINE": "1",
    "HF_DEACTIVATE_ASYNC_LOAD": "1",  # transformers' loading threads would run ahead of what is reported
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONFAULTHANDLER": "1",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading came to: the plan taken, seconds, highest memory in bytes, the sanity gate's record."""

    plan: Plan
    seconds: float
    peak_bytes: int
    peak_private_bytes: int
    sanity: dict[str, Any] = field(default_factory=dict)


class Attempt:
    """A worker that is to load one plan; made and run by the thread with which Linux ends it.

    `answer` gets the messages that belong to a request. Raises ModelDied when no process can be started.
    """

    def __init__(self, plan: Plan, on_event: Report, answer: Callable[[dict[str, Any]], None]) -> None:
        self.plan = plan
        self.loaded: Loaded | None = None
        self._on_event, self._answer = on_event, answer
        self._began = time.monotonic()
        self._refusal: RagError | None = None
        self._telling = threading.Lock()  # the watcher's thread tells nothing of a load once that is over
        self._reached, self._reading = Reached(), Reading(plan)
        on_event({"event": "trying", "engine": plan.engine, "quantization": plan.quantization})
        try:
            self.child = Child("rag.loader.process.worker", env=WORKER_ENV)
        except OSError as error:
            raise ModelDied(
                f"no process can be started for the model: {error}", "Close other programs."
            ) from error
        self._kills = Kills(self.child.pid)
        self._watcher = Watcher(self.child.pid, plan, self._over_cap, self._starved, self._memory)

    @property
    def peak(self) -> Sample:
        """The highest memory of the worker so far, in bytes."""
        return self._watcher.peak

    def run(self, ready: Callable[[Loaded, ModelInfo], None]) -> RagError:
        """Load, call `ready`, and serve until the worker ends; returns why it did."""
        try:
            self.child.send({"load": asdict(self.plan)})
            while True:
                message = self.child.receive(self._patience())
                if message is None:
                    self._end(_too_slow(self.plan))
                else:
                    self._handle(message, ready)
        except ChildGone as gone:
            self._watcher.stop()
            last_words, loading = self.child.stderr_tail, self.loaded is None
            why = explain(self.plan, gone, self._refusal, self._reached, loading, last_words, self._kills)
            self.child.close()
            return why

    def _patience(self) -> float | None:
        """Seconds that loading may still take; no limit for what comes after it."""
        if self.loaded:
            return None
        return max(0.0, self._began + self.plan.load_seconds - time.monotonic())

    def _handle(self, message: dict[str, Any], ready: Callable[[Loaded, ModelInfo], None]) -> None:
        if "id" in message:
            self._answer(message)
        elif "event" in message:
            self._note(message["event"])
        elif "ready" in message:
            self._ready(message, ready)
        elif "error" in message:
            # Ended by us: an engine's own threads may keep a process from ending by itself.
            self._end(rebuilt(message["error"]))

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("event") == "loading":
            self._reading.begin()
        elif event.get("event") == "tensor":
            self._reached.event = event
        self._on_event(event)

    def _ready(self, message: dict[str, Any], ready: Callable[[Loaded, ModelInfo], None]) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        self._watcher.look()
        resident, peak = self._watcher.now.resident, self._watcher.peak
        sanity = message.get("sanity", {})
        with self._telling:
            self.loaded = Loaded(self.plan, seconds, peak.resident, peak.private, sanity)
        self._watcher.slow_down()
        notes = (*self.plan.notes, *message["ready"].get("notes", ()))
        ready(self.loaded, ModelInfo(**{**message["ready"], "notes": notes}))
        self._on_event({"event": "ready", "seconds": seconds, "resident_bytes": resident})

    def _memory(self, sample: Sample) -> None:
        self._reached.sample = sample
        with self._telling:
            if self.loaded:
                return
            if event := self._reading.event(sample.resident):
                self._reached.event = event
                self._on_event(event)
            self._on_event({"event": "memory", "resident_bytes": sample.resident, "left_bytes": sample.left})

    def _over_cap(self, used: int) -> None:
        self._end(over_cap(self.plan, used, self.plan.max_memory_bytes or 0))

    def _starved(self, limit: Limit) -> None:
        self._end(starved(self.plan, limit))

    def _end(self, reason: RagError) -> None:
        self._refusal = self._refusal or reason
        self.child.kill()


def _too_slow(plan: Plan) -> RagError:
    return ModelLoadFailed(
        f"{plan.name} did not load within {plan.load_seconds:g} s",
        "Raise model.load_seconds, or choose a smaller model.",
    )
