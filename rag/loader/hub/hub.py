"""A model hub over HTTP: what a repository holds, and any part of its files without downloading them.

One request lists the files; headers and small files are read by range. The huggingface_hub package finds
the user's token; its own download cannot go on where an earlier one broke off, so files are requested here.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from rag.errors import DownloadFailed, ModelNotFound
from rag.loader.hub.refusal import Interrupted, did_you_mean, host_of, refusal
from rag.loader.model.files import amount

if TYPE_CHECKING:
    import httpx2

ENDPOINT = "https://huggingface.co"
REPO = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)
YES = {"1", "on", "yes", "true"}
CONNECT_S = 10.0

T = TypeVar("T")

FIRST_READ = 1 << 19
"""Bytes fetched at least: nine in ten safetensors headers are shorter, and a round trip costs more."""
READ_WHOLE = 8 << 20
"""A file up to this size is read even from a server that sends only whole files."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; `sha256` is known of large ones, git's `blob` id (sha1) of the others."""

    name: str
    bytes: int
    sha256: str | None = None
    blob: str | None = None

    @property
    def digest(self) -> str:
        """What identifies the content; empty where the hub does not say."""
        return self.sha256 or self.blob or ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at `commit`, by name."""

    repo: str
    commit: str
    files: Mapping[str, HubFile]


class Hub:
    """A hub, by default the one that HF_ENDPOINT names, with the user's own token.

    `offline` defaults to HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE. A silence of `timeout_s` seconds is a
    failure; a download is given up after `retries` of them without a byte between, with growing pauses
    from `pause_s` on.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        offline: bool | None = None,
        timeout_s: float = 20.0,
        retries: int = 5,
        pause_s: float = 1.0,
    ) -> None:
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        self.host = host_of(self.endpoint)
        self.offline = is_offline(os.environ) if offline is None else offline
        self.retries, self.pause_s = retries, pause_s
        self._token, self._timeout_s = token, timeout_s

    def listing(self, repo: str, revision: str = "main") -> Listing:
        """The repository's files. Raises ModelNotFound, DownloadFailed."""
        if not REPO.fullmatch(repo):
            raise ModelNotFound(
                f"{repo!r} is not the name of a model on a hub",
                did_you_mean(repo) or "Write it as OWNER/NAME.",
            )
        url = f"{self.endpoint}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"

        def ask() -> Listing:
            with self._get(url, repo, revision) as response:
                return _listing(repo, revision, response.read(), self.host)

        return self._twice(ask)

    def blocks(self, listing: Listing, file: HubFile, start: int = 0) -> Iterator[bytes]:
        """Yield a file's bytes from `start` on. Raises Interrupted, ModelNotFound, DownloadFailed.

        A server that ignores ranges sends all of it, of which only what was asked for is passed on.
        """
        missing = file.bytes - start
        if missing <= 0:
            return
        with self._part(listing, file, start, file.bytes) as response:
            skip = start if response.status_code == 200 else 0
            for (
                block
            ) in response.iter_bytes():  # in no fixed size, so that nothing is lost when it breaks off
                wanted = block[skip : skip + missing]
                skip -= min(skip, len(block))
                missing -= len(wanted)
                if wanted:
                    yield wanted
                if not missing:
                    return
        raise Interrupted(
            f"{self.host} ended {file.name} {amount(missing)} too early",
            "Start again: what has arrived is kept.",
        )

    def read(self, listing: Listing, file: HubFile, start: int, end: int) -> bytes:
        """A part of a file in memory. Raises like `blocks`, and where the server sends only whole files."""
        return self._twice(lambda: self._read(listing, file, start, end))

    def _read(self, listing: Listing, file: HubFile, start: int, end: int) -> bytes:
        with self._part(listing, file, start, end) as response:
            if response.status_code == 200 and file.bytes > READ_WHOLE:
                raise DownloadFailed(
                    f"{self.host} sends {file.name} only whole ({amount(file.bytes)}),"
                    f" so {listing.repo} cannot be looked at beforehand",
                    "Download the model, then name its folder.",
                )
            data = response.read()
        part = data[start:end] if response.status_code == 200 else data
        if len(part) != end - start:
            raise Interrupted(f"{self.host} sent {file.name} incompletely", "Try again.")
        return part

    def _twice(self, ask: Callable[[], T]) -> T:
        """Once more after a pause; not oftener, because a user without a network wants to be told."""
        try:
            return ask()
        except Interrupted as error:
            time.sleep(error.wait_s or self.pause_s)
            return ask()

    @contextmanager
    def _part(self, listing: Listing, file: HubFile, start: int, end: int) -> Iterator[httpx2.Response]:
        url = f"{self.endpoint}/{listing.repo}/resolve/{quote(listing.commit, safe='')}/{quote(file.name)}"
        # Always a range, even for a whole file: hubs refuse plain requests for the largest ones.
        with self._get(url, listing.repo, listing.commit, Range=f"bytes={start}-{end - 1}") as response:
            sent = response.headers.get("Content-Range", "")
            if response.status_code == 206 and not sent.startswith(f"bytes {start}-"):
                raise DownloadFailed(
                    f"{self.host} sent another part of {file.name} than it was asked for ({sent})",
                    "If a proxy stands between, go around it; else use the hub itself: unset HF_ENDPOINT.",
                )
            yield response

    @contextmanager
    def _get(self, url: str, repo: str, revision: str, **headers: str) -> Iterator[httpx2.Response]:
        if self.offline:
            raise DownloadFailed(
                f"{repo} is not on this computer, and HF_HUB_OFFLINE forbids to fetch it",
                "Unset HF_HUB_OFFLINE, or name a model that is here: its folder or GGUF file.",
            )
        client = self._client
        import httpx2

        try:
            with client.stream("GET", url, headers=headers) as response:
                if response.status_code >= 400:
                    raise refusal(response, self.endpoint, repo, revision)
                yield response
        except httpx2.TimeoutException as error:
            raise Interrupted(
                f"{self.host} did not answer within {self._timeout_s:g} s",
                "Try again later; what has arrived is kept.",
            ) from error
        except httpx2.ConnectError as error:
            raise Interrupted(
                f"{self.host} cannot be reached: {error}",
                "Check the network (behind a proxy, set HTTPS_PROXY), or name a model on this computer.",
            ) from error
        except httpx2.HTTPError as error:
            raise Interrupted(
                f"the connection to {self.host} broke: {error}", "Start again: what has arrived is kept."
            ) from error

    @cached_property
    def _client(self) -> httpx2.Client:
        try:
            import httpx2
            from huggingface_hub import get_token
        except ImportError as error:
            raise DownloadFailed(
                f"models cannot be downloaded: {error}",
                "Run `python -m pip install huggingface_hub`, or name a model that is on this computer.",
            ) from error
        token = self._token or get_token()
        # Compressed answers would make ranges and sizes mean something else.
        headers = {"User-Agent": "footnote-rag", "Accept-Encoding": "identity"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        timeout = httpx2.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s))
        return httpx2.Client(headers=headers, timeout=timeout, follow_redirects=True)


class HubFiles:
    """A repository's files as `rag.loader.model.files.Files`, for a look without downloading the model.

    What was read stays in memory. `read` raises FileNotFoundError for a name that is not in `sizes`, else as
    Hub does.
    """

    def __init__(self, repo: str, revision: str = "main", hub: Hub | None = None) -> None:
        self.repo = repo
        self._revision = revision
        self._hub = hub or Hub()
        self._spans: dict[str, list[tuple[int, bytes]]] = {}

    @cached_property
    def listing(self) -> Listing:
        return self._hub.listing(self.repo, self._revision)

    def sizes(self) -> dict[str, int]:
        return {name: file.bytes for name, file in self.listing.files.items()}

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        file = self.listing.files.get(name)
        if file is None:
            raise FileNotFoundError(f"{self.repo} has no file {name}")
        end = file.bytes if length is None else min(start + length, file.bytes)
        if start >= end:
            return b""
        spans = self._spans.setdefault(name, [])
        for number, (first, data) in enumerate(spans):
            if first <= start <= first + len(data):
                if end > first + len(data):
                    data += self._fetch(file, first + len(data), end, 3 * len(data))
                    spans[number] = (first, data)
                return data[start - first : end - first]
        spans.append((start, self._fetch(file, start, end, FIRST_READ)))
        return spans[-1][1][: end - start]

    def _fetch(self, file: HubFile, start: int, end: int, at_least: int) -> bytes:
        """More than was asked for, and more each time: a reader goes through a header in small steps."""
        return self._hub.read(self.listing, file, start, min(max(end, start + at_least), file.bytes))


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether the user has forbidden requests to a hub, as huggingface_hub reads it."""
    value = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.lower() in YES


def _listing(repo: str, revision: str, body: bytes, host: str) -> Listing:
    try:
        answer: dict[str, Any] = json.loads(body)
        files = [_file(entry) for entry in answer["siblings"]]
        # a model that was renamed answers under its new name
        return Listing(answer.get("id") or repo, answer.get("sha") or revision, {f.name: f for f in files})
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadFailed(
            f"{host} does not answer like a model hub ({type(error).__name__}: {error})",
            "Correct or unset HF_ENDPOINT; behind a proxy, see whether it wants a login.",
        ) from error


def _file(entry: Mapping[str, Any]) -> HubFile:
    large = entry.get("lfs") or {}
    size = large.get("size", entry.get("size"))
    return HubFile(str(entry["rfilename"]), int(size or 0), large.get("sha256"), entry.get("blobId"))
