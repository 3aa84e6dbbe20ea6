"""The wire below the remote engine: who may hear the key, reading a stream of events, errors in our words."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import queue
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from rag.errors import ModelDied, ModelError, ModelLoadFailed, ModelNotFound, PromptTooLong

CONNECT_S = 5.0
SILENCE_S = 300.0
"""How long a server may say nothing: it may read a long prompt on a slow machine, others' before ours."""

PATIENCE_S = 20.0
"""The longest wait that a server may ask for (status 429) and get, twice at most."""

BODY_CHARACTERS = 300
END: dict[str, Any] = {}
DONE = {"done": True}
"""Stands for the "[DONE]" with which a server says that nothing was lost."""

Events = queue.SimpleQueue[dict[str, Any] | ModelError]


@dataclass(frozen=True)
class Address:
    """Where the server is: `url` ends in what precedes "/chat/completions", most often in /v1."""

    url: str
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.key and urlsplit(self.url).scheme == "http" and not self.loopback:
            raise ModelLoadFailed(
                f"the key in FOOTNOTE_API_KEY would travel to {self.url} unencrypted",
                "Write the address with https://, or unset FOOTNOTE_API_KEY if that server wants no key.",
            )

    @property
    def loopback(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def root(self) -> str:
        """The server without "/v1": llama.cpp and vLLM have their own doors there."""
        return self.url.removesuffix("/v1")

    def options(self) -> dict[str, Any]:
        """How httpx is to talk to it; a proxy from the environment is not asked about this computer."""
        return {
            "headers": {"Authorization": f"Bearer {self.key}"} if self.key else {},
            "timeout": httpx.Timeout(SILENCE_S, connect=CONNECT_S),
            "trust_env": not self.loopback,
        }

    def ask(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request with a JSON answer. Raises ModelError."""
        try:
            with httpx.Client(**self.options()) as client:
                answer = client.request(method, url, json=body)
        except httpx.HTTPError as error:
            raise self.unreachable(error) from error
        if answer.is_error or answer.is_redirect:
            raise self.refusal(answer, answer.text)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ModelLoadFailed(
                f"{url} answers, but not as an OpenAI-compatible server does",
                "Check the address; most end in /v1, as in http://localhost:8000/v1.",
            )
        return found

    def unreachable(self, error: httpx.HTTPError) -> ModelError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return ModelLoadFailed(
                f"no server answers at {self.url} ({error or 'no connection'})",
                "Start the server, or check the address and the port.",
            )
        if isinstance(error, httpx.TimeoutException):
            return ModelError(
                f"{self.url} was silent for {SILENCE_S:.0f} s", "Ask again when it is less busy."
            )
        return ModelDied(
            f"the connection to {self.url} broke ({error or type(error).__name__})",
            "Look at the server's own log, and ask again.",
        )

    def refusal(self, answer: httpx.Response, text: str) -> ModelError:
        """What an answer that is no success means, in our words."""
        said = message_in(text)
        status = answer.status_code
        if answer.is_redirect:
            elsewhere = answer.headers.get("location", "another address")
            return ModelLoadFailed(
                f"{self.url} sends us to {elsewhere}", "Name that address, if you trust it."
            )
        if status in (401, 403):
            have = "does not accept the key in FOOTNOTE_API_KEY" if self.key else "wants a key"
            return ModelLoadFailed(
                f"{self.url} {have}: {said}", "Put the server's key into the environment as FOOTNOTE_API_KEY."
            )
        if status == 429:
            wait = answer.headers.get("retry-after")
            return ModelError(
                f"{self.url} takes no more requests now: {said}",
                f"Ask again in {wait} s." if wait else "Ask again later.",
            )
        return self.trouble(said, status)

    def trouble(self, said: str, status: int | None = None) -> ModelError:
        """The error that the server describes as `said`; within a stream it has no status."""
        if too_long(said):
            return PromptTooLong(
                f"the prompt is too long for the model at {self.url}: {said}",
                "Ask with fewer passages (--top-k) or a shorter question.",
            )
        if status == 404:
            return ModelNotFound(
                f"{self.url} knows no such model or address: {said}",
                "Check the address, which most often ends in /v1, and the model's name after '#'.",
            )
        if status is not None and status < 500:
            return ModelError(
                f"{self.url} refused the request: {said}", "Look at the server's documentation."
            )
        code = f" ({status})" if status else ""
        return ModelError(f"{self.url} failed{code}: {said}", "Ask again; if it stays so, look at its log.")


class EventStream:
    """One streamed answer, read by a thread of its own, so that it can be left at any moment.

    `events` gets each event's JSON, then END, or a ModelError in its place.
    """

    def __init__(self, address: Address, body: dict[str, Any]) -> None:
        self.events: Events = queue.SimpleQueue()
        self._address = address
        self._body = body
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the connection, whatever it waits for."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the answer was complete
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _main(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _run(self) -> None:
        try:
            async for event in self._answers():
                self.events.put(event)
            self.events.put(END)
        except httpx.HTTPError as error:
            self.events.put(self._address.unreachable(error))
        except ModelError as error:
            self.events.put(error)
        except Exception as error:  # whoever waits at the queue must hear of it
            self.events.put(ModelError(f"reading from {self._address.url} failed: {error!r}", "Ask again."))

    async def _answers(self) -> AsyncIterator[dict[str, Any]]:
        async with httpx.AsyncClient(**self._address.options()) as client:
            for attempt in range(3):
                request = client.build_request(
                    "POST", f"{self._address.url}/chat/completions", json=self._body
                )
                answer = await client.send(request, stream=True)
                try:
                    if not (answer.is_error or answer.is_redirect):
                        async for event in _read_events(answer):
                            yield event
                        return
                    text = (await answer.aread()).decode("utf-8", "replace")
                finally:
                    await answer.aclose()
                again = _again_after(answer, text, self._body)
                if again is None or attempt == 2:
                    raise self._address.refusal(answer, text)
                await asyncio.sleep(again)


async def _read_events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON of each server-sent event up to "[DONE]"; a field other than "data" means nothing here."""
    async for line in answer.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            yield DONE
            return
        try:
            event = json.loads(data)
        except ValueError:
            continue
        if isinstance(event, dict) and event:
            yield event


def _again_after(answer: httpx.Response, text: str, body: dict[str, Any]) -> float | None:
    """Seconds after which to ask once more; None where that would not help."""
    if answer.status_code == 400 and "max_completion_tokens" in text and "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")  # OpenAI's name for it since its o1 models
        return 0.0
    try:
        wait = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return wait if answer.status_code == 429 and 0 <= wait <= PATIENCE_S else None


def message_in(text: str) -> str:
    """What a server says in an error's body, in any of the usual forms; cut to a few lines."""
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    for name in ("error", "message", "detail"):
        if isinstance(body, dict) and name in body:
            body = body[name]
    said = body if isinstance(body, str) else json.dumps(body)
    return " ".join(said.split())[:BODY_CHARACTERS] or "no reason given"


def too_long(said: str) -> bool:
    """Whether this is how OpenAI, vLLM, llama.cpp and TGI speak of a prompt beyond the context."""
    words = said.lower()
    marks = ("context length", "context size", "context_length", "context window", "max_model_len")
    return any(mark in words for mark in marks) or ("inputs` tokens" in words and "must be <=" in words)
