"""The parent's side: starts the worker, speaks for its model, and says why when it dies."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

import psutil

from rag.child import Child, ChildGone
from rag.errors import ModelDied, ModelError, ModelLoadFailed, RagError
from rag.loader.base import Report, Sampling, Usage
from rag.loader.records import Plan
from rag.types import Message, ModelInfo

POLL_S = 0.05
"""How often a waiting caller looks at its cancel event, and the watchdog at the memory."""

STDERR_LINES = 3
Answers = queue.SimpleQueue[dict[str, Any]]
WORKER_ENV = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONFAULTHANDLER": "1"}


def start(plan: Plan, on_event: Report = lambda event: None) -> WorkerModel:
    """Begin to load the planned model in a process of its own, and return at once.

    `on_event` hears {"event": "loading" | "ready" | "failed", ...} from another thread.
    """
    return WorkerModel(plan, on_event)


class WorkerModel:
    """A `LanguageModel` whose work is done by a child process; use it as a context manager.

    Any number of threads may ask at once: each request has a number, and the worker takes them in turn.
    """

    def __init__(self, plan: Plan, on_event: Report) -> None:
        self.plan = plan
        self._on_event = on_event
        self._began = time.monotonic()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._pending: dict[int, Answers] = {}
        self._settled = threading.Event()  # loaded, or failed
        self._failure: RagError | None = None
        self._info: ModelInfo | None = None
        spawned: Future[Child] = Future()
        # Linux ends the worker together with the thread that started it, so that thread minds it to the end.
        self._minder = threading.Thread(target=self._mind, args=(spawned,), daemon=True)
        self._minder.start()
        self._child = spawned.result()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def info(self) -> ModelInfo:
        """Which model this is; waits for the worker where the plan does not know the model's size."""
        if self._info is None and (known := _info_in(self.plan)):
            return known
        return self.wait_ready()

    def wait_ready(self, timeout_s: float | None = None) -> ModelInfo:
        """Wait until the model is loaded.

        Raises ModelLoadFailed or EngineMissing with the worker's reason, ModelDied, and TimeoutError when
        it is still loading after `timeout_s` seconds.
        """
        left = max(0.0, self._began + self.plan.load_seconds - time.monotonic())
        if not self._settled.wait(left if timeout_s is None else min(left, timeout_s)):
            if timeout_s is not None and timeout_s < left:
                raise TimeoutError(f"{self.plan.name} is still loading")
            self._kill(_too_slow(self.plan))
        self._raise_failure()
        assert self._info is not None
        return self._info

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: threading.Event | None = None
    ) -> Generator[str, None, Usage]:
        """See `LanguageModel.stream`."""
        pieces = 0
        request = {"stream": _turns(messages), "sampling": asdict(sampling)}
        with self._request(request) as (number, answers):
            try:
                while not (cancel and cancel.is_set()):
                    message = _next(answers)
                    if "text" in message:
                        pieces += 1
                        yield message["text"]
                    elif "end" in message:
                        return Usage(**message["end"])
            finally:
                self._send({"cancel": number})  # means nothing to the worker when the answer is complete
        return Usage(0, pieces, "cancelled")

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the whole prompt, the model's chat template included."""
        with self._request({"count": _turns(messages)}) as (_, answers):
            while "count" not in (message := _next(answers)):
                continue
            return message["count"]

    def resident_bytes(self) -> int:
        """Memory that the worker holds now, mapped file pages included; 0 once it is gone."""
        try:
            return psutil.Process(self._child.pid).memory_info().rss
        except psutil.Error:
            return 0

    def close(self) -> None:
        """End the worker; later requests raise ModelDied."""
        loading = not self._settled.is_set()
        self._fail(ModelDied(f"{self.plan.name} was closed", "Start it again."), tell=False)
        if loading:
            self._child.kill()  # a library that loads does not listen
        self._child.close()
        self._minder.join()

    def __enter__(self) -> WorkerModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _request(self, body: dict[str, Any]) -> Iterator[tuple[int, Answers]]:
        self.wait_ready()
        number = next(self._numbers)
        answers: Answers = queue.SimpleQueue()
        with self._lock:
            self._raise_failure()
            self._pending[number] = answers
        try:
            self._send({"id": number, **body})
            yield number, answers
        finally:
            with self._lock:
                self._pending.pop(number, None)

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ChildGone), self._lock:  # the minder hears of it too, and tells everyone why
            self._child.send(message)

    def _mind(self, spawned: Future[Child]) -> None:
        """Start the worker and pass on what it says until it ends."""
        try:
            child = Child("rag.loader.worker", env=WORKER_ENV)
        except OSError as error:
            spawned.set_exception(
                ModelDied(f"no process can be started for the model: {error}", "Close other programs.")
            )
            return
        spawned.set_result(child)
        if self.plan.max_memory_bytes:
            threading.Thread(
                target=self._watch_memory, args=(self.plan.max_memory_bytes,), daemon=True
            ).start()
        refusal = None
        try:
            child.send({"load": asdict(self.plan)})
            while True:
                refusal = self._handle(child.receive() or {}) or refusal
        except ChildGone as gone:
            loading = not self._settled.is_set()
            self._fail(_why(self.plan, gone, refusal, loading, child.stderr_tail))

    def _handle(self, message: dict[str, Any]) -> RagError | None:
        """Hand one message to whom it is for; returns the error with which loading failed."""
        if "id" in message:
            with self._lock:
                answers = self._pending.get(message["id"])
            if answers:
                answers.put(message)
        elif "event" in message:
            self._on_event(message["event"])
        elif "ready" in message:
            self._info = ModelInfo(**message["ready"])
            self._settled.set()
            seconds = round(time.monotonic() - self._began, 3)
            self._on_event({"event": "ready", "seconds": seconds, "resident_bytes": self.resident_bytes()})
        elif "error" in message:
            return _rebuilt(message["error"])
        return None

    def _watch_memory(self, cap: int) -> None:
        while self._failure is None and self._child.alive:
            used = self.resident_bytes()
            if used > cap:
                self._kill(_too_large(self.plan, used, cap))
                return
            time.sleep(POLL_S)

    def _kill(self, reason: RagError) -> None:
        self._fail(reason)
        self._child.kill()

    def _fail(self, reason: RagError, tell: bool = True) -> None:
        """Note why the model answers no more, unless that is known, and tell all who wait."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = reason
            waiting = list(self._pending.values())
        self._settled.set()
        for answers in waiting:
            answers.put(reason.as_dict())
        if tell:
            self._on_event({"event": "failed", **reason.as_dict()})

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise _rebuilt(self._failure.as_dict()["error"])  # a new one: each caller adds its own traceback


def _info_in(plan: Plan) -> ModelInfo | None:
    if plan.parameters is None:
        return None
    return ModelInfo(plan.name, plan.engine, plan.quantization, plan.parameters, plan.context_tokens)


def _turns(messages: Sequence[Message]) -> list[list[str]]:
    return [[message.role, message.content] for message in messages]


def _next(answers: Answers) -> dict[str, Any]:
    """The worker's next message, {} when none comes soon. Raises what it reports."""
    try:
        message = answers.get(timeout=POLL_S)
    except queue.Empty:
        return {}
    if "error" in message:
        raise _rebuilt(message["error"])
    return message


def _rebuilt(error: dict[str, str]) -> RagError:
    """The error that travelled as its code, message and fix."""
    kinds = [ModelError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    named = {kind.code: kind for kind in kinds}
    return named.get(error["code"], ModelError)(error["message"], error["fix"])


def _why(plan: Plan, gone: ChildGone, refusal: RagError | None, loading: bool, stderr: str) -> RagError:
    """What to tell the user about a worker that ended: its own reason first, then its last words."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if refusal:
        told = [line.partition("error ")[2] for line in lines if "error loading model: " in line]
        detail = f" ({told[-1].partition(': ')[2]})" if told else ""
        return type(refusal)(refusal.message + detail, refusal.fix)
    doing = " while loading" if loading else ""
    last = "".join(f"\n  {line}" for line in lines[-STDERR_LINES:])
    return ModelDied(
        f"the process of {plan.name} {gone.explanation}{doing}{last}",
        "Ask again. If it happens again, close other programs or choose a smaller model.",
    )


def _too_slow(plan: Plan) -> RagError:
    return ModelLoadFailed(
        f"{plan.name} did not load within {plan.load_seconds:g} s",
        "Raise model.load_seconds, or choose a smaller model.",
    )


def _too_large(plan: Plan, used: int, cap: int) -> RagError:
    return ModelLoadFailed(
        f"{plan.name} used {used / 1e6:,.0f} MB of memory, over the cap of {cap / 1e6:,.0f} MB",
        "Raise --max-memory, or choose a smaller model.",
    )
