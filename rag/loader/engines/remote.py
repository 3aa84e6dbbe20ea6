"""A model behind any OpenAI-compatible address; it needs no worker, since nothing is loaded here."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from rag.errors import EngineMissing, ModelDied, ModelError, ModelNotFound
from rag.loader.base import TOP_P, Report, Sampling, Usage, defuse
from rag.loader.records import Plan
from rag.types import Message, ModelInfo

KEY_VARIABLE = "FOOTNOTE_API_KEY"
POLL_S = 0.05
BYTES_PER_TOKEN = 3
"""For servers that do not count: English has four to five bytes a token, so this errs on the safe side."""

TOKENS_PER_MESSAGE = 8
"""The most that common chat templates put around a message."""

MARKERS = (
    *(
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
    ),
    *(
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<bos>",
        "<eos>",
        "<s>",
        "</s>",
    ),
    *("[INST]", "[/INST]", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|start|>", "<|message|>"),
    *("<|channel|>", "<|return|>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
)
"""The control tokens of today's models, since a server does not tell its own."""

THOUGHTS, THOUGHTS_END = "<think>", "</think>"


def load(plan: Plan, report: Report) -> RemoteModel:
    """As the other engines do; raises what `open_remote` raises."""
    report({"event": "loading", "engine": "remote", "name": plan.name, "total_bytes": 0})
    return open_remote(plan)


def open_remote(plan: Plan, key: str | None = None) -> RemoteModel:
    """The model at `plan.model`, "https://host/v1" with an optional "#name"; asks the server what it has.

    `key` defaults to FOOTNOTE_API_KEY. Raises EngineMissing, ModelNotFound, ModelLoadFailed.
    """
    try:
        from rag.loader.engines.remote_http import Address
    except ImportError as error:
        raise EngineMissing(
            f"a model behind an address needs httpx, which does not import: {error}",
            "Run `python scripts/run.py shell` once to install it.",
        ) from error
    url, _, name = plan.model.partition("#")
    address = Address(url.rstrip("/"), key or os.environ.get(KEY_VARIABLE) or None)
    model = _pick(address.ask("GET", f"{address.url}/models"), name, address.url)
    return RemoteModel(address, model["id"], _info(model, plan))


def _pick(answer: dict[str, Any], name: str, url: str) -> dict[str, Any]:
    """The named model, or the only one."""
    models = [model for model in answer.get("data") or () if isinstance(model, dict) and "id" in model]
    names = [str(model["id"]) for model in models]
    if name and not names:
        return {"id": name}  # a server that lists nothing
    for model in models:
        if model["id"] == name or (not name and len(models) == 1):
            return model
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    if not names:
        raise ModelNotFound(f"{url} names no model", f"Name it yourself, as in {url}#NAME.")
    raise ModelNotFound(
        f"{url} has no model {name}; it has {shown}" if name else f"{url} has several models: {shown}",
        f"Name one of them after '#', as in {url}#{names[0]}",
    )


def _info(model: dict[str, Any], plan: Plan) -> ModelInfo:
    meta = model.get("meta") if isinstance(model.get("meta"), dict) else {}
    assert meta is not None
    knows = model.get("max_model_len") or meta.get("n_ctx") or plan.context_tokens
    return ModelInfo(
        str(model["id"]),
        "remote",
        plan.quantization,
        meta.get("n_params"),
        min(int(knows), plan.context_tokens),
    )


class RemoteModel:
    """A `LanguageModel`; the server queues requests that come at once."""

    def __init__(self, address: Any, model: str, info: ModelInfo) -> None:
        self.info = info
        self._address = address
        self._model = model
        self._counts: str | None = None  # how the server counts, once it is known

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: threading.Event | None = None
    ) -> Generator[str, None, Usage]:
        """See `LanguageModel.stream`; what a model thinks before its answer is left out."""
        from rag.loader.engines.remote_http import EventStream

        cancel = cancel or threading.Event()
        if cancel.is_set():
            return Usage(0, 0, "cancelled")
        answer = _Answer()
        stream = EventStream(self._address, self._request(messages, sampling))
        try:
            yield from _without_thoughts(answer.pieces(self._address, stream.events, cancel))
        finally:
            stream.close()
        if cancel.is_set():
            return Usage(answer.prompt_tokens, answer.answer_tokens, "cancelled")
        return Usage(
            answer.prompt_tokens or self.count_tokens(messages), answer.answer_tokens, answer.finish or "stop"
        )

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """As the server counts, where it does (vLLM, llama.cpp); else estimated on the safe side."""
        turns = defuse(messages, MARKERS)
        if self._counts != "estimate":
            try:
                if (count := self._ask_count(turns)) is not None:
                    return count
            except ModelError:  # most servers have no such door, and each refuses it in its own way
                pass
            self._counts = "estimate"
        return sum(estimated_tokens(turn["content"]) for turn in turns) + TOKENS_PER_MESSAGE

    def token_logprobs(self, text: str) -> list[float]:
        raise ModelError(
            f"{self.info.name} runs on a server, which cannot tell how likely a given text is",
            "Measure the model where it runs.",
        )

    def close(self) -> None:
        """Nothing is held between requests."""

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model,
            "messages": defuse(messages, MARKERS),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.temperature > 0:
            request["top_p"] = TOP_P
        if sampling.stop:
            request["stop"] = list(sampling.stop)
        return request

    def _ask_count(self, turns: list[dict[str, str]]) -> int | None:
        """vLLM counts messages; llama.cpp has a door for the template and one for the text."""
        root = self._address.root
        if self._counts != "llama.cpp":
            answer = self._address.ask("POST", f"{root}/tokenize", {"model": self._model, "messages": turns})
            if "count" in answer:
                return int(answer["count"])
            self._counts = "llama.cpp"
        prompt = self._address.ask("POST", f"{root}/apply-template", {"messages": turns}).get("prompt")
        text = {"content": prompt, "add_special": True, "parse_special": True}
        tokens = self._address.ask("POST", f"{root}/tokenize", text).get("tokens")
        return len(tokens) if isinstance(prompt, str) and isinstance(tokens, list) else None


class _Answer:
    """What is known of an answer while it arrives."""

    def __init__(self) -> None:
        self.prompt_tokens = self.answer_tokens = 0
        self.finish: str | None = None
        self.whole = False

    def pieces(self, address: Any, events: Any, cancel: threading.Event) -> Generator[str, None, None]:
        """The answer's text; ends when `cancel` is set. Raises ModelError."""
        complete = False
        while not cancel.is_set() and not complete:
            try:
                event = events.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if isinstance(event, ModelError):
                raise event
            complete = not event
            yield from self._read(address, event)
        if complete and not self.whole:
            raise ModelDied(
                f"{address.url} broke off in the middle of its answer",
                "Look at the server's own log, and ask again.",
            )

    def _read(self, address: Any, event: dict[str, Any]) -> Iterable[str]:
        if error := event.get("error"):
            raise address.trouble(error.get("message", str(error)) if isinstance(error, dict) else str(error))
        if usage := event.get("usage"):
            self.prompt_tokens = usage.get("prompt_tokens") or 0
            self.answer_tokens = usage.get("completion_tokens") or self.answer_tokens
        self.whole = self.whole or "done" in event
        for choice in event.get("choices") or ():
            self.whole = self.whole or bool(choice.get("finish_reason"))
            self.finish = choice.get("finish_reason") or self.finish
            if piece := (choice.get("delta") or {}).get("content"):
                self.answer_tokens += 1  # until the server tells
                yield piece


def estimated_tokens(text: str) -> int:
    """A message's tokens with the template around it, more rather than less."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE


def _without_thoughts(pieces: Iterable[str]) -> Generator[str, None, None]:
    """Leave out a "<think>...</think>" before the answer, as servers do that know such models."""
    arriving = iter(pieces)
    held = ""  # until it is known whether this is a thought
    for piece in arriving:
        held += piece
        start = held.lstrip()
        if start.startswith(THOUGHTS):
            answer = start.partition(THOUGHTS_END)[2].lstrip()
            if answer:
                yield answer
                break
        elif not THOUGHTS.startswith(start):
            yield held
            break
    else:
        if held and not held.lstrip().startswith(THOUGHTS):
            yield held
    yield from arriving
