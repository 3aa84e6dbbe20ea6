"""The parent's side: speaks for the model in the worker, and tries the next way when one fails to load."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rag.child import ChildGone
from rag.errors import DoesNotFit, ModelDied, RagError
from rag.loader.base import Report, Sampling, Usage
from rag.loader.process.attempt import Attempt, Loaded
from rag.loader.process.death import rebuilt
from rag.loader.process.giving_back import gpu_free, kept_back
from rag.loader.process.watch import Sample
from rag.loader.records import Plan, title
from rag.types import Message, ModelInfo

POLL_S = 0.05
"""How often a waiting caller looks at its cancel event."""

Answers = queue.SimpleQueue[dict[str, Any]]
Step = Callable[[], Plan]
"""Makes a plan ready to be loaded, by downloading what it lacks, say; raises RagError when it cannot."""


def start(plan: Plan, on_event: Report = lambda event: None) -> WorkerModel:
    """Begin to load one plan in a process of its own, and return at once."""
    return WorkerModel([lambda: plan], plan, on_event)


class WorkerModel:
    """A `LanguageModel` whose work is done by a child process; use it as a context manager.

    `steps` are the ways to run it, best first: when one fails while it loads, the next is tried.
    `on_event` hears {"event": ...} from other threads: "trying", "loading", "tensor", "memory",
    "rung_failed", "ready", "failed". Any number of threads may ask at once: each request has a number.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        first: Plan,
        on_event: Report,
        closing: threading.Event | None = None,
    ) -> None:
        self.plan = first
        self.loaded: Loaded | None = None
        self._steps = steps
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._pending: dict[int, Answers] = {}
        self._settled = threading.Event()  # loaded, or failed
        self._spawned = threading.Event()
        self._failure: RagError | None = None
        self._closing = closing or threading.Event()  # also ends a download
        self._info: ModelInfo | None = None
        self._attempt: Attempt | None = None
        self._gpu_before: int | None = None
        # Linux ends the worker together with the thread that started it, so that thread minds it to the end.
        self._minder = threading.Thread(target=self._mind, daemon=True)
        self._minder.start()

    @property
    def pid(self) -> int:
        """The worker's process; waits until there is one."""
        while not (self._spawned.wait(POLL_S) or self._settled.is_set()):
            continue
        if self._attempt is None:
            self._raise_failure()
            raise ModelDied(f"{self.plan.name} has no process", "Start it again.")
        return self._attempt.child.pid

    @property
    def info(self) -> ModelInfo:
        """Which model this is: what the plan says while it loads, waiting where that knows no size."""
        if self._info is None and self._failure is None and (known := _info_in(self.plan)):
            return known
        return self.wait_ready()

    def wait_ready(self, timeout_s: float | None = None) -> ModelInfo:
        """Wait until the model is loaded.

        Raises ModelLoadFailed or EngineMissing with the worker's reason, ModelDied, and TimeoutError when
        it is still loading after `timeout_s` seconds.
        """
        if not self._settled.wait(timeout_s):
            raise TimeoutError(f"{self.plan.name} is still loading")
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
        return self._ask({"count": _turns(messages)}, "count")

    def token_logprobs(self, text: str) -> list[float]:
        """See `LoadedModel.token_logprobs`."""
        return self._ask({"score": text}, "scores")

    def resident_bytes(self) -> int:
        """Memory that the worker holds now, mapped file pages included; 0 once it is gone."""
        return self._attempt.child.resident_bytes() if self._attempt else 0

    def peak(self) -> Sample:
        """The highest memory of the worker so far, in bytes."""
        return self._attempt.peak if self._attempt else Sample()

    @property
    def log(self) -> str:
        """The last lines that the worker wrote to standard error."""
        return self._attempt.child.stderr_tail if self._attempt else ""

    def close(self) -> None:
        """End the worker and wait until its memory is given back; later requests raise ModelDied."""
        self._closing.set()
        loading = not self._settled.is_set()
        self._fail(ModelDied(f"{self.plan.name} was closed", "Start it again."), tell=False)
        if attempt := self._attempt:
            if loading:
                attempt.child.kill()  # a library that loads does not listen
            attempt.child.close()
        self._minder.join()

    def __enter__(self) -> WorkerModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- requests ---------------------------------------------------------------------------------

    def _ask(self, body: dict[str, Any], key: str) -> Any:
        with self._request(body) as (_, answers):
            while key not in (message := _next(answers)):
                continue
            return message[key]

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
            if self._attempt:
                self._attempt.child.send(message)

    # --- the minder's thread ----------------------------------------------------------------------

    def _mind(self) -> None:
        """Try one way after the other until a model is loaded, then pass on what it says until it ends."""
        failures: list[tuple[Plan | None, RagError]] = []
        for step in self._steps:
            plan: Plan | None = None
            if failures:
                self._on_event({"event": "rung_failed", **failures[-1][1].as_dict()["error"]})
            try:
                plan = step()
                self._wait_for_gpus(plan)
                self._run(plan)
            except RagError as error:
                failures.append((plan, error))
            if self._settled.is_set() or self._closing.is_set():
                break
        if failures:
            self._fail(_all_failed(failures))

    def _wait_for_gpus(self, plan: Plan) -> None:
        """Let a driver take back what an earlier way left on the GPUs. Raises DoesNotFit when it does not."""
        if plan.device != "cuda":
            return
        if self._gpu_before is None:
            self._gpu_before = gpu_free()
        elif problem := kept_back((), self._gpu_before):
            raise DoesNotFit(
                f"{plan.name} cannot be loaded: of the way tried before, {problem}",
                "Look with nvidia-smi which process holds it, and end that.",
            )

    def _run(self, plan: Plan) -> None:
        """Load a plan and serve until its worker ends. Raises RagError when it does not come to be ready."""
        self.plan = plan
        self._attempt = attempt = Attempt(plan, self._on_event, self._hand_over)
        self._spawned.set()
        if self._closing.is_set():
            attempt.child.kill()
        why = attempt.run(self._ready)
        if attempt.loaded is None:
            raise why
        self._fail(why)

    def _ready(self, loaded: Loaded, info: ModelInfo) -> None:
        self.loaded, self._info = loaded, info
        self._settled.set()

    def _hand_over(self, message: dict[str, Any]) -> None:
        """Give a message to the request that it answers."""
        with self._lock:
            answers = self._pending.get(message["id"])
        if answers:
            answers.put(message)

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
            raise rebuilt(self._failure.as_dict()["error"])  # a new one: each caller adds its own traceback


def _all_failed(failures: Sequence[tuple[Plan | None, RagError]]) -> RagError:
    """The last failure, with what was tried before it."""
    last = failures[-1][1]
    if len(failures) == 1:
        return last
    tried = "".join(
        f"\n  {title(plan) + ': ' if plan else ''}{error.message}" for plan, error in failures[:-1]
    )
    return type(last)(f"{last.message}\nTried before:{tried}", last.fix)


def _info_in(plan: Plan) -> ModelInfo | None:
    if plan.parameters is None:
        return None
    return ModelInfo(
        plan.name, plan.engine, plan.quantization, plan.parameters, plan.context_tokens, notes=plan.notes
    )


def _turns(messages: Sequence[Message]) -> list[list[str]]:
    return [[message.role, message.content] for message in messages]


def _next(answers: Answers) -> dict[str, Any]:
    """The worker's next message, {} when none comes soon. Raises what it reports."""
    try:
        message = answers.get(timeout=POLL_S)
    except queue.Empty:
        return {}
    if "error" in message:
        raise rebuilt(message["error"])
    return message
