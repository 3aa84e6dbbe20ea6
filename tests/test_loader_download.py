"""Downloading from a stand-in hub that also fails: resumed, checked, cancelled, shared between processes."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rag.errors import DownloadFailed, ModelNotFound, ModelRefused
from rag.loader.hub.download import download, files_for, local_copy
from rag.loader.hub.hub import Hub
from rag.loader.hub.transfer import Cancelled
from tests.hub_server import HubServer

REPO = "somebody/some-model"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
SIDE = ["config.json", "model.safetensors.index.json", "tokenizer.json"]


def content(name: str, size: int) -> bytes:
    return random.Random(name).randbytes(size)


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    for shard in SHARDS:
        (folder / shard).write_bytes(content(shard, 3_000_000))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_bytes(content("tokenizer", 9000))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}})
    )
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "small.Q4_K_M.gguf").write_bytes(content("gguf", 50_000))
    return folder


@pytest.fixture
def server(repo):
    server = HubServer({REPO: repo})
    yield server
    server.close()


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    """Downloads from the stand-in; what it told lies in `get.events`."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def get(wanted=lambda sizes: files_for(sizes, "transformers"), cancel=None, tell=None, **settings):
        get.events = []
        hub = Hub(server.url, token="t", offline=False, **{"timeout_s": 2.0, "pause_s": 0.01, **settings})
        hear = tell or get.events.append
        return download(REPO, "main", wanted, hear, cancel, hub, get.root)

    get.root = tmp_path / "models"
    return get


def equal(folder: Path, repo: Path, names) -> bool:
    return all((folder / name).read_bytes() == (repo / name).read_bytes() for name in names)


def test_what_transformers_needs_arrives_and_nothing_else(get, repo):
    folder = get()
    assert folder == get.root / "somebody" / "some-model"
    assert sorted(file.name for file in folder.iterdir()) == sorted([*SHARDS, *SIDE, ".footnote.json"])
    assert equal(folder, repo, [*SHARDS, *SIDE])


def test_progress_is_told(get):
    get()
    progress = [event for event in get.events if event["event"] == "downloading"]
    total = sum(size for size in (6_000_000, 23, 9000, progress[0]["total_bytes"] - 6_009_023))
    assert {event["total_bytes"] for event in progress} == {total}
    assert [event["done_bytes"] for event in progress] == sorted(event["done_bytes"] for event in progress)
    assert progress[-1]["done_bytes"] == total
    assert {event["file"] for event in progress} == {*SHARDS, *SIDE}
    assert progress[-1]["bytes_per_s"] > 0
    assert get.events[-1]["event"] == "downloaded"
    json.dumps(get.events)


def test_a_second_time_asks_nothing(get, server):
    first = get()
    server.requests.clear()
    assert get() == first
    assert not server.requests
    assert local_copy(REPO, root=get.root) == first


def test_another_engines_files_join_the_first_ones(get, server, repo):
    get()
    server.sent.clear()
    folder = get(lambda sizes: files_for(sizes, "llamacpp"))
    assert equal(folder, repo, ["small.Q4_K_M.gguf", *SHARDS])
    assert {name for name in server.sent if name} == {"small.Q4_K_M.gguf"}


def test_files_by_name(get, repo):
    assert equal(get(["config.json"]), repo, ["config.json"])
    with pytest.raises(DownloadFailed, match=r"the repository holds no file absent\.json"):
        get(["absent.json"])


def test_a_broken_connection_goes_on_where_it_broke(get, server, repo):
    server.faults.break_after = {SHARDS[0]: [1_000_000, 500_000]}
    folder = get()
    assert equal(folder, repo, SHARDS)
    assert server.sent[SHARDS[0]] == 3_000_000
    retries = [event for event in get.events if event["event"] == "retrying"]
    assert len(retries) == 2
    assert "broke" in retries[0]["reason"]


def test_a_later_call_fetches_only_the_rest(get, server, repo):
    server.faults.break_after = {SHARDS[1]: [1_200_000, 0, 0, 0]}
    with pytest.raises(DownloadFailed, match="broke") as caught:
        get(retries=2)
    assert caught.value.fix == "Start again: what has arrived is kept."
    assert local_copy(REPO, root=get.root) is None
    assert server.faults.break_after[SHARDS[1]] == []
    folder = get()
    assert equal(folder, repo, [*SHARDS, *SIDE])
    assert server.sent[SHARDS[0]] == 3_000_000
    assert server.sent[SHARDS[1]] == 3_000_000


def test_a_server_without_ranges_resumes_all_the_same(get, server, repo):
    server.faults.ignore_range = True
    server.faults.break_after = {SHARDS[0]: [1_000_000]}
    assert equal(get(), repo, SHARDS)


def test_the_rest_of_another_version_is_not_appended(get, server, repo):
    server.faults.break_after = {SHARDS[0]: [1_000_000, 0, 0]}
    with pytest.raises(DownloadFailed):
        get(retries=1)
    (repo / SHARDS[0]).write_bytes(content("newer", 3_000_000))
    folder = get()
    assert equal(folder, repo, SHARDS)
    assert not list(folder.glob("*.part"))


def test_only_a_changed_file_is_fetched_again(get, server, repo):
    get()
    (repo / "config.json").write_text('{"model_type": "qwen2"}')
    (repo / "more.Q8_0.gguf").write_bytes(b"more")
    server.sent.clear()
    get(["more.Q8_0.gguf"])  # the hub is asked, and what it holds now is known
    assert local_copy(REPO, root=get.root) is None
    folder = get()
    assert equal(folder, repo, [*SHARDS, *SIDE])
    assert {name for name in server.sent if name} == {"more.Q8_0.gguf", "config.json"}


@pytest.mark.parametrize("name", [SHARDS[0], "config.json"])
def test_a_wrong_hash_deletes_that_file_and_says_so(get, server, repo, name):
    server.faults.corrupt = {name}
    with pytest.raises(
        DownloadFailed, match=f"{name} arrived damaged and was deleted: its hash is"
    ) as caught:
        get()
    assert caught.value.fix == "Start again: only this file is fetched anew."
    assert not [file for file in get.root.rglob("*") if name in file.name]
    server.faults.corrupt = set()
    assert equal(get(), repo, [*SHARDS, *SIDE])


def test_a_file_that_lost_bytes_since_is_fetched_again(get, repo):
    folder = get()
    os.truncate(folder / SHARDS[0], 100)
    assert local_copy(REPO, root=get.root) is None
    assert equal(get(), repo, SHARDS)


def test_a_damaged_record_costs_no_download_of_the_right_files(get, server, repo):
    folder = get()
    (folder / ".footnote.json").write_text("{")
    assert local_copy(REPO, root=get.root) is None
    server.sent.clear()
    assert equal(get(), repo, SHARDS)
    assert not {name for name in server.sent if name}


def test_no_space_is_said_before_anything_is_fetched(get, server):
    server.faults.listed_sizes = {SHARDS[0]: 10**18}
    with pytest.raises(
        DownloadFailed, match=r"needs 1000000000\.00 GB more on the disk, and .* GB are free in"
    ) as caught:
        get()
    assert "FOOTNOTE_CACHE" in caught.value.fix
    assert str(get.root) in caught.value.message
    assert not server.fetched("config.json")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_disk_that_fills_up_meanwhile(get, monkeypatch, tmp_path):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    monkeypatch.setattr("rag.loader.hub.transfer.part_of", lambda folder, file: full)
    with pytest.raises(DownloadFailed, match=r"cannot be written to .*: the disk is full") as caught:
        get()
    assert "FOOTNOTE_CACHE" in caught.value.fix
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_a_folder_that_cannot_be_made(get):
    get.root.write_text("a file")
    with pytest.raises(DownloadFailed, match="the model cannot be written to"):
        get()


def test_cancel_is_heard_while_the_server_is_silent(get, server):
    server.faults.silent = {SHARDS[0]}
    cancel = threading.Event()

    def cancel_in_the_silence():
        while not server.sent.get(SHARDS[0]):
            time.sleep(0.02)
        time.sleep(0.3)
        cancel.set()

    threading.Thread(target=cancel_in_the_silence, daemon=True).start()
    begin = time.monotonic()
    with pytest.raises(Cancelled, match="the download was stopped") as caught:
        get(cancel=cancel, timeout_s=60.0)
    assert time.monotonic() - begin < 20  # the server would be silent for 30
    assert caught.value.fix == "Start again: it goes on where it stopped."
    server.faults.silent = set()
    get()
    assert server.sent[SHARDS[0]] == 3_000_000


def test_cancel_before_the_first_byte(get, server):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        get(cancel=cancel)
    assert not server.fetched(SHARDS[0])


def test_silence_is_retried(get, server, repo):
    server.faults.silent = {SHARDS[0]}

    def tell(event):
        if event["event"] == "retrying":
            server.faults.silent = set()
            events.append(event)

    events = []
    assert equal(get(tell=tell, timeout_s=0.3), repo, SHARDS)
    assert events[0]["reason"].endswith("did not answer within 0.3 s")


def test_a_busy_server_is_asked_again(get, server, repo):
    def tell(event):
        if event["event"] == "downloading" and not told:
            told.append(event)
            server.faults.status = [503, 429]

    told = []
    assert equal(get(tell=tell), repo, SHARDS)


def test_gated_and_unknown_models_are_not_retried(get, server):
    server.faults.gated = True
    with pytest.raises(DownloadFailed, match="is gated"):
        get()
    server.repos.clear()
    with pytest.raises(ModelNotFound, match="there is no model"):
        get()


def test_no_network_and_nothing_here(get, server):
    server.close()
    with pytest.raises(DownloadFailed, match="cannot be reached"):
        get()


SCRIPT = """
import sys, threading
from pathlib import Path
from rag.loader.hub.download import download
from rag.loader.hub.hub import Hub
hub = Hub(sys.argv[1], token="t", offline=False, pause_s=0.01)
tell = lambda event: print(event["event"], flush=True)
print(download("somebody/some-model", on_event=tell, hub=hub, root=Path(sys.argv[2])))
"""


def start(server, root):
    command = [sys.executable, "-c", SCRIPT, server.url, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_download_a_model_once(get, server, repo):
    processes = [start(server, get.root) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    folder = get.root / "somebody" / "some-model"
    assert all(output.splitlines()[-1] == str(folder) for output in outputs)
    assert server.sent[SHARDS[0]] == server.sent[SHARDS[1]] == 3_000_000
    assert equal(folder, repo, [*SHARDS, *SIDE])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_after_a_kill_the_rest_is_fetched_by_the_next_one(get, server, repo):
    server.faults.silent = {SHARDS[1]}
    process = start(server, get.root)
    part = get.root / "somebody" / "some-model"
    while not any(file.stat().st_size for file in part.glob(SHARDS[1] + "*.part")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    server.faults.silent = set()
    arrived = next(part.glob(SHARDS[1] + "*.part")).stat().st_size
    server.sent.clear()
    assert equal(get(), repo, [*SHARDS, *SIDE])
    assert SHARDS[0] not in server.sent
    assert server.sent[SHARDS[1]] == 3_000_000 - arrived


def test_the_second_of_two_is_told_why_it_waits(get, server):
    server.faults.silent = {SHARDS[0]}
    first_cancel = threading.Event()

    def run():
        with pytest.raises(Cancelled):
            get(cancel=first_cancel, timeout_s=60.0)

    first = threading.Thread(target=run)
    first.start()
    while not server.fetched(SHARDS[0]):
        time.sleep(0.02)
    cancel, events = threading.Event(), []

    def tell(event):
        events.append(event)
        cancel.set()

    with pytest.raises(Cancelled):
        get(cancel=cancel, tell=tell)
    assert events == [{"event": "waiting", "reason": f"another process is downloading {REPO}"}]
    first_cancel.set()
    first.join()


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "..\\evil.json", "C:\\evil.json", "C:evil.json"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(get, server, name):
    server.faults.extra_names = [name]
    with pytest.raises(ModelRefused, match="would land outside its folder"):
        get([name])
    assert not list(get.root.rglob("*evil*"))


def shared(server, tmp_path, names):
    """Let huggingface_hub itself fill its cache."""
    script = (
        "import sys; from huggingface_hub import hf_hub_download\n"
        f"for name in sys.argv[1:]: hf_hub_download({REPO!r}, name)"
    )
    environ = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
    }
    subprocess.run([sys.executable, "-c", script, *names], env=environ, check=True, capture_output=True)


def test_what_huggingface_hub_has_is_used_where_it_lies(get, server, repo, tmp_path):
    shared(server, tmp_path, [*SHARDS, *SIDE])
    server.close()
    folder = get()
    assert folder == tmp_path / "hf" / "hub" / "models--somebody--some-model" / "snapshots" / server.commit
    assert equal(folder, repo, [*SHARDS, *SIDE])
    assert local_copy(REPO, wanted=SIDE, root=get.root) == folder
    assert local_copy(REPO, server.commit, root=get.root) == folder
    assert local_copy(REPO, "v2", root=get.root) is None


@pytest.mark.parametrize("absent", [SHARDS[1], "config.json", "tokenizer.json"])
def test_an_incomplete_cache_saves_what_it_has(get, server, repo, tmp_path, absent):
    shared(server, tmp_path, [name for name in [*SHARDS, *SIDE] if name != absent])
    server.sent.clear()
    folder = get()
    assert folder == get.root / "somebody" / "some-model"
    assert equal(folder, repo, [*SHARDS, *SIDE])
    assert {name for name in server.sent if name} == {absent}
    shutil.rmtree(tmp_path / "hf")
    assert equal(get(), repo, [*SHARDS, *SIDE])


def test_a_damaged_file_in_that_cache_is_not_taken(get, server, repo, tmp_path):
    shared(server, tmp_path, SHARDS)
    snapshot = tmp_path / "hf/hub/models--somebody--some-model/snapshots" / server.commit
    (snapshot / SHARDS[0]).resolve().write_bytes(b"x" * 3_000_000)
    server.sent.clear()
    assert equal(get(), repo, [*SHARDS, *SIDE])
    assert SHARDS[0] in server.sent
    assert SHARDS[1] not in server.sent


def test_only_weights_that_are_whole_count_as_a_copy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    shared(server, tmp_path, ["config.json", "tokenizer.json"])
    assert local_copy(REPO, root=tmp_path / "none") is None


def test_the_cache_is_found_where_huggingface_hub_looks(tmp_path):
    from rag.loader.hub.hubcache import shared_cache

    for environ in (
        {"HF_HUB_CACHE": str(tmp_path / "a")},
        {"HF_HOME": str(tmp_path / "b")},
        {"XDG_CACHE_HOME": str(tmp_path / "c")},
        {},
    ):
        plain = {
            key: value
            for key, value in os.environ.items()
            if key not in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME")
        }
        script = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
        run = subprocess.run(
            [sys.executable, "-c", script],
            env={**plain, **environ},
            capture_output=True,
            text=True,
            check=True,
        )
        assert str(shared_cache(environ)) == run.stdout.strip()
