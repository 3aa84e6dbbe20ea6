"""What all tabs share: answers under way, open indexes, documents that come in."""

import threading
import time

import pytest

from rag.errors import RagError
from rag.loader.base import Usage
from rag.page import uploads
from rag.page.conversations import Conversations
from rag.page.desk import Desk
from rag.settings import Settings
from rag.types import ModelInfo

NOTES = {
    "cats.txt": "Cats sleep sixteen hours a day. They dream of mice.",
    "organ.txt": "Jonas Brandt repaired the organ of the church in 1987. It has twelve stops.",
}


class Talker:
    """A small model that talks until it is stopped."""

    info = ModelInfo("fake/talker", "fake", "none", 135_000_000, 4096)

    def count_tokens(self, messages):
        return sum(len(message.content.split()) for message in messages)

    def stream(self, messages, sampling, cancel=None):
        while not cancel.is_set():
            time.sleep(0.01)
            yield "word "
        return Usage(1, 1, "cancelled")

    def close(self):
        return


class Silent(Talker):
    def stream(self, messages, sampling, cancel=None):
        yield from ()
        return Usage(1, 0, "stop")


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_DATA", str(tmp_path / "data"))


@pytest.fixture
def desk(tmp_path):
    return _desk(tmp_path, Silent())


def _desk(tmp_path, model):
    """A desk with two notes in the collection "notes", which are its guide, too."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, text in NOTES.items():
        (folder / name).write_text(text)
    desk = Desk(Settings(), tmp_path / "index", Conversations(), lambda settings, report: model, guide=folder)
    run = desk.intakes.begin("notes", [folder])
    _until(lambda: run.over)
    assert run.error is None and run.report.added == 2
    return desk


def _until(true):
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("waited for too long")


def _ask(desk, question, *where):
    asking = desk.ask(question, "notes", *where)
    said = list(asking.follow())[-1]
    assert said.error is None
    return said


def test_an_answer_is_told_as_it_comes_and_kept(desk):
    said = _ask(desk, "Who repaired the organ?")
    assert said.searched and said.text.startswith('"Jonas Brandt repaired')
    assert [said.text[start:end] for start, end in said.bold] == ["Jonas Brandt"]
    (exchange,) = desk.conversations.exchanges(said.exchange.conversation_id)
    assert exchange.answer["answer"] == said.text and exchange.question == "Who repaired the organ?"


def test_a_conversation_goes_on_and_an_answer_is_given_again(desk):
    first = _ask(desk, "Who repaired the organ?").exchange
    second = _ask(desk, "When did he repair it?", first.conversation_id)
    assert second.standalone == "When did Jonas Brandt repair it?" and "1987" in second.text
    again = _ask(desk, "Who repaired the organ?", first.conversation_id, first.id)
    assert again.exchange.id == first.id
    assert len(desk.conversations.exchanges(first.conversation_id)) == 2


def test_stopping_keeps_what_was_said(tmp_path):
    desk = _desk(tmp_path, Talker())
    asking = desk.ask("Who repaired the organ?", "notes")
    _until(lambda: asking.said.text)
    assert desk.asking(asking.number) is asking  # a reloaded page finds it
    asking.stop()
    last = list(asking.follow())[-1]
    assert last.finished and last.exchange.answer["answer"] == last.text


def test_what_goes_wrong_is_told(desk):
    said = list(desk.ask("Who?", "no such collection").follow())[-1]
    assert isinstance(said.error, RagError) and said.finished and said.exchange is None


def test_twenty_questions_at_once_are_not_mixed_up(desk):
    asked = [("Who repaired the organ?", "Jonas"), ("How long do cats sleep?", "sixteen")] * 10
    running = [(desk.ask(question, "notes"), answer) for question, answer in asked]
    for asking, answer in running:
        said = list(asking.follow())[-1]
        assert answer in said.text and said.exchange.question == asking.question


def test_what_is_read_in_is_asked_from_then_on(desk, tmp_path):
    assert _ask(desk, "What is the capital of Elbonia?").exchange.answer["abstained"]
    file = tmp_path / "atlas.txt"
    file.write_text("The capital of Elbonia is Mudville, a town on stilts.")
    with desk.shelf.reading("notes") as before:
        run = desk.intakes.begin("notes", [file])
        _until(lambda: run.over)
        assert before.generation.documents()  # whoever reads it goes on
    assert run.files == {str(file.resolve()): ""}
    assert "Mudville" in _ask(desk, "What is the capital of Elbonia?").text


def test_a_file_that_cannot_be_read_is_told_with_its_reason(desk, tmp_path):
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    run = desk.intakes.begin("notes", [tmp_path / "broken.pdf"])
    _until(lambda: run.over)
    ((path, failure),) = run.files.items()
    assert path.endswith("broken.pdf") and failure


def test_a_second_run_waits_for_the_first(desk, tmp_path):
    runs = []
    for n in range(3):
        (tmp_path / f"{n}.txt").write_text(f"Note number {n} is about winters.")
        runs.append(desk.intakes.begin("notes", [tmp_path / f"{n}.txt"]))
    _until(lambda: all(run.over for run in runs))
    assert [run.error for run in runs] == [None] * 3
    with desk.shelf.reading("notes") as retriever:
        assert len(retriever.generation.documents()) == 5


def test_a_question_waits_for_the_first_documents(desk, tmp_path):
    (tmp_path / "note.txt").write_text("The key of the shed hangs behind the door.")
    desk.intakes.begin("fresh", [tmp_path / "note.txt"])
    said = list(desk.ask("Where does the key of the shed hang?", "fresh").follow())[-1]
    assert said.error is None and "behind the door" in said.text


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a b.txt", "a b.txt"),
        ("a:b*c?.txt", "a_b_c_.txt"),
        ("con.txt", "_con.txt"),
        ("\u202egnp.exe", "gnp.exe"),
        ("ä" * 200 + ".docx", "ä" * 72 + ".docx"),
        (".hidden", "hidden"),
        ("x\x00y\n.txt", "x_y_.txt"),
    ],
)
def test_a_name_is_never_a_path(name, kept):
    assert uploads.safe_name(name) == kept


@pytest.mark.parametrize("name", ["", "..", "/", "a/", " . "])
def test_a_name_of_nothing_is_refused(name):
    with pytest.raises(RagError):
        uploads.safe_name(name)


def test_an_upload_counts_what_is_received_and_leaves_nothing_behind(tmp_path):
    import io

    path = uploads.keep("c", "a.txt", io.BytesIO(b"one"), 10)
    assert path.read_bytes() == b"one"
    with pytest.raises(RagError, match=r"a\.txt is larger"):
        uploads.keep("c", "a.txt", io.BytesIO(b"x" * 11), 10)
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"] and path.read_bytes() == b"one"


def test_readers_of_many_threads_open_a_collection_once(desk):
    seen = []

    def read():
        with desk.shelf.reading("notes") as retriever:
            seen.append(retriever)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 1
