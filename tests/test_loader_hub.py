"""A hub over HTTP, against a stand-in: what it lists, parts of files, and what the user is told."""

import json
import os
import subprocess
import sys
import time

import pytest

from rag.errors import DownloadFailed, ModelNotFound
from rag.loader.hub.hub import FIRST_READ, READ_WHOLE, Hub, HubFiles, Interrupted, is_offline
from tests.hub_server import HubServer, git_blob

REPO = "somebody/some-model"
CONFIG = b'{"model_type": "llama"}'
WEIGHTS = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "repo"
    (folder / "extra").mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "empty.txt").write_bytes(b"")
    (folder / "extra" / "a note.txt").write_bytes(b"text")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    server = HubServer({REPO: folder})
    yield server
    server.close()


@pytest.fixture
def hub(server):
    return Hub(server.url, token="secret", offline=False, timeout_s=2.0, pause_s=0.01)


@pytest.fixture
def files(hub):
    return HubFiles(REPO, hub=hub)


def test_the_list_gives_sizes_hashes_and_the_commit(server, hub):
    listing = hub.listing(REPO)
    assert listing.commit == server.commit
    assert {name: file.bytes for name, file in listing.files.items()} == {
        "config.json": len(CONFIG),
        "empty.txt": 0,
        "extra/a note.txt": 4,
        "model.safetensors": len(WEIGHTS),
    }
    assert listing.files["config.json"].digest == git_blob(CONFIG)
    assert len(listing.files["model.safetensors"].digest) == 64


def test_huggingface_hub_sees_the_same_repository(server, hub, tmp_path):
    """The stand-in is worth something only if the library that speaks to the real hub can use it, too."""
    script = (
        "import json, sys\n"
        "from huggingface_hub import HfApi, hf_hub_download\n"
        f"info = HfApi().model_info({REPO!r}, files_metadata=True)\n"
        "files = {f.rfilename: [f.size, f.lfs.sha256 if f.lfs else f.blob_id] for f in info.siblings}\n"
        f"paths = [hf_hub_download({REPO!r}, name) for name in files]\n"
        "print(json.dumps([info.sha, files, [open(p, 'rb').read().hex()[:64] for p in paths]]))\n"
    )
    environ = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
    }
    run = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    commit, theirs, heads = json.loads(run.stdout)
    listing = hub.listing(REPO)
    assert commit == listing.commit
    assert theirs == {name: [file.bytes, file.digest] for name, file in listing.files.items()}
    assert heads[0] == CONFIG.hex()[:64]


def test_a_header_costs_one_request_and_small_steps_cost_none(server, files):
    assert files.read("model.safetensors", 0, 8) == WEIGHTS[:8]
    for start in range(8, 60_000, 997):
        assert files.read("model.safetensors", start, 100) == WEIGHTS[start : start + 100]
    assert server.fetched("model.safetensors") == [f"bytes=0-{FIRST_READ - 1}"] * 2  # once at each origin


def test_a_long_header_is_read_in_growing_pieces(server, files):
    step = 50_000
    read = b"".join(files.read("model.safetensors", at, step) for at in range(0, len(WEIGHTS), step))
    assert read == WEIGHTS
    assert len(server.fetched("model.safetensors")) == 2 * 2


@pytest.mark.parametrize(
    ("start", "length"), [(1_500_000, 10), (0, None), (2_097_000, 10_000), (len(WEIGHTS), 5)]
)
def test_any_part_can_be_read(files, start, length):
    files.read("model.safetensors", 0, 8)
    end = None if length is None else start + length
    assert files.read("model.safetensors", start, length) == WEIGHTS[start:end]
    assert files.read("model.safetensors", start, length) == WEIGHTS[start:end]


def test_small_and_empty_files_and_names_with_spaces(files):
    assert files.read("config.json") == CONFIG
    assert files.read("empty.txt") == b""
    assert files.read("extra/a note.txt", 1, 2) == b"ex"
    with pytest.raises(FileNotFoundError, match=r"somebody/some-model has no file absent\.json"):
        files.read("absent.json")


def test_the_token_goes_to_the_hub_alone(server, files):
    files.read("model.safetensors", 0, 8)
    assert set(server.tokens) == {("hub", "Bearer secret"), ("cdn", None)}


def test_a_server_without_ranges_still_gives_small_files(server, files, monkeypatch):
    server.faults.ignore_range = True
    assert files.read("config.json", 2, 5) == CONFIG[2:7]
    assert len(WEIGHTS) < READ_WHOLE
    assert files.read("model.safetensors", 100, 8) == WEIGHTS[100:108]


def test_a_server_without_ranges_cannot_show_part_of_a_large_file(server, files):
    (server.repos[REPO] / "model.safetensors").write_bytes(WEIGHTS * 5)
    server.faults.ignore_range = True
    with pytest.raises(DownloadFailed) as caught:
        files.read("model.safetensors", 0, 8)
    assert caught.value.message == (
        f"{files._hub.host} sends model.safetensors only whole (10.49 MB),"
        " so somebody/some-model cannot be looked at beforehand"
    )
    assert caught.value.fix == "Download the model, then name its folder."


def test_another_part_than_asked_for_is_not_taken(server, files):
    server.faults.wrong_range = True
    with pytest.raises(DownloadFailed, match=r"sent another part of model\.safetensors"):
        files.read("model.safetensors", 1_000, 8)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_tried_once_more(server, files, status):
    server.faults.status = [status]
    assert files.read("config.json") == CONFIG


def test_a_lasting_failure_is_told(server, files):
    server.faults.status = [503, 503]
    with pytest.raises(Interrupted, match=r"is busy or out of order \(503 Service Unavailable\)"):
        files.sizes()


def test_a_broken_connection_is_tried_once_more(server, files):
    server.faults.break_after = {"model.safetensors": [1000]}
    assert files.read("model.safetensors", 0, 8) == WEIGHTS[:8]


def test_silence_is_a_failure_after_the_time_limit(server):
    server.faults.silent = {"model.safetensors"}
    files = HubFiles(REPO, hub=Hub(server.url, offline=False, timeout_s=0.2, pause_s=0.01))
    begin = time.monotonic()
    with pytest.raises(Interrupted, match=r"did not answer within 0\.2 s"):
        files.read("model.safetensors")
    assert time.monotonic() - begin < 20  # the server itself would be silent for 30


def message(error):
    return f"{error.message} | {error.fix}"


def test_an_unknown_model_comes_with_names_that_are_meant_perhaps(server, hub):
    with pytest.raises(ModelNotFound) as caught:
        hub.listing("Qwen/Qwen2.5-14B-Instrukt")
    assert message(caught.value) == (
        f"there is no model Qwen/Qwen2.5-14B-Instrukt on {hub.host}, or it is private"
        " | Did you mean Qwen/Qwen2.5-14B-Instruct or Qwen/Qwen2.5-1.5B-Instruct?"
    )


def test_an_unknown_model_without_a_token(server, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub = Hub(server.url, offline=False)
    with pytest.raises(ModelNotFound) as caught:
        hub.listing("zz/top")
    assert message(caught.value) == (
        f"there is no model zz/top on {hub.host}, or it is private"
        f" | Check the name on {hub.endpoint}; for a private model, set HF_TOKEN."
    )


def test_the_token_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "mine")
    server.faults.private = True
    assert "config.json" in HubFiles(REPO, hub=Hub(server.url, offline=False)).sizes()
    assert server.tokens[-1] == ("hub", "Bearer mine")


@pytest.mark.parametrize(
    ("token", "account"),
    [("secret", "with the account of your token"), ("", "and set HF_TOKEN to a token of your account")],
)
def test_a_gated_model_says_where_its_licence_is_accepted(server, token, account, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    server.faults.gated = True
    files = HubFiles(REPO, hub=Hub(server.url, token=token, offline=False))
    assert files.sizes()  # the list of a gated model is open
    with pytest.raises(DownloadFailed) as caught:
        files.read("config.json")
    assert message(caught.value) == (
        f"{REPO} is gated: it is given only to people who have accepted its licence"
        f" | Accept the licence on {server.url}/{REPO} {account}."
    )


def test_an_unknown_revision(hub):
    with pytest.raises(ModelNotFound, match=f"{REPO} has no revision v9"):
        hub.listing(REPO, "v9")


def test_a_refusal_repeats_the_servers_words(server, hub):
    server.faults.status = [403]
    with pytest.raises(DownloadFailed, match=rf"refuses {REPO} \(403 Forbidden\)") as caught:
        hub.listing(REPO)
    assert not isinstance(caught.value, Interrupted)


def test_a_token_that_is_not_accepted(server, hub):
    server.faults.status = [401]
    with pytest.raises(DownloadFailed, match="does not accept your token") as caught:
        hub.listing(REPO)
    assert caught.value.fix == "Correct HF_TOKEN or unset it, and check the model's name."


@pytest.mark.parametrize("name", ["", "a/b/c", "../etc", "a b/c", "https://huggingface.co/a/b"])
def test_what_is_no_name_is_not_asked_for(server, hub, name):
    with pytest.raises(ModelNotFound, match="is not the name of a model on a hub"):
        hub.listing(name)
    assert not server.requests


def test_no_network(server):
    server.close()
    hub = Hub(server.url, offline=False, pause_s=0.01)
    with pytest.raises(DownloadFailed, match=f"{hub.host} cannot be reached") as caught:
        hub.listing(REPO)
    assert "Check the network" in caught.value.fix


def test_offline_asks_nothing(server):
    with pytest.raises(DownloadFailed, match="HF_HUB_OFFLINE forbids") as caught:
        Hub(server.url, offline=True).listing(REPO)
    assert "Unset HF_HUB_OFFLINE" in caught.value.fix
    assert not server.requests


@pytest.mark.parametrize(
    ("environ", "offline"),
    [
        ({}, False),
        ({"HF_HUB_OFFLINE": "0"}, False),
        ({"HF_HUB_OFFLINE": "1"}, True),
        ({"TRANSFORMERS_OFFLINE": "yes"}, True),
    ],
)
def test_offline_is_read_from_the_environment(environ, offline):
    assert is_offline(environ) is offline


def test_an_endpoint_of_ones_own_is_honoured(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    assert Hub(offline=False).listing(REPO).commit == server.commit


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"[]", b'{"siblings": [{}]}', b"{}"])
def test_an_answer_that_is_none(server, hub, body):
    server.faults.listing = body
    with pytest.raises(DownloadFailed, match="does not answer like a model hub"):
        hub.listing(REPO)


def test_an_endpoint_that_is_no_address():
    with pytest.raises(DownloadFailed, match=r"the connection to nonsense broke|nonsense cannot be reached"):
        Hub("nonsense", offline=False, pause_s=0.01).listing(REPO)


def test_importing_asks_for_no_network_library():
    script = (
        "import sys, rag.loader.hub.hub, rag.loader.hub.download\n"
        "print([m for m in sys.modules if m in ('httpx2', 'huggingface_hub', 'filelock', 'torch')])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
