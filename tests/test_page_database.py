"""The file of the conversations: shared by threads and processes, killed, damaged, full, emptied."""

import json
import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from rag.errors import HistoryDamaged, HistoryError
from rag.page.conversations import Conversations
from rag.page.database import SCHEMA_VERSION, Database
from rag.places import data_root
from tests.page_history import Clock, bytes_of, record


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "conversations.sqlite"


@pytest.fixture
def conversations(path):
    return Conversations(path, Clock())


def say(path, n, sizes):
    """Ten exchanges in random conversations below `n`, of random sizes, and one of `n` grown or shrunk."""
    with Database(path).writing() as database:
        for of in (sizes.randrange(n) for _ in range(10)):
            texts = [f"said{of:04}x " * sizes.randint(1, most) for most in (5, 5, 40)]
            database.execute(
                "INSERT INTO exchanges (conversation_id, question, text, answer, created)"
                " SELECT id, ?, ?, ?, '' FROM conversations WHERE id = ?",
                (*texts[:2], json.dumps({"answer": texts[2]}), of + 1),
            )
        of = sizes.randrange(n)
        values = (json.dumps({"answer": f"redone{of:04}x " * sizes.randint(1, 80)}), of + 1)
        database.execute("UPDATE exchanges SET answer = ? WHERE conversation_id = ?", values)


@pytest.mark.parametrize("open_elsewhere", [False, True])
def test_no_byte_of_a_deleted_conversation_is_left(path, conversations, open_elsewhere):
    """Rows move between the file's pages as others come, grow and go, and copies of them stay behind."""
    sizes = random.Random(7)
    for n in range(30):
        conversations.start(f"in{n:04}x", f"named{n:04}x", record(""))
        say(path, n + 1, sizes)
    with closing(sqlite3.connect(path)) as other:
        if open_elsewhere:  # keeps the log from being emptied by whoever closes last
            other.execute("SELECT count(*) FROM exchanges").fetchall()
        for n in range(0, 30, 2):
            assert f"{n:04}x".encode() in bytes_of(path)
            conversations.delete(n + 1)
            assert f"{n:04}x".encode() not in bytes_of(path)
            say(path, 30, sizes)
    assert [each.id for each in conversations.newest()] == list(range(30, 0, -2))


def test_a_deletion_that_cannot_empty_the_log_says_so(path, conversations, monkeypatch):
    monkeypatch.setattr("rag.page.database.BUSY_S", 0.1)
    gone = conversations.start("c", "One?", record("secretive"))
    with Database(path).reading() as reader:
        reader.execute("SELECT count(*) FROM exchanges").fetchall()
        with pytest.raises(HistoryError, match="another program is reading"):
            conversations.delete(gone.conversation_id)
    assert conversations.newest() == [] and b"secretive" not in bytes_of(path)


def test_several_threads_append_at_once(path, conversations):
    id = conversations.start("c", "One?", record("1")).conversation_id
    failures = []

    def work(name):
        try:
            mine = Conversations(path)
            for n in range(20):
                asked = mine.append(id, f"{name} {n}", record("x" * 5000))
                mine.vote(asked.id, "up")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    asked = [each.question for each in conversations.exchanges(id)][1:]
    assert sorted(asked) == sorted(f"{name} {n}" for name in "abcd" for n in range(20))
    assert len(conversations.voted()) == len(asked)
    for name in "abcd":
        assert [each for each in asked if each.startswith(name)] == [f"{name} {n}" for n in range(20)]


CHILD = """
import sys
from pathlib import Path
from rag.page.conversations import Conversations
conversations = Conversations(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[2])):
    text = f"{n} " * 4000
    conversations.start("c", f"Question {n}?", {"answer": text, "size": len(text)})
    print(n, flush=True)
"""


def child(path, count):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_several_processes_begin_the_same_file(path):
    processes = [child(path, 10) for _ in range(4)]
    for process in processes:
        begin(process)
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    assert len(Conversations(path).newest()) == 40


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_killed_process_leaves_whole_exchanges(path, after):
    process = child(path, 100_000)
    begin(process)
    for n in range(after):
        assert process.stdout.readline() == f"{n}\n"
    process.kill()
    told = after + len(process.communicate()[0].splitlines())
    conversations = Conversations(path)
    kept = conversations.newest()
    assert told <= len(kept) <= told + 1  # one may be stored that it could not tell of any more
    for conversation in kept:
        (exchange,) = conversations.exchanges(conversation.id)
        assert len(exchange.answer["answer"]) == exchange.answer["size"]
    conversations.start("c", "And now?", record("goes on"))
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def damage(path, how):
    match how:
        case "no database":
            path.write_bytes(b"a letter to somebody, not a database at all" * 100)
        case "cut":
            path.write_bytes(path.read_bytes()[:-4096])
        case "overwritten":
            content = bytearray(path.read_bytes())
            content[4096:] = b"\xff" * (len(content) - 4096)
            path.write_bytes(content)
        case "another program's":
            path.unlink()
            with sqlite3.connect(path) as database:
                database.execute("CREATE TABLE bookmarks (address TEXT)")
        case "a newer version's":
            with sqlite3.connect(path) as database:
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        case "no record":
            with sqlite3.connect(path) as database:
                database.execute("UPDATE exchanges SET answer = 'x'")
        case "no text":
            with sqlite3.connect(path) as database:
                database.execute("UPDATE exchanges SET answer = CAST(X'ff' AS TEXT)")


@pytest.mark.parametrize(
    "how",
    ["no database", "cut", "overwritten", "another program's", "a newer version's", "no record", "no text"],
)
def test_a_damaged_or_foreign_file_is_an_error_and_stays_as_it_is(path, conversations, how):
    id = conversations.start("c", "One?", record("1" * 50_000)).conversation_id
    damage(path, how)
    before = path.read_bytes()
    with pytest.raises(HistoryDamaged, match=r"conversations\.sqlite") as raised:
        conversations.exchanges(id)
    assert raised.value.fix and raised.value.exit_code == 2
    if not how.startswith("no "):
        for act in (
            lambda: conversations.start("c", "Two?", record("2" * 99_000)),
            lambda: conversations.delete(id),
        ):
            with pytest.raises(HistoryDamaged):
                act()
    assert path.read_bytes() == before


def test_an_empty_file_is_a_new_one(path, conversations):
    path.parent.mkdir()
    path.touch()
    assert conversations.newest() == []
    conversations.start("c", "One?", record("1"))
    assert len(conversations.newest()) == 1


def test_a_place_that_cannot_be_written_is_an_error_with_a_fix(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "x.sqlite", tmp_path):
        with pytest.raises(HistoryError, match="cannot be read or written") as raised:
            Conversations(place).start("c", "One?", record("1"))
        assert "FOOTNOTE_DATA" in raised.value.fix and not isinstance(raised.value, HistoryDamaged)


def test_a_write_waits_for_another_and_gives_up_in_the_end(path, conversations, monkeypatch):
    id = conversations.start("c", "One?", record("1")).conversation_id
    monkeypatch.setattr("rag.page.database.BUSY_S", 0.1)
    with Database(path).writing() as database:
        database.execute("UPDATE conversations SET title = 'Mine'")
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert conversations.get(id).title == "One?"
        with pytest.raises(HistoryError, match="locked"):
            conversations.rename(id, "Theirs")
    assert conversations.get(id).title == "Mine"


def test_what_fails_inside_leaves_nothing(conversations):
    class Unspeakable:
        pass

    with pytest.raises(TypeError):
        conversations.start("c", "One?", record("1", hits=Unspeakable()))
    assert conversations.newest() == []


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are another matter there")
def test_nobody_else_may_read_the_file(path, conversations):
    conversations.start("c", "One?", record("1"))
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0


def test_the_file_tells_a_stranger_what_it_holds(path, conversations):
    conversations.start("pets", "How long do cats sleep?", record("Long.", model={"name": None}))
    with sqlite3.connect(path) as database:
        (row,) = database.execute(
            "SELECT collection, title, question, text, answer FROM exchanges"
            " JOIN conversations ON conversations.id = conversation_id"
        )
    assert row[:4] == ("pets", "How long do cats sleep?", "How long do cats sleep?", "Long.")
    assert json.loads(row[4])["model"] == {"name": None}


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_data_lie_apart_from_the_cache(monkeypatch, platform, tmp_path):
    from rag.places import cache_root

    monkeypatch.setattr(sys, "platform", platform)
    assert data_root({"FOOTNOTE_DATA": str(tmp_path)}) == tmp_path
    own, cache = data_root({}), cache_root({})
    assert own != cache and cache not in own.parents and own.name.lower() == "footnote"
    if platform == "linux":
        assert data_root({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "footnote"


def test_footnote_data_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FOOTNOTE_DATA", str(tmp_path / "kept"))
    Conversations().start("c", "One?", record("1"))
    assert (tmp_path / "kept" / "conversations.sqlite").is_file()
