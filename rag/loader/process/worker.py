"""The child process: loads one model, then serves tokens until its parent goes away.

Messages in:  {"load": plan}, then {"id", "stream", "sampling"}, {"id", "count"}, {"id", "score"},
              {"cancel": id}
Messages out: {"event": ...}, {"ready": info, "sanity": ...} or {"error": ...};
              {"id", "text"} ..., {"id", "end": usage}; {"id", "count"}; {"id", "scores"}; {"id", "error"}
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag.child import Parent, limit_memory
from rag.errors import ModelError, ModelLoadFailed, RagError
from rag.loader.base import LoadedModel, Report, Sampling
from rag.loader.process import sanity
from rag.loader.process.death import memory_refused, out_of_memory
from rag.loader.records import Plan
from rag.types import Message

Request = dict[str, Any]
RESERVED_BYTES = 2 << 30


def main() -> None:
    _end_with_parent_even_while_loading()
    parent = Parent()
    first = parent.receive()
    assert first is not None
    plan = Plan(**{**first["load"], "notes": tuple(first["load"]["notes"])})
    _die_before_others()
    _cap(plan)
    try:
        model = load(plan, lambda event: parent.send({"event": event}))
        found = sanity.check(model, plan) if plan.sanity else None
    except RagError as error:
        parent.send(error.as_dict())
        return
    parent.send({"ready": asdict(model.info), "sanity": asdict(found) if found else {}})
    Worker(parent, model).serve()


def load(plan: Plan, report: Report) -> LoadedModel:
    """Load through the plan's engine. Raises ModelError."""
    engine = importlib.import_module(f"rag.loader.engines.{plan.engine}")
    try:
        return engine.load(plan, report)
    except RagError as error:
        if error.__cause__ and out_of_memory(error.__cause__):
            raise memory_refused(plan, str(error.__cause__).strip().splitlines()[0]) from error
        raise
    except Exception as error:
        if out_of_memory(error):
            raise memory_refused(plan, (str(error).strip().splitlines() or [""])[0]) from error
        traceback.print_exc()
        raise ModelLoadFailed(
            f"{plan.name} cannot be loaded: {type(error).__name__}: {error}",
            "Choose another model with --model.",
        ) from error


class Worker:
    """Counts at once, generates as many answers side by side as the engine does, and hears a cancel."""

    def __init__(self, parent: Parent, model: LoadedModel) -> None:
        self._parent = parent
        self._model = model
        self._waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._cancels: dict[int, threading.Event] = {}

    def serve(self) -> None:
        for _ in range(getattr(self._model, "answers_at_once", 1)):
            threading.Thread(target=self._generate_all, daemon=True).start()
        while (request := self._parent.receive()) is not None:
            if "cancel" in request:
                if event := self._cancels.get(request["cancel"]):
                    event.set()
            elif "stream" in request:
                self._cancels[request["id"]] = threading.Event()
                self._waiting.put(request)
            elif "score" in request:
                self._waiting.put(request)
            else:
                with self._reporting(request["id"]):
                    tokens = self._model.count_tokens(_messages(request["count"]))
                    self._parent.send({"id": request["id"], "count": tokens})

    def _generate_all(self) -> None:
        while True:
            request = self._waiting.get()
            with self._reporting(request["id"]):
                if "score" in request:
                    scores = self._model.token_logprobs(request["score"])
                    self._parent.send({"id": request["id"], "scores": scores})
                else:
                    self._generate(request)
            self._cancels.pop(request["id"], None)

    def _generate(self, request: Request) -> None:
        number = request["id"]
        cancel = self._cancels[number]
        if cancel.is_set():
            return
        sampling = Sampling(**{**request["sampling"], "stop": tuple(request["sampling"]["stop"])})
        pieces = self._model.stream(_messages(request["stream"]), sampling, cancel)
        silent = True
        while True:
            try:
                text = next(pieces)
            except StopIteration as end:
                usage = end.value
                break
            silent = silent and not text.strip()
            self._parent.send({"id": number, "text": text})
        if silent and not sampling.stop and not cancel.is_set():
            raise ModelError("the model answered with nothing", "Ask again, or choose another model.")
        self._parent.send({"id": number, "end": asdict(usage)})

    @contextlib.contextmanager
    def _reporting(self, number: int) -> Iterator[None]:
        """Send what goes wrong with one request to whoever asked, and live on."""
        try:
            yield
        except RagError as error:
            self._parent.send({"id": number, **error.as_dict()})
        except Exception as error:
            traceback.print_exc()
            failure = ModelError(f"the model failed: {type(error).__name__}: {error}", "Ask again.")
            self._parent.send({"id": number, **failure.as_dict()})


def _messages(turns: list[list[str]]) -> list[Message]:
    return [Message(role, content) for role, content in turns]


def _end_with_parent_even_while_loading() -> None:
    """Ask Linux to kill this process with the thread that started it.

    `Parent` watches for the parent's end too, but its thread stands still while a native library
    loads gigabytes without letting other Python threads run.
    """
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _die_before_others() -> None:
    """Have Linux' OOM killer choose this process before the user's other programs."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def _cap(plan: Plan) -> None:
    """Add the system's own limit to the watchdog, which looks only every few milliseconds.

    The limit counts memory that is reserved as well: threads' stacks, allocators' pools, and, once for each
    time that it is opened, a file that torch maps so that it may write to its copy; hence the slack. It is
    there for the one allocation that would take all at once.
    A GPU's driver reserves far more than it uses, so there the watchdog is alone.
    """
    if plan.max_memory_bytes and plan.device != "cuda":
        limit_memory(plan.max_memory_bytes + 2 * plan.weight_bytes + RESERVED_BYTES)


if __name__ == "__mp_main__":  # a process that an engine started with multiprocessing's "spawn"
    _end_with_parent_even_while_loading()
    if os.getppid() == 1:  # the worker was gone before it could be asked for
        os._exit(1)

if __name__ == "__main__":
    main()
