"""GGUF models through llama.cpp; the only module that imports xllamacpp.

Its server runs in this process. Answers go through a callback; only tokenizing has no such door, so
that one goes through the loopback address that the server opens, which a random key closes to others.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import queue
import re
import secrets
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from rag.errors import EngineMissing, ModelError, ModelLoadFailed, PromptTooLong
from rag.loader.base import BATCH_TOKENS, TOP_P, Report, Sampling, Usage, defuse
from rag.loader.engines.markers import control_tokens
from rag.loader.process import requantize
from rag.loader.records import Plan
from rag.types import Message, ModelInfo

SPINS = "3000"
"""How often a thread looks whether the others have arrived before it lets somebody else have its core.

OpenMP's own choice is 300,000, which burns the very time that a late thread needs. On two cores, the bundled
model wrote 90 to 101 tokens a second alone with either; beside one busy program 21 with this and 4 without
(and read a prompt at 183 and 70). With 1,000 it wrote 75 alone and 33; a thread less gave 65 and 41.
"""

ALL_LAYERS = 1 << 16
FORCING = 1e6
"""Logits are tens at most, so that with this one added a token always wins."""

AS_IT_IS = "none"
"""The value of `Plan.requantize` with which no copy is used either."""

PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_END = object()


def load(plan: Plan, report: Report) -> LlamaCpp:
    """Load a GGUF file; of several parts, the first is named. Raises EngineMissing, ModelLoadFailed."""
    xllamacpp = _library(plan)
    if plan.device == "cuda":
        _require_gpu(xllamacpp, plan)
    file, name = _weights(plan, report)
    report(
        {
            "event": "loading",
            "engine": "llamacpp",
            "name": name,
            "total_bytes": sum(part.stat().st_size for part in parts(file)),
        }
    )
    control = control_tokens(file)
    key = secrets.token_hex(16)
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, plan, file, key))
    except RuntimeError as error:
        raise ModelLoadFailed(
            f"llama.cpp cannot load {plan.name}",
            "Download the file again, or choose another model with --model.",
        ) from error
    return LlamaCpp(server, plan, key, control)


def parts(file: Path) -> list[Path]:
    """The files of a model in several parts, by the first one's name; else just `file`.

    Raises ModelLoadFailed when one is missing.
    """
    match = PART.search(file.name)
    count = int(match[2]) if match else 1
    stem = file.name[: match.start()] if match else ""
    names = [f"{stem}-{n:05d}-of-{count:05d}.gguf" for n in range(1, count + 1)] if match else [file.name]
    if absent := [name for name in names if not file.with_name(name).is_file()]:
        raise ModelLoadFailed(
            f"{len(absent)} of the {len(names)} parts of {file.name} are missing, first of them {absent[0]}",
            f"Download the rest into {file.parent}.",
        )
    return [file.with_name(name) for name in names]


def _library(plan: Plan) -> Any:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # OpenMP reads it once, when xllamacpp is imported
    try:
        import xllamacpp  # type: ignore[import-untyped]
    except ImportError as error:
        raise EngineMissing(
            f"{plan.name} needs xllamacpp, which does not import: {error}",
            "Run `python scripts/run.py shell` once to install it.",
        ) from error
    return xllamacpp


def _require_gpu(xllamacpp: Any, plan: Plan) -> None:
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    if all(device["type"] == cpu for device in xllamacpp.get_device_info()):
        raise ModelLoadFailed(
            f"{plan.name} is to run on a GPU, and the installed xllamacpp has no code for one, or finds none",
            "Leave --device out, or install xllamacpp's CUDA wheel (its documentation names the address).",
        )


def _weights(plan: Plan, report: Report) -> tuple[Path, str]:
    """The file to load, and its name while it loads: a copy in a faster type where there is one."""
    file, target = Path(plan.model), plan.requantize or requantize.DEFAULT
    if target == AS_IT_IS:
        return file, plan.name
    if plan.requantize:
        copy: Path | None = requantize.make(file, target, report)
    else:
        copy = requantize.cached(file) if plan.device == "cpu" else None
    if copy is None or (not plan.requantize and _over_cap(plan, file, copy)):
        return file, plan.name
    return copy, f"{plan.name}, its copy in {target}"


def _over_cap(plan: Plan, file: Path, copy: Path) -> bool:
    more = copy.stat().st_size - file.stat().st_size
    return plan.max_memory_bytes is not None and plan.peak_bytes + more > plan.max_memory_bytes


def _parameters(xllamacpp: Any, plan: Plan, file: Path, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx = plan.context_tokens
    params.n_batch = params.n_ubatch = BATCH_TOKENS["llamacpp"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = plan.threads
    params.n_gpu_layers = ALL_LAYERS if plan.device == "cuda" else 0
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
        self._vocabulary = meta["n_vocab"]
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
            "top_k": 0 if sampling.temperature > 0 else 1,  # 0 sorts the whole vocabulary for each token
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

    def token_logprobs(self, text: str) -> list[float]:
        """See `LoadedModel`; one decoding step a token, about 12 ms with the bundled model.

        Each token in turn is forced upon the model by a bias, and llama.cpp tells how likely it was without
        that: the softmax of the raw logits, in float32. The prompt's prefix stays in the cache.
        """
        ids = self._tokenize(text)
        if len(ids) > self.info.context_tokens:
            raise _too_long(len(ids), self.info.context_tokens)
        return [self._logprob(ids[:at], ids[at]) for at in range(1, len(ids))]

    def close(self) -> None:
        self._server = None

    def _tokenize(self, text: str) -> list[int]:
        request = {"content": text, "add_special": True, "parse_special": False}
        return self._ask("POST", "/tokenize", request)["tokens"]

    def _logprob(self, before: list[int], token: int) -> float:
        found = self._next_token(before, token, 1)
        if (
            not found
        ):  # llama.cpp tells nothing of a token that is a part of a character, but lists it among all
            every = self._next_token(before, self._tokenize("a")[-1], self._vocabulary)[0]["top_logprobs"]
            found = [entry for entry in every if entry["id"] == token]
        return _finite(found[0]["logprob"] if found else None)

    def _next_token(self, before: list[int], forced: int, listed: int) -> list[dict[str, Any]]:
        """What llama.cpp says of the token after `before`, with the `listed` likeliest ones."""
        request = {
            "prompt": before,
            "n_predict": 1,
            "n_probs": listed,
            "logit_bias": [[forced, FORCING]],
            "temperature": 0.0,
            "samplers": [],
            "stream": False,
        }
        answers: list[dict[str, Any]] = []
        self._server.handle_completions(request, answers.append)
        _raise_error(answers[-1])
        return (answers[-1]["choices"][0]["logprobs"] or {}).get("content") or []

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


def _finite(value: Any) -> float:
    if isinstance(value, float | int) and math.isfinite(value):
        return float(value)
    raise ModelError(
        "the model computed numbers that are not finite",
        "The file is damaged, or this build of llama.cpp reads it wrongly. Choose another model file.",
    )


def _raise_error(answer: dict[str, Any]) -> None:
    error = answer.get("error")
    if not error:
        return
    if error.get("type") == "exceed_context_size_error":
        raise _too_long(error["n_prompt_tokens"], error["n_ctx"])
    raise ModelError(f"llama.cpp refused the request: {error.get('message')}", "Choose another model.")


def _too_long(tokens: int, context_tokens: int) -> PromptTooLong:
    return PromptTooLong(
        f"the prompt has {tokens} tokens, the model reads {context_tokens}",
        "Ask with fewer passages (--top-k) or a shorter question.",
    )
