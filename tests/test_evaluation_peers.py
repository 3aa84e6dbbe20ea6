"""The comparison with other libraries: judges, processes, environments, and one real run of our side."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag.errors import EvaluationError
from rag.evaluation import peer_environment
from rag.evaluation.datasets import Dataset, load_dataset
from rag.evaluation.peer_environment import ensure
from rag.evaluation.peer_judge import Asked, figures, refuses
from rag.evaluation.peer_process import Finished, records, run, tail
from rag.evaluation.peer_table import NONE, markdown
from rag.evaluation.peers import Options, apart, compare, draw
from rag.places import CHECKOUT

AARE = "Bern lies on the Aare. It has been the seat of the government since 1848."
RHINE = "Basel lies on the Rhine. The Rhine is longer than the Aare."
SQUAD = {
    "data": [
        {
            "title": "Towns",
            "paragraphs": [
                {
                    "context": AARE,
                    "qas": [
                        {"id": "bern", "question": "Where does Bern lie?", "answers": [{"text": "the Aare"}]},
                        {"id": "mayor", "question": "Who governs Bern?", "is_impossible": True},
                    ],
                },
                {
                    "context": RHINE,
                    "qas": [{"id": "basel", "question": "Where is Basel?", "answers": [{"text": "Rhine"}]}],
                },
            ],
        }
    ]
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    file = tmp_path / "towns.json"
    file.write_text(json.dumps(apart(SQUAD)), encoding="utf-8")
    return load_dataset(file)


# What counts as a refusal


@pytest.mark.parametrize(
    "text",
    ["I don't know.", "I’m sorry, I do  not\nknow", "The context does not mention a mayor.", "", " \n"],
)
def test_an_answer_that_says_it_does_not_know_is_a_refusal(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize("text", ["Bern lies on the Aare.", "It is not known for its lakes but for bears."])
def test_any_other_answer_is_none(text: str) -> None:
    assert not refuses(text)


# Questions and figures


def test_each_paragraph_is_a_document_that_only_its_own_questions_ask_of(dataset: Dataset) -> None:
    assert dataset.documents is not None
    assert {document.path: document.text for document in dataset.documents()} == {
        "00001": AARE,
        "00002": RHINE,
    }
    assert {question.id: list(question.documents) for question in dataset.questions} == {
        "bern": ["00001"],
        "mayor": ["00001"],
        "basel": ["00002"],
    }
    with pytest.raises(EvaluationError, match="not SQuAD-shaped"):
        apart({"version": 2})


def test_the_questions_of_each_kind_are_drawn(dataset: Dataset, tmp_path: Path) -> None:
    asked = draw(dataset, Options(tmp_path, foreign=tmp_path / "towns.json", sample=3, searches=1))
    assert len(asked.search) == 1
    assert [q.id for q in asked.near] == ["mayor"]
    assert {q.id for q in asked.answerable} == {"bern", "basel"}
    assert {q.id for q in asked.foreign} == {"bern", "mayor", "basel"}
    assert [each["key"] for each in asked.as_json()["answer"]][-3:] == ["bern", "mayor", "basel"]


def asked_of(dataset: Dataset) -> Asked:
    bern, mayor, basel = dataset.questions
    return Asked((bern, basel), (bern, basel), (mayor,), ())


def judged(dataset: Dataset, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures where Bern's passage is found second, after one that has its answer and is not its own."""
    lines = [
        {"first_hit": 4},
        {"searched": "bern", "hits": [["00002", RHINE], ["00001", AARE]], "seconds": 0.2},
        {"searched": "basel", "hits": [["00002", RHINE]], "seconds": 0.4},
        *answers,
    ]
    ingested = Finished(({"chunks": 2, "seconds": 1.5},), 3.0, 100_000_000)
    return figures(dataset, asked_of(dataset), ingested, Finished(tuple(lines), 2.5, 500_000_000))


def test_a_peer_is_judged_by_what_it_printed(dataset: Dataset) -> None:
    found = judged(
        dataset,
        [
            {"answered": "bern", "text": "The Aare.", "seconds": 2.0},
            {"answered": "basel", "text": "I don't know, maybe the Rhine.", "seconds": 4.0},
            {"answered": "mayor", "text": "The bear does.", "seconds": 9.0},
        ],
    )
    assert (found["hit@1"], found["hit@5"], found["mrr@10"]) == (0.5, 1.0, 0.75)
    assert (found["contains_gold"], found["em"], found["false_refusal"]) == (0.5, 0.5, 0.5)
    assert (found["median_words"], found["true_refusal"], found["foreign_refusal"]) == (2, 0.0, None)
    assert found["cited_gold"] is None
    assert (found["chunks"], found["ingest_s"], found["first_hit_s"]) == (2, 1.5, 2.5)
    assert found["search_p50_s"] == pytest.approx(0.3)
    assert found["answer_p50_s"] == 3.0
    assert (found["ingest_peak_bytes"], found["answer_peak_bytes"]) == (100_000_000, 500_000_000)


def test_our_own_side_says_what_it_refused_and_quoted(dataset: Dataset) -> None:
    found = judged(
        dataset,
        [
            {"answered": "bern", "text": "On the Aare.", "seconds": 1, "refused": False, "quotes": [AARE]},
            {"answered": "basel", "text": "On the Rhine.", "seconds": 1, "refused": False, "quotes": ["Hm."]},
            {"answered": "mayor", "text": "Not in your documents.", "seconds": 1, "refused": True},
        ],
    )
    assert (found["contains_gold"], found["cited_gold"], found["true_refusal"]) == (1.0, 0.5, 1.0)


def test_the_table_has_a_column_for_each_side(dataset: Dataset) -> None:
    side = judged(
        dataset, [{"answered": key, "text": "Bears.", "seconds": 12.34} for key in ("bern", "basel", "mayor")]
    )
    shown = markdown(
        {
            "dataset": "/data/towns.json",
            "seed": 7,
            "paragraphs": 2,
            "counts": {"search": 2, "answerable": 2, "near": 1, "foreign": 0},
            "packages": {"other": ("torch==2.13.0", "other==1.0")},
            "sides": {"Footnote": {**side, "cited_gold": 0.987}, "other": side},
        }
    )
    assert "2 paragraphs of towns.json" in shown and "seed 7" in shown
    assert "- other: torch==2.13.0, other==1.0" in shown
    assert "| | Footnote | other |" in shown.replace("|  |", "| |")
    assert f"| right answers whose footnote quotes the gold answer | 0.987 | {NONE} |" in shown
    assert "| MRR@10 | 0.750 | 0.750 |" in shown
    assert "| s to answer an answerable question, median | 12.3 | 12.3 |" in shown
    assert "| MB of memory to answer, peak | 500 | 500 |" in shown
    assert "don't know; do not know" in shown


# The whole of it


class Printed:
    """Runs nothing: the same passage and the same answer for each question that the command was given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, command: Sequence[str], log: Path, variables: Any) -> Finished:
        self.names.append(name)
        if "ingest" in command:
            return Finished(({"chunks": 2, "seconds": 1.0},), 1.0, 1)
        file = next(word for word in command if word.endswith("questions.json"))
        questions = json.loads(Path(file).read_text(encoding="utf-8"))
        found = [{"searched": q["key"], "hits": [["00001", AARE]], "seconds": 1} for q in questions["search"]]
        said = [{"answered": q["key"], "text": "the Aare", "seconds": 1} for q in questions["answer"]]
        return Finished(({"first_hit": 1}, *found, *said), 1.0, 1)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "squad.json"
    file.write_text(json.dumps(SQUAD), encoding="utf-8")
    first, second, third = Printed(), Printed(), Printed()
    options = Options(file, sample=5, searches=5, peers=(), work=tmp_path / "work")
    found = compare(options, first)
    ran = [f"{side}, {what}" for side in ("footnote", "footnote-no-llm") for what in ("ingest", "ask")]
    assert first.names == ran
    assert found["counts"] == {"search": 2, "answerable": 2, "near": 1, "foreign": 0}
    assert (found["paragraphs"], found["sides"]["Footnote"]["em"]) == (2, 0.5)
    assert compare(options, second) == found
    assert second.names == []
    compare(replace(options, sample=1), third)
    assert third.names == ran


def test_what_is_no_set_is_said(tmp_path: Path) -> None:
    file = tmp_path / "squad.json"
    file.write_text("{", encoding="utf-8")
    with pytest.raises(EvaluationError, match="is not JSON"):
        compare(Options(file, peers=(), work=tmp_path / "work"), Printed())


# Processes


def test_what_a_library_prints_between_the_lines_is_passed_over() -> None:
    lines = ["Loading weights: 100%\n", '{"first_hit": 4}\n', "7\n", '{"answered": "a"}\n', '{"torn": \n']
    assert list(records(lines)) == [{"first_hit": 4}, {"answered": "a"}]


def test_a_process_is_timed_and_watched(tmp_path: Path) -> None:
    program = (
        "import json, time; a = bytearray(50_000_000); time.sleep(0.5); print(json.dumps({'chunks': 1}))"
    )
    done = run("peer", [sys.executable, "-c", program], tmp_path / "log")
    assert done.lines == ({"chunks": 1},)
    assert done.first_line_s >= 0.5
    assert done.peak_bytes > 50_000_000


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (
            "import sys; print('{}'); print('step 1', file=sys.stderr); raise ImportError('no txtai')",
            "status 1",
        ),
        ("import sys; print('no txtai', file=sys.stderr)", "status 0"),
    ],
)
def test_a_peer_that_fails_is_told_with_the_end_of_its_log(program: str, what: str, tmp_path: Path) -> None:
    log = tmp_path / "txtai-ask.log"
    with pytest.raises(
        EvaluationError, match=rf"(?s)txtai, ask ended with exit {what}:\n.*no txtai"
    ) as caught:
        run("txtai, ask", [sys.executable, "-c", program], log)
    assert str(log) in caught.value.fix


def test_the_end_of_a_log_is_without_what_was_overwritten(tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps = "".join(f"step {at}\n" for at in range(20))
    log.write_bytes(f"{steps}0 %\r50 %\r100 %\n\n".encode())
    assert tail(log).splitlines()[-2:] == ["step 19", "100 %"]
    assert "step 0" not in tail(log)
    assert tail(tmp_path / "none") == ""


# Environments


class Installer:
    """Makes the Python that is asked for, notes the commands, and fails at the one with the word `bad`."""

    def __init__(self, folder: Path, bad: str = "") -> None:
        self.commands: list[list[str]] = []
        self._python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        self._bad = bad

    def __call__(self, command: Sequence[str], log: Path) -> int:
        self.commands.append(list(command))
        self._python.parent.mkdir(parents=True, exist_ok=True)
        self._python.touch()
        if self._bad and self._bad in command:
            log.write_text("ERROR: no matching distribution", encoding="utf-8")
            return 1
        return 0


PACKAGES = ("torch==2.13.0", "other==1.0")


@pytest.mark.parametrize("uv", [None, "/bin/uv"])
def test_an_environment_is_made_once_with_torch_first(
    uv: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_environment.shutil, "which", lambda name: uv)
    folder = tmp_path / "other"
    installer = Installer(folder)
    python = ensure(folder, PACKAGES, installer)
    make, first, rest = installer.commands
    assert make[-1] == str(folder) and ("uv" in make[0]) == bool(uv)
    assert "torch==2.13.0" in first and "other==1.0" not in first
    assert rest[-2:] == list(PACKAGES)
    assert ensure(folder, PACKAGES, installer) == python
    assert len(installer.commands) == 3
    ensure(folder, (*PACKAGES, "more==2"), installer)
    assert len(installer.commands) == 6


def test_an_environment_that_broke_off_is_filled_again(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    with pytest.raises(EvaluationError, match="installing other failed") as caught:
        ensure(folder, PACKAGES, Installer(folder, bad="other==1.0"))
    assert "no matching distribution" in caught.value.message
    assert "run the same command again" in caught.value.fix
    again = Installer(folder)
    ensure(folder, PACKAGES, again)
    assert len(again.commands) == 3


# Our own side


def test_our_side_prints_what_the_peers_print(tmp_path: Path, dataset: Dataset) -> None:
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps(asked_of(dataset).as_json()), encoding="utf-8")
    ours = [sys.executable, "-P", "-m", "rag.evaluation.peer_footnote"]
    places = {"FOOTNOTE_INDEX": str(tmp_path / "index"), "PYTHONPATH": str(CHECKOUT)}
    ingested = run("ingest", [*ours, "ingest", tmp_path / "towns.json"], tmp_path / "log", places)
    answered = run("ask", [*ours, "ask", questions, "--no-llm"], tmp_path / "log", places)
    found = figures(dataset, asked_of(dataset), ingested, answered)
    assert (found["chunks"], found["hit@1"], found["contains_gold"], found["cited_gold"]) == (2, 1, 1, 1)
