"""Votes of the chat page, counted from a real file of conversations."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rag.errors import HistoryDamaged, InputNotFound
from rag.evaluation.feedback import QUOTES_ALONE, feedback, table
from rag.page.conversations import Conversations

ROOT = Path(__file__).resolve().parent.parent


def answer(text, model=None, abstained=False):
    return {"answer": text, "model": {"name": model}, "abstained": abstained}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "conversations.sqlite"
    conversations = Conversations(path)
    for n, (model, abstained, vote, note) in enumerate(
        [
            ("qwen", False, "up", ""),
            ("qwen", False, "down", "the wrong\nyear"),
            ("qwen", False, "up", "thanks"),
            (None, True, "down", ""),
            (None, False, None, ""),
        ]
    ):
        asked = conversations.start("c", f"Question {n}?", answer(f"Answer {n}.", model, abstained))
        conversations.vote(asked.id, vote, note)
    return path


def test_votes_are_counted_by_model_and_by_kind_of_answer(file):
    found = feedback(file)
    counts = [found[name] for name in ("votes", "up", "down", "share_up")]
    assert counts == [4, 2, 2, 0.5]
    assert found["models"] == [
        {"model": "qwen", "votes": 3, "up": 2, "down": 1, "share_up": 0.6667},
        {"model": None, "votes": 1, "up": 0, "down": 1, "share_up": 0.0},
    ]
    assert found["abstained"] == [
        {"abstained": False, "votes": 3, "up": 2, "down": 1, "share_up": 0.6667},
        {"abstained": True, "votes": 1, "up": 0, "down": 1, "share_up": 0.0},
    ]
    first, second = found["voted_down"]
    assert (first["question"], first["note"], first["answer"]) == (
        "Question 1?",
        "the wrong\nyear",
        "Answer 1.",
    )
    assert (second["question"], second["model"], second["abstained"]) == ("Question 3?", None, True)


def test_the_table_says_the_same(file):
    rows = [line.split() for line in table(feedback(file)).splitlines()]
    assert ["all", "4", "2", "2", "0.500"] in rows
    assert ["qwen", "3", "2", "1", "0.667"] in rows
    assert [*QUOTES_ALONE.split(), "1", "0", "1", "0.000"] in rows
    assert ["not", "in", "documents", "1", "0", "1", "0.000"] in rows
    assert rows[-2:] == [["Question", "1?:", "the", "wrong", "year"], ["Question", "3?"]]


def test_without_votes_there_is_nothing_to_share(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_DATA", str(tmp_path))
    found = feedback()
    assert (found["votes"], found["share_up"], found["voted_down"]) == (0, None, [])
    assert table(found) == f"{tmp_path / 'conversations.sqlite'}: no answer was voted on yet\n"
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_of_conversations_is_refused(tmp_path):
    with pytest.raises(InputNotFound, match="there is no file"):
        feedback(tmp_path / "absent.sqlite")
    (tmp_path / "letter.txt").write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(HistoryDamaged, match=r"letter\.txt"):
        feedback(tmp_path / "letter.txt")


@pytest.mark.parametrize("named", [True, False])
def test_the_command_prints_one_object(file, named, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_DATA", str(file.parent))
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), "--json", "--feedback"]
    done = subprocess.run([*command, *([str(file)] if named else [])], capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)) == (0, feedback(file))
