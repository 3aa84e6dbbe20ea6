"""GGUF models through llama.cpp; the only module that imports xllamacpp.

Its server runs in this process. Answers go through a callback; only tokenizing has no such door, so
that one goes through the loopback address that the server opens, which a random key closes to others.
"""

from __future__ import annotations

import http.client
import json
import queue
import secrets
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from rag.errors import EngineMissing, ModelError, ModelLoadFailed, PromptTooLong
from rag.loader.base import TOP_P, Report, Sampling, Usage, defuse
from rag.loader.gguf import control_tokens, read_metadata
from rag.loader.records import Plan
from rag.types import Message, ModelInfo

BATCH_TOKENS = 256
"""Prompt tokens read at a time; a cancelled prompt ends after at most so many."""

_END = object()


def load(plan: Plan, report: Report) -> LlamaCpp:
    """Load a GGUF file. Raises EngineMissing, ModelLoadFailed."""
    try:
        import xllamacpp  # type: ignore[import-untyped]
    except ImportError as error:
        raise EngineMissing(
            f"{plan.name} needs xllamacpp, which does not import: {error}",
            "Run `python scripts/run.py shell` once to install it.",
        ) from error
    control = control_tokens(read_metadata(Path(plan.model)))
    key = secrets.token_hex(16)
    report({"event": "loading", "engine": "llamacpp", "name": plan.name})
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, plan, key))
    except RuntimeError as error:
        raise ModelLoadFailed(
            f"llama.cpp cannot load {plan.name}",
            "Download the file again, or choose another model with --model.",
        ) from error
    return LlamaCpp(server, plan, key, control)


def _parameters(xllamacpp: Any, plan: Plan, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = plan.model
    params.n_ctx = plan.context_tokens
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    # Threads wait for each other at every layer of every token: one that another program holds up costs far
    # more than one core less. Long prompts gain from all cores even so.
    params.cpuparams.n_threads = max(1, plan.threads - 1)
    params.cpuparams_batch.n_threads = plan.threads
    params.n_gpu_layers = 0
    params.fit_params = False  # the plan has fitted the model already; this would read the file twice
    params.warmup = False
    params.enable_reasoning = 0
    params.cache_ram_mib = 0  # one conversation: its prompt prefix stays in the context itself
    params.verbosity = 1
    params.ui = params.endpoint_slots = False
    params.api_keys = [key]
    params.cors_origins, params.cors_origins_explicit = "", True
    params.n_threads_http = 2
    return params


class LlamaCpp:
    """One model, answering one request at a time; concurrent ones queue inside llama.cpp."""

    def __init__(self, server: Any, plan: Plan, key: str, control: Sequence[str]) -> None:
        self._server = server
        self._host = server.listening_address.removeprefix("http://")
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._control = control
        meta = self._ask("GET", "/v1/models")["data"][0]["meta"]
        self.info = ModelInfo(plan.name, "llamacpp", plan.quantization, meta["n_params"], meta["n_ctx"])

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: threading.Event | None = None
    ) -> Generator[str, None, Usage]:
        cancel = cancel or threading.Event()
        abandoned = threading.Event()

        def stopped() -> bool:
            return cancel.is_set() or abandoned.is_set()

        request = {
            "messages": defuse(messages, self._control),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_k": 0,
            "top_p": TOP_P,
            "min_p": 0.0,
            "seed": sampling.seed,
            "stop": list(sampling.stop),
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,  # calls back after each batch of the prompt: a chance to cancel
        }
        chunks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        worker = threading.Thread(target=self._generate, args=(request, chunks, stopped), daemon=True)
        worker.start()
        try:
            return (yield from _pieces(chunks, cancel))
        finally:
            abandoned.set()
            worker.join()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        prompt = self._ask("POST", "/apply-template", {"messages": defuse(messages, self._control)})["prompt"]
        text = {"content": prompt, "add_special": True, "parse_special": True}
        return len(self._ask("POST", "/tokenize", text)["tokens"])

    def close(self) -> None:
        self._server = None

    def _generate(
        self, request: dict[str, Any], chunks: queue.SimpleQueue[Any], stopped: Callable[[], bool]
    ) -> None:
        def receive(chunk: dict[str, Any]) -> bool:
            chunks.put(chunk)
            return stopped()

        try:
            self._server.handle_chat_completions(request, receive)
        except Exception as error:
            chunks.put(error)
        chunks.put(_END)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        _raise_error(answer)
        return answer


def _pieces(chunks: queue.SimpleQueue[Any], cancel: threading.Event) -> Generator[str, None, Usage]:
    prompt_tokens = answer_tokens = 0
    finish = "length"
    while (chunk := chunks.get()) is not _END:
        if isinstance(chunk, Exception):
            raise ModelError(f"llama.cpp failed: {chunk}", "Ask again, or choose another model.") from chunk
        _raise_error(chunk)
        if usage := chunk.get("usage"):
            prompt_tokens, answer_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        for choice in chunk.get("choices", ()):
            finish = choice.get("finish_reason") or finish
            if piece := choice["delta"].get("content"):
                answer_tokens += 1
                yield piece
    return Usage(prompt_tokens, answer_tokens, "cancelled" if cancel.is_set() else finish)


def _raise_error(answer: dict[str, Any]) -> None:
    error = answer.get("error")
    if not error:
        return
    if error.get("type") == "exceed_context_size_error":
        raise PromptTooLong(
            f"the prompt has {error['n_prompt_tokens']} tokens, the model reads {error['n_ctx']}",
            "Ask with fewer passages (--top-k) or a shorter question.",
        )
    raise ModelError(f"llama.cpp refused the request: {error.get('message')}", "Choose another model.")
