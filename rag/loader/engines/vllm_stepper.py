"""The thread that drives vLLM's engine: requests and their ends go in, pieces of answers come out."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

Answers = queue.SimpleQueue[Any]
"""vLLM's outputs for one request; an Exception in their place is the last."""


class Stepper:
    """Builds an engine and steps it while it has work, all in one thread; raises what `build` raises.

    CUDA's current device and OpenMP's threads belong to a thread, so it is the same one to the end.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self._numbers = itertools.count(1)
        self._errands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: dict[str, Answers] = {}
        self._broken: Exception | None = None
        built: Future[Any] = Future()
        self._thread = threading.Thread(target=self._run, args=(build, built), daemon=True)
        self._thread.start()
        self.engine = built.result()

    @contextlib.contextmanager
    def request(self, prompt: Sequence[int], params: Any) -> Iterator[Answers]:
        """The answers to a prompt of token ids as they come; leaving ends the work within a token."""
        name = str(next(self._numbers))
        answers: Answers = queue.SimpleQueue()
        self._errands.put(lambda: self._begin(name, list(prompt), params, answers))
        try:
            yield answers
        finally:
            self._errands.put(lambda: self._end(name))

    def close(self) -> None:
        """End all requests and give the engine's memory back."""
        self._errands.put(None)
        self._thread.join()

    def _run(self, build: Callable[[], Any], built: Future[Any]) -> None:
        try:
            engine = build()
        except BaseException as error:
            built.set_exception(error)
            return
        self.engine = engine
        built.set_result(engine)
        while self._do_errands(engine):
            try:
                outputs = engine.step()
            except Exception as error:
                self._break(error)
                continue
            for output in outputs:
                if answers := self._waiting.get(output.request_id):
                    answers.put(output)
        self._break(RuntimeError("the model was closed"))
        del engine
        self._free()

    def _do_errands(self, engine: Any) -> bool:
        """Do what was asked for, and wait for it while there is nothing to compute; False at the end."""
        while True:
            idle = self._broken is not None or not engine.has_unfinished_requests()
            try:
                errand = self._errands.get(block=idle)
            except queue.Empty:
                return True
            if errand is None:
                return False
            errand()

    def _begin(self, name: str, prompt: list[int], params: Any, answers: Answers) -> None:
        if self._broken is not None:
            answers.put(self._broken)
            return
        try:
            self.engine.add_request(name, {"type": "token", "prompt_token_ids": prompt}, params)
        except Exception as error:
            answers.put(error)
            return
        self._waiting[name] = answers

    def _end(self, name: str) -> None:
        if self._waiting.pop(name, None) is not None and self._broken is None:
            self.engine.abort_request([name])  # means nothing to it when the answer is complete

    def _break(self, error: Exception) -> None:
        """An engine that failed once answers nothing more; tell everyone who waits or asks later."""
        self._broken = error
        for answers in self._waiting.values():
            answers.put(error)

    def _free(self) -> None:
        from vllm.distributed import cleanup_dist_env_and_memory

        self.engine.engine_core.shutdown()
        self.engine = None
        cleanup_dist_env_and_memory()
