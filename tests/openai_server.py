"""An OpenAI-compatible server on the loopback address that answers by rule, and fails on demand.

Its model repeats the last user message word by word. `Faults` says what goes wrong; everything that it was
asked is kept in `requests`.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Faults:
    """`status` of the answer to a question, `retry_after` in its header, `times` how often it fails so.

    `break_after` pieces the connection ends; `pause_s` passes before each piece, `silent_s` before the first.
    """

    status: int = 200
    body: dict = field(default_factory=lambda: {"error": {"message": "as ordered", "code": "x"}})
    times: int = 1000
    retry_after: str | None = None
    location: str | None = None
    break_after: int | None = None
    error_after: int | None = None
    pause_s: float = 0.0
    silent_s: float = 0.0
    usage: bool = True
    done: bool = True
    old_name_only: bool = True


class OpenAIServer:
    """`counting` is "vllm", "llama.cpp" or None; use it as a context manager."""

    def __init__(self, models=({"id": "echo"},), counting=None, key=None, faults=None, prefix=()):
        self.models, self.counting, self.key = list(models), counting, key
        self.faults = faults or Faults()
        self.prefix = list(prefix)
        self.requests = []
        self.left_early = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def asked(self):
        """The bodies of all questions."""
        return [body for path, body, _ in self.requests if path == "/v1/chat/completions"]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Say nothing."""

        def do_GET(self):
            self._note(None)
            if self._refused():
                return
            if self.path == "/v1/models":
                self._json(200, {"object": "list", "data": server.models})
            else:
                self._json(404, {"error": {"message": f"no {self.path}"}})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._note(body)
            if self._refused():
                return
            if self.path == "/v1/chat/completions":
                self._chat(body)
            elif self.path == "/tokenize" and server.counting:
                self._tokenize(body)
            elif self.path == "/apply-template" and server.counting == "llama.cpp":
                self._json(200, {"prompt": _render(body["messages"])})
            else:
                self._json(404, {"detail": "Not Found"})

        def _note(self, body):
            server.requests.append((self.path, body, dict(self.headers)))

        def _refused(self):
            if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
                self._json(401, {"error": {"message": "Incorrect API key"}})
                return True
            return False

        def _tokenize(self, body):
            if server.counting == "vllm":
                self._json(200, {"count": len(_render(body["messages"]).split()), "max_model_len": 4096})
            else:
                self._json(200, {"tokens": list(range(len(body.get("content", "").split())))})

        def _chat(self, body):
            faults = server.faults
            if faults.status != 200 and faults.times > 0:
                faults.times -= 1
                self._json(faults.status, faults.body, faults.retry_after, faults.location)
                return
            if not faults.old_name_only and "max_tokens" in body:
                self._json(400, {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'"}})
                return
            try:
                self._stream(body, faults)
            except OSError:
                server.left_early.set()
            self.close_connection = True

        def _stream(self, body, faults):
            time.sleep(faults.silent_s)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            limit = body.get("max_tokens") or body.get("max_completion_tokens")
            words = [*server.prefix, *body["messages"][-1]["content"].split(" ")]
            for number, word in enumerate(words[:limit]):
                time.sleep(faults.pause_s)
                if faults.break_after == number:
                    return
                if faults.error_after == number:
                    self._event({"error": {"message": "out of memory"}})
                    return
                delta = word if isinstance(word, dict) else {"content": word if number == 0 else f" {word}"}
                self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            finish = "length" if len(words) > limit else "stop"
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
            if faults.usage and body.get("stream_options", {}).get("include_usage"):
                usage = {"prompt_tokens": 11, "completion_tokens": len(words[:limit])}
                self._event({"choices": [], "usage": usage})
            if faults.done:
                self.wfile.write(b"data: [DONE]\n\n")

        def _event(self, event):
            self.wfile.write(b": a comment\n\ndata: " + json.dumps(event).encode() + b"\n\n")
            self.wfile.flush()

        def _json(self, status, body, retry_after=None, location=None):
            raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            for name, value in (("Retry-After", retry_after), ("Location", location)):
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

    return Handler


def _render(messages):
    return " ".join(f"<{message['role']}> {message['content']}" for message in messages)
