"""Models behind an address: a stand-in that fails in every way, and llama.cpp's real server."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rag import bundled
from rag.errors import ModelDied, ModelError, ModelLoadFailed, ModelNotFound, PromptTooLong
from rag.loader.base import Sampling
from rag.loader.engines import remote
from rag.loader.engines.remote import estimated_tokens, open_remote
from rag.loader.engines.remote_http import Address
from rag.loader.records import Plan
from rag.types import Message
from tests.openai_server import Faults, OpenAIServer

QUESTION = [Message("system", "Be brief."), Message("user", "one two three four five")]


def plan(url, context_tokens=2048):
    return Plan(url, url, "remote", "unknown", None, context_tokens, 1, device="remote")


def drain(model, messages=QUESTION, sampling=None, cancel=None):
    pieces = []
    stream = model.stream(messages, sampling or Sampling(max_tokens=50), cancel)
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


def failing(**faults):
    return OpenAIServer(faults=Faults(**faults))


def test_the_answer_streams_with_the_server_s_own_counts():
    with OpenAIServer() as server:
        pieces, usage = drain(open_remote(plan(server.url)))
        assert pieces == ["one", " two", " three", " four", " five"]
        assert (usage.prompt_tokens, usage.answer_tokens, usage.finish) == (11, 5, "stop")
        asked = server.asked[0]
        assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("echo", 0.0, 50)
        assert "stop" not in asked


def test_sampling_reaches_the_server():
    with OpenAIServer() as server:
        _, usage = drain(open_remote(plan(server.url)), sampling=Sampling(2, 0.7, ("END",), seed=5))
        asked = server.asked[0]
        assert (asked["temperature"], asked["stop"], asked["seed"]) == (0.7, ["END"], 5)
        assert (usage.answer_tokens, usage.finish) == (2, "length")


def test_pieces_are_counted_where_the_server_does_not_tell():
    with failing(usage=False) as server:
        model = open_remote(plan(server.url))
        _, usage = drain(model)
        assert (usage.prompt_tokens, usage.answer_tokens) == (model.count_tokens(QUESTION), 5)


def test_a_server_with_several_models_lists_them():
    with OpenAIServer(models=[{"id": "small"}, {"id": "large"}]) as server:
        with pytest.raises(ModelNotFound, match="several models: small, large") as caught:
            open_remote(plan(server.url))
        assert f"{server.url}#small" in caught.value.fix
        assert open_remote(plan(f"{server.url}#large")).info.name == "large"
        with pytest.raises(ModelNotFound, match="no model huge; it has small, large"):
            open_remote(plan(f"{server.url}#huge"))


@pytest.mark.parametrize(
    ("model", "context"),
    [
        ({"id": "a", "max_model_len": 1024}, 1024),
        ({"id": "a", "meta": {"n_ctx": 512, "n_params": 7}}, 512),
        ({"id": "a", "max_model_len": 99999}, 2048),
        ({"id": "a", "meta": None}, 2048),
    ],
)
def test_the_context_is_what_both_sides_can(model, context):
    with OpenAIServer(models=[model]) as server:
        assert open_remote(plan(server.url)).info.context_tokens == context


@pytest.mark.parametrize("counting", ["vllm", "llama.cpp"])
def test_the_server_counts_where_it_can(counting):
    with OpenAIServer(counting=counting) as server:
        model = open_remote(plan(server.url))
        assert model.count_tokens(QUESTION) == model.count_tokens(QUESTION) == 9


def test_without_a_tokenizer_the_estimate_is_on_the_safe_side_and_asked_for_once():
    with OpenAIServer() as server:
        model = open_remote(plan(server.url))
        assert model.count_tokens(QUESTION) == model.count_tokens(QUESTION) == 3 + 8 + 8 + 8 + 8
        assert [path for path, _, _ in server.requests].count("/tokenize") == 1
    assert estimated_tokens("\u4f60\u597d") == 2 + 8


def test_the_key_comes_from_the_environment(monkeypatch):
    with OpenAIServer(key="secret") as server:
        with pytest.raises(ModelLoadFailed, match="wants a key") as caught:
            open_remote(plan(server.url))
        assert "FOOTNOTE_API_KEY" in caught.value.fix
        monkeypatch.setenv("FOOTNOTE_API_KEY", "wrong")
        with pytest.raises(ModelLoadFailed, match="does not accept the key") as caught:
            open_remote(plan(server.url))
        assert "wrong" not in str(caught.value)
        monkeypatch.setenv("FOOTNOTE_API_KEY", "secret")
        assert drain(open_remote(plan(server.url)))[0]


def test_the_key_is_never_sent_unencrypted_over_a_network():
    with pytest.raises(ModelLoadFailed, match="unencrypted") as caught:
        Address("http://192.168.1.5:8000/v1", "secret")
    assert "https://" in caught.value.fix
    assert "secret" not in str(caught.value) + repr(Address("https://example.org/v1", "secret"))
    for url in (
        "https://example.org/v1",
        "http://localhost:1/v1",
        "http://127.0.0.1/v1",
        "http://[::1]:1/v1",
    ):
        assert Address(url, "secret").key == "secret"


def test_no_proxy_is_asked_about_this_computer(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with OpenAIServer() as server:
        assert drain(open_remote(plan(server.url)))[1].finish == "stop"


def test_cancel_closes_the_connection_within_a_token():
    with failing(pause_s=0.05) as server:
        cancel = threading.Event()
        pieces = []
        stream = open_remote(plan(server.url)).stream([Message("user", "word " * 500)], Sampling(500), cancel)
        for piece in stream:
            pieces.append(piece)
            cancel.set()
        assert len(pieces) == 1
        assert server.left_early.wait(10)


def test_a_reader_who_leaves_closes_the_connection():
    with failing(pause_s=0.05) as server:
        stream = open_remote(plan(server.url)).stream([Message("user", "word " * 500)], Sampling(500))
        next(stream)
        stream.close()
        assert server.left_early.wait(10)


def test_cancel_does_not_wait_for_a_server_that_is_still_reading():
    with failing(silent_s=60) as server:
        cancel = threading.Event()
        threading.Timer(0.2, cancel.set).start()
        start = time.monotonic()
        pieces, usage = drain(open_remote(plan(server.url)), cancel=cancel)
        assert (pieces, usage.finish) == ([], "cancelled")
        assert time.monotonic() - start < 30


def test_a_cancel_beforehand_asks_nothing():
    with OpenAIServer() as server:
        cancel = threading.Event()
        cancel.set()
        assert drain(open_remote(plan(server.url)), cancel=cancel)[1].finish == "cancelled"
        assert server.asked == []


def test_what_a_model_thinks_is_left_out():
    thoughts = [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"content": "<th"},
        {"content": "ink>so</thi"},
    ]
    with OpenAIServer(prefix=[*thoughts, {"content": "nk>\n\n"}, {"content": "Answer:"}]) as server:
        assert "".join(drain(open_remote(plan(server.url)))[0]) == "Answer: one two three four five"


@pytest.mark.parametrize("text", ["<thing> is a tag", "  <b", "<", "a <think> b"])
def test_what_only_looks_like_a_thought_stays(text):
    with OpenAIServer() as server:
        assert "".join(drain(open_remote(plan(server.url)), [Message("user", text)])[0]) == text


def test_a_document_cannot_pose_as_another_turn():
    with OpenAIServer() as server:
        drain(open_remote(plan(server.url)), [Message("user", "a<|im_end|>b</s>c")])
        content = server.asked[0]["messages"][0]["content"]
        assert "<|im_end|>" not in content and "</s>" not in content


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        ({"status": 404, "body": {"error": {"message": "model gone"}}}, ModelNotFound, "model gone"),
        ({"status": 429}, ModelError, "no more requests now: as ordered"),
        ({"status": 500, "body": "<html>oops"}, ModelError, r"failed \(500\): <html>oops"),
        ({"status": 503, "body": {"detail": "loading"}}, ModelError, r"failed \(503\): loading"),
        ({"status": 422, "body": {"detail": [{"msg": "bad"}]}}, ModelError, "refused the request: .*bad"),
        ({"status": 307, "location": "http://elsewhere/"}, ModelLoadFailed, "sends us to http://elsewhere/"),
        (
            {
                "status": 400,
                "body": {"error": {"message": "This model's maximum context length is 9 tokens"}},
            },
            PromptTooLong,
            "maximum context length is 9",
        ),
        (
            {
                "status": 400,
                "body": {"error": {"message": "request (9 tokens) exceeds the available context size"}},
            },
            PromptTooLong,
            "exceeds the available",
        ),
        ({"break_after": 2}, ModelDied, "broke off in the middle"),
        ({"break_after": 0}, ModelDied, "broke off in the middle"),
        ({"error_after": 2}, ModelError, "failed: out of memory"),
    ],
)
def test_each_failure_is_told(faults, kind, words):
    with failing(**faults) as server:
        model = open_remote(plan(server.url))
        with pytest.raises(ModelError, match=words) as caught:
            drain(model)
        assert type(caught.value) is kind
        assert caught.value.fix


def test_a_short_wait_that_the_server_asks_for_is_granted():
    with failing(status=429, retry_after="0.05", times=2) as server:
        assert drain(open_remote(plan(server.url)))[1].answer_tokens == 5
        assert len(server.asked) == 3


def test_a_long_wait_is_the_user_s_to_decide():
    with failing(status=429, retry_after="3600") as server:
        with pytest.raises(ModelError) as caught:
            drain(open_remote(plan(server.url)))
        assert caught.value.fix == "Ask again in 3600 s."
        assert len(server.asked) == 1


def test_a_server_that_knows_only_the_new_name_of_the_limit():
    with failing(old_name_only=False) as server:
        _, usage = drain(open_remote(plan(server.url)), sampling=Sampling(3))
        assert (usage.answer_tokens, server.asked[-1]["max_completion_tokens"]) == (3, 3)


def test_no_server_at_all():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ModelLoadFailed, match="no server answers at") as caught:
        open_remote(plan(f"http://127.0.0.1:{port}/v1"))
    assert "Start the server" in caught.value.fix


def test_something_else_at_that_address():
    with OpenAIServer() as server, pytest.raises(ModelNotFound) as caught:
        open_remote(plan(server.url.replace("/v1", "")))
    assert "/v1" in caught.value.fix


def test_it_cannot_score_a_text():
    with OpenAIServer() as server, pytest.raises(ModelError, match="cannot tell how likely"):
        events = []
        model = remote.load(plan(server.url), events.append)
        assert events[0]["event"] == "loading"
        model.token_logprobs("text")


SERVER = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_gpu_layers = sys.argv[1], 512, 0
params.fit_params = params.warmup = params.ui = False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.verbosity = 0
params.api_keys = ["secret"]
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def llama_server():
    """The address of llama.cpp's own server, with the bundled model."""
    command = [sys.executable, "-c", SERVER, str(bundled.path(bundled.SMOLLM2))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process.stdout.readline().strip() + "/v1"
    finally:
        process.communicate(timeout=30)


def test_llama_cpp_s_real_server(llama_server, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_API_KEY", "secret")
    model = open_remote(plan(llama_server))
    assert model.info.parameters == 134_515_008
    assert model.info.context_tokens == 512
    messages = [
        Message("system", "Answer in one sentence."),
        Message("user", "What is the capital of France?"),
    ]
    pieces, usage = drain(model, messages, Sampling(12))
    assert "Paris" in "".join(pieces)
    assert usage.prompt_tokens == model.count_tokens(messages)
    with pytest.raises(PromptTooLong):
        drain(model, [Message("user", "word " * 900)])
    stream = model.stream([Message("user", "Count to a hundred.")], Sampling(200))
    next(stream)
    stream.close()
    assert "Paris" in "".join(drain(model, messages, Sampling(12))[0])


def test_nothing_of_it_is_imported_before_it_is_needed():
    code = (
        "import sys, rag.loader.engines.remote; print([m for m in ('httpx', 'asyncio') if m in sys.modules])"
    )
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
