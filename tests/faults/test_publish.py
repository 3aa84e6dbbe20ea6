"""The store's promises under kill -9, a full disk, altered bytes and a second writer."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from rag.errors import IndexDamaged, IndexLocked, IndexMissing, IndexWriteFailed
from rag.store.generation import Collection
from rag.store.lexical import LOCKS
from rag.store.lock import OWNER_FILE, Owner
from tests.faults.publisher import NEW_STATE, OLD_STATE, update
from tests.store_samples import chunks_of, publish, put, texts, writer_of

CHECKOUT = Path(__file__).resolve().parents[2]
POSIX_ONLY = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither RLIMIT_FSIZE nor such modes"
)

STEPS_FROM_NOTHING = [
    "make folder", "commit words", "save vectors", "close rows", "hash", "write manifest",
    "flush", "rename folder", "write CURRENT aside", "replace CURRENT", "flush folder", "delete old", "done",
]  # fmt: skip
STEPS = ["make folder", "copy rows", "link words", *STEPS_FROM_NOTHING[1:]]
TAKEN = STEPS.index("replace CURRENT")
"""A fault at a step up to this one leaves the old generation live, at a later one the new."""


def expected(state):
    return {chunk.id: chunk.text for document in state for chunk in chunks_of(document)}


def start(root, fault):
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.publisher", str(root), fault],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def run(root, fault):
    process = start(root, fault)
    output = process.communicate(timeout=120)[0]
    return process.returncode, json.loads(output) if output else None


def old_index(root, step=lambda name: None):
    collection = Collection(root, "faults", step)
    if not collection.exists():
        publish(Collection(root, "faults"), *OLD_STATE).close()
    return collection


def state_of(collection):
    """What a reader sees, after everything has been compared with everything."""
    assert collection.verify().problems == ()
    with collection.open() as generation:
        return texts(generation)


@pytest.fixture(scope="module")
def old_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("old")
    old_index(root)
    return root


@pytest.fixture
def root(old_root, tmp_path):
    shutil.copytree(old_root, tmp_path / "root")
    return tmp_path / "root"


def test_the_steps_are_these(root, tmp_path):
    assert run(root, "none") == (0, STEPS)
    assert state_of(old_index(root)) == expected(NEW_STATE)
    assert run(tmp_path / "fresh", "none") == (0, STEPS_FROM_NOTHING)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=STEPS)
def test_killed_at_any_step_a_reader_sees_the_old_or_the_new_index_whole(root, number):
    code, output = run(root, f"kill:{number}")
    assert code != 0 and output is None
    collection = old_index(root)
    assert state_of(collection) == expected(OLD_STATE if number <= TAKEN else NEW_STATE)
    update(collection)  # the rerun
    assert state_of(collection) == expected(NEW_STATE)
    assert list(collection.folder.glob(".tmp-*")) == []


@pytest.mark.parametrize("number", range(len(STEPS_FROM_NOTHING)), ids=STEPS_FROM_NOTHING)
def test_killed_while_making_the_first_index_there_is_none_or_all_of_it(tmp_path, number):
    code, _ = run(tmp_path, f"kill:{number}")
    assert code != 0
    collection = Collection(tmp_path, "faults")
    if number <= STEPS_FROM_NOTHING.index("replace CURRENT"):
        with pytest.raises(IndexMissing):
            collection.open()
    else:
        assert state_of(collection) == expected(NEW_STATE)
    update(collection)
    assert state_of(collection) == expected(NEW_STATE)


def test_killed_at_a_random_instant(root):
    collection, clock = old_index(root), random.Random(3)
    for _ in range(5):
        process = start(root, "loop")
        assert process.stdout.readline() == "published\n"
        time.sleep(clock.uniform(0, 0.4))
        process.kill()
        process.communicate()
        assert state_of(collection) in (expected(OLD_STATE), expected(NEW_STATE))
    update(collection)
    assert state_of(collection) == expected(NEW_STATE)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=STEPS)
def test_a_disk_that_fills_up_leaves_the_old_index_serving(root, number):
    taken = []

    def step(name):
        if len(taken) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.append(name)

    collection = old_index(root, step)
    with pytest.raises(IndexWriteFailed, match="No space left on device"):
        update(collection)
    assert state_of(collection) == expected(OLD_STATE if number <= TAKEN else NEW_STATE)
    assert list(collection.folder.glob(".tmp-[0-9]*")) == []
    assert collection.generations() == ([1] if number <= TAKEN else [1, 2])
    update(old_index(root))
    assert state_of(collection) == expected(NEW_STATE)


@POSIX_ONLY
@pytest.mark.parametrize("limit", [0, 100, 1_000, 3_000, 10_000, 60_000])
def test_a_write_that_the_system_refuses_leaves_the_old_index_serving(root, limit):
    assert run(root, f"size:{limit}") == (0, "index_write_failed")
    collection = old_index(root)
    assert state_of(collection) == expected(OLD_STATE)
    assert list(collection.folder.glob(".tmp-[0-9]*")) == []
    assert collection.generations() == [1]


@POSIX_ONLY
def test_an_index_that_may_not_be_written_can_be_read(root):
    """A shared or read-only folder, and tantivy's lock file does not exist yet."""
    with tempfile.TemporaryDirectory() as shared:  # pytest's own folders are closed to other users
        shutil.copytree(root, Path(shared, "index"))
        for path in [Path(shared), *Path(shared).rglob("*")]:
            if path.name in LOCKS:
                path.unlink()
            else:
                path.chmod(0o555 if path.is_dir() else 0o444)
        code, output = run(Path(shared, "index"), "read")
        for path in [Path(shared), *Path(shared).rglob("*")]:
            path.chmod(0o755)
    assert (code, output) == (0, [expected(OLD_STATE), ["This one will be deleted."]])


def names_in(root):
    folder = root / "faults" / "gen-000001"
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in LOCKS]
    return sorted(path.relative_to(folder).as_posix() for path in files)


def kinds(root):
    """One file of each kind."""
    return list({Path(name).suffix or name: name for name in names_in(root)}.values())


def test_an_altered_byte_in_any_file_is_named(root):
    collection = old_index(root)
    assert {Path(name).suffix for name in kinds(root)} >= {
        ".json",
        ".faiss",
        ".sqlite",
        ".term",
        ".idx",
        ".fast",
    }
    for name in names_in(root):
        path = root / "faults" / "gen-000001" / name
        whole = path.read_bytes()
        altered = bytearray(whole)
        altered[len(whole) // 2] ^= 1
        for content in (bytes(altered), whole[:-1], whole + b"\0", b""):
            path.write_bytes(content)
            with pytest.raises(IndexDamaged) as caught:
                collection.open()
            assert str(path) in caught.value.message
            assert "--rollback --collection faults" in caught.value.fix
            with pytest.raises(IndexDamaged):
                update(collection)
        path.write_bytes(whole)
    assert state_of(collection) == expected(OLD_STATE)


def test_a_missing_or_foreign_file_is_named(root):
    folder = root / "faults" / "gen-000001"
    collection = old_index(root)
    for name in kinds(root):
        (folder / name).rename(root / "away")
        with pytest.raises(IndexDamaged, match="is missing") as caught:
            collection.open()
        assert str(folder / name) in caught.value.message
        (root / "away").rename(folder / name)
    (folder / "lexical" / "extra.term").write_bytes(b"x")
    with pytest.raises(IndexDamaged, match=r"extra\.term does not belong there"):
        collection.open()
    assert "extra.term" in collection.verify().problems[0]


def test_a_damaged_index_can_be_rolled_back_or_rebuilt(root):
    collection = old_index(root)
    update(collection)
    path = root / "faults" / "gen-000002" / "vectors.faiss"
    path.write_bytes(path.read_bytes()[:-9] + b"differing")
    collection.rollback().close()
    assert state_of(collection) == expected(OLD_STATE)
    with writer_of(collection, rebuild=True) as writer:
        put(writer, NEW_STATE[0])
        writer.publish().close()
    assert state_of(collection) == expected(NEW_STATE[:1])


def test_a_second_writer_is_told_who_holds_the_lock_until_that_one_dies(root):
    collection = old_index(root)
    process = start(root, "hold")
    try:
        assert process.stdout.readline() == "held\n"
        for attempt in (lambda: writer_of(collection), collection.rollback):
            with pytest.raises(
                IndexLocked, match=rf"process {process.pid} on .* \(holding\) since 2"
            ) as caught:
                attempt()
            assert "Wait" in caught.value.fix
        assert state_of(collection) == expected(OLD_STATE)  # readers never wait
    finally:
        process.kill()
        process.communicate()
    assert (collection.folder / OWNER_FILE).exists()  # stale, and no obstacle
    update(collection)
    assert state_of(collection) == expected(NEW_STATE)


def test_a_reused_process_number_is_not_the_owner():
    me = Owner.of_this_process("test")
    assert me.alive
    assert not Owner(me.pid, me.started - 100, me.host, "test", me.since).alive
    assert not Owner(2**22 + 1, me.started, me.host, "test", me.since).alive
    assert Owner(2**22 + 1, 0.0, "another host", "test", me.since).alive
