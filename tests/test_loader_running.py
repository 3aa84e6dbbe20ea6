"""Servers of ours that run now: found while they live and answer, forgotten when they do not."""

import json
import os
import subprocess
import sys
import threading

import pytest

from rag.loader.process import running
from tests.openai_server import OpenAIServer


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "servers"


def test_a_server_is_found_for_as_long_as_it_is_announced(cache):
    with OpenAIServer(key="secret") as server:
        with running.announce("model-a", server.url, "secret") as announced:
            assert running.find("model-a") == announced
            assert (announced.url, announced.key, announced.pid) == (server.url, "secret", os.getpid())
            assert running.find("model-b") is None
        assert running.find("model-a") is None
    assert list(cache.iterdir()) == []


def test_one_process_may_announce_several_models():
    with (
        OpenAIServer() as server,
        running.announce("a", server.url),
        running.announce("b", server.url + "/"),
    ):
        assert running.find("a").url == running.find("b").url == server.url


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_only_the_owner_may_read_the_key(cache):
    with running.announce("a", "http://127.0.0.1:1/v1", "secret"):
        (entry,) = cache.iterdir()
        assert entry.stat().st_mode & 0o777 == 0o600


def test_a_server_that_does_not_answer_is_not_used_but_kept(cache):
    with running.announce("a", "http://127.0.0.1:9/v1"):
        assert running.find("a") is None
        assert len(list(cache.iterdir())) == 1


def test_a_server_that_refuses_its_key_is_not_used():
    with OpenAIServer(key="other") as server, running.announce("a", server.url, "secret"):
        assert running.find("a") is None


def test_entries_of_dead_processes_and_damaged_ones_are_removed(cache):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    cache.mkdir(parents=True)
    fields = {"identity": "a", "url": "http://127.0.0.1:9/v1", "key": None}
    (cache / "1.json").write_text(json.dumps({**fields, "pid": ended.pid, "started": 1.0}))
    (cache / "2.json").write_text(
        json.dumps({**fields, "pid": os.getpid(), "started": 1.0})
    )  # a reused number
    (cache / "3.json").write_text("{")
    (cache / "4.json").write_text("[]")
    assert running.find("a") is None
    assert list(cache.iterdir()) == []


def test_no_folder_no_work():
    assert running.find("a") is None


def test_many_who_look_at_once_do_no_harm(cache):
    cache.mkdir(parents=True)
    for number in range(50):
        (cache / f"{number}.json").write_text("{")
    found, seekers = [], []
    for _ in range(8):
        seekers.append(threading.Thread(target=lambda: found.append(running.find("a"))))
        seekers[-1].start()
    for seeker in seekers:
        seeker.join()
    assert found == [None] * 8


def test_a_file_is_told_from_its_next_version(tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"one")
    before = running.identity(file)
    assert running.identity(tmp_path / "." / "m.gguf") == before
    file.write_bytes(b"other")
    assert running.identity(file) != before


def test_a_folder_is_told_by_its_config_and_index(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = running.identity(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing to do with it")
    assert running.identity(tmp_path) == before
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with_index = running.identity(tmp_path)
    assert with_index != before
    (tmp_path / "config.json").write_text('{"changed": 1}')
    assert running.identity(tmp_path) != with_index


def test_what_is_not_there_has_no_identity(tmp_path):
    with pytest.raises(OSError):
        running.identity(tmp_path / "none.gguf")
