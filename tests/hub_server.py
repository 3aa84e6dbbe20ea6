"""A stand-in for a model hub on loopback: serves folders as repositories, and fails as it is told to."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

SMALL = 1 << 12
"""Files above this size are "large": known by sha256, and served from another place, as on the real hub."""


@dataclass
class Faults:
    """What goes wrong, until a test changes it; names are those of files."""

    break_after: dict[str, list[int]] = field(default_factory=dict)
    """Bytes after which each of the next answers with this file breaks off."""
    silent: set[str] = field(default_factory=set)
    """Nothing more comes after the first half."""
    corrupt: set[str] = field(default_factory=set)
    """One byte is sent wrong."""
    ignore_range: bool = False
    wrong_range: bool = False
    status: list[int] = field(default_factory=list)
    """What the next requests get instead of an answer."""
    gated: bool = False
    private: bool = False
    listing: bytes | None = None
    """Sent instead of the list of files."""
    listed_sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that the list claims."""
    extra_names: list[str] = field(default_factory=list)


class HubServer:
    """Serves `repos` (name -> folder) at `url`; `requests` are (method, path, Range or "") as they came.

    The large files come from `cdn_url`, another origin: a token has no business there.
    """

    def __init__(self, repos: dict[str, Path], commit: str = "c" * 40) -> None:
        self.repos, self.commit = repos, commit
        self.faults = Faults()
        self.requests: list[tuple[str, str, str]] = []
        self.sent: dict[str, int] = {}
        self.tokens: list[tuple[str, str | None]] = []
        self.stop = threading.Event()
        self._servers = [self._serve("127.0.0.1"), self._serve("127.0.0.1")]
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def _serve(self, host: str) -> http.server.ThreadingHTTPServer:
        server = _Server((host, 0), type("Handler", (_Handler,), {"hub": self}))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def close(self) -> None:
        self.stop.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fetched(self, name: str) -> list[str]:
        """The ranges in which a file was asked for, by GET."""
        return [
            range_ for method, path, range_ in self.requests if method == "GET" and path.endswith("/" + name)
        ]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # the other side has left: its good right
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        at_cdn = self.server.server_port == urlsplit(hub.cdn_url).port
        hub.requests.append((self.command, path, self.headers.get("Range", "")))
        hub.tokens.append(("cdn" if at_cdn else "hub", self.headers.get("Authorization")))
        if hub.faults.status:
            return self._refuse(hub.faults.status.pop(0), "")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._list(match[1], match[2] or "main")
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._resolve(match[1], match[2], match[3], at_cdn)
        return self._refuse(404, "")

    def _folder(self, repo: str, revision: str) -> Path | None:
        folder = self.hub.repos.get(repo)
        if folder is None or (self.hub.faults.private and not self.headers.get("Authorization")):
            self._refuse(404 if self.headers.get("Authorization") else 401, "RepoNotFound")
            return None
        if revision not in ("main", self.hub.commit):
            self._refuse(404, "RevisionNotFound")
            return None
        return folder

    def _list(self, repo: str, revision: str) -> None:
        folder = self._folder(repo, revision)
        if folder is None:
            return
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        siblings = [self._entry(file.relative_to(folder).as_posix(), file.read_bytes()) for file in files]
        siblings += [self._entry(name, b"?") for name in self.hub.faults.extra_names]
        answer = {"id": repo, "sha": self.hub.commit, "siblings": siblings, "private": False, "downloads": 0}
        body = json.dumps({**answer, "tags": [], "likes": 0}).encode()
        self._send(200, self.hub.faults.listing or body, {"Content-Type": "application/json"})

    def _entry(self, name: str, content: bytes) -> dict[str, object]:
        size = self.hub.faults.listed_sizes.get(name, len(content))
        entry: dict[str, object] = {"rfilename": name, "size": size, "blobId": git_blob(content)}
        if len(content) > SMALL:
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
        return entry

    def _resolve(self, repo: str, revision: str, name: str, at_cdn: bool) -> None:
        folder = self._folder(repo, revision) if not at_cdn else self.hub.repos[repo]
        if folder is None:
            return
        if self.hub.faults.gated:
            return self._refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo")
        if not (folder / name).is_file():
            return self._refuse(404, "EntryNotFound")
        content = (folder / name).read_bytes()
        large = len(content) > SMALL
        digest = hashlib.sha256(content).hexdigest() if large else git_blob(content)
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": self.hub.commit, "Accept-Ranges": "bytes"}
        if large and not at_cdn:
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
            return self._send(302, b"", {**headers, "Location": self.hub.cdn_url + self.path})
        return self._content(name, content, headers)

    def _content(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        faults = self.hub.faults
        if name in faults.corrupt:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        start, end = 0, len(content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or faults.ignore_range:
            return self._send(200, content, headers, name)
        start, end = int(asked[1]), min(int(asked[2] or end), end - 1) + 1
        if start >= len(content):
            return self._refuse(416, "")
        if faults.wrong_range:
            start = 0
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return self._send(206, content[start:end], headers, name)

    def _refuse(self, status: int, code: str) -> None:
        self._send(
            status, b"{}", {"X-Error-Code": code, "Retry-After": "0"} if code else {"Retry-After": "0"}
        )

    def _send(self, status: int, body: bytes, headers: dict[str, str], name: str = "") -> None:
        self.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        breaks = self.hub.faults.break_after.get(name, [])
        cut = breaks.pop(0) if breaks else len(body)
        half = len(body) // 2 if name in self.hub.faults.silent else cut
        try:
            self.wfile.write(body[:half])
            self.wfile.flush()
        except OSError:
            return  # the other side has left
        self.hub.sent[name] = self.hub.sent.get(name, 0) + half
        if name in self.hub.faults.silent:
            self.hub.stop.wait(30)
        if half < len(body):
            self.close_connection = True


def git_blob(content: bytes) -> str:
    """git's id of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
