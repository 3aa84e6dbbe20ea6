"""The ablation: its resumption and its table with computed figures, one real run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rag.errors import InputNotFound, UsageError
from rag.evaluation.ablation import Ablation, Measured, Options, Results
from rag.evaluation.ablation_table import markdown, record
from rag.evaluation.datasets import Dataset, Question
from rag.evaluation.variants import DEFAULT, Variant, settings_of, variants
from rag.places import CHECKOUT

# Resuming


TOWNS = "Bern lies on the Aare. Basel lies on the Rhine."
QUESTIONS = [f"Which number is {n}?" for n in range(40)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with two of the sets."""
    data = tmp_path / "data"
    (data / "squad").mkdir(parents=True)
    qas = [{"id": text, "question": text, "answers": [{"text": "Bern"}]} for text in QUESTIONS]
    articles = [{"title": "Bern", "paragraphs": [{"context": "Bern.", "qas": qas}]}]
    (data / "squad" / "questions.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    (data / "chunking").mkdir()
    (data / "chunking" / "bern.md").write_text(
        "Bern lies on the Aare. Basel lies on the Rhine.", encoding="utf-8"
    )
    rows = "question,references\n" + "".join(f"{text},Bern lies on the Aare.\n" for text in QUESTIONS)
    (data / "chunking" / "questions.csv").write_text(rows, encoding="utf-8")
    return data


class Counted:
    """Figures worked out from the size of a passage: half of the questions are right with the default's, all
    with a larger one, none with a smaller."""

    def __init__(self, interrupted_at: int | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._interrupted_at = interrupted_at

    def __call__(self, variant: Variant, dataset: Dataset, questions: Sequence[Question]) -> Measured:
        if len(self.asked) == self._interrupted_at:
            raise KeyboardInterrupt
        self.asked.append((dataset.name, variant.label))
        default, settings = settings_of(DEFAULT), settings_of(variant)
        larger = settings.chunk.tokens - default.chunk.tokens
        values = {
            name: {q.key: float(larger > 0 or (not larger and n % 2)) for n, q in enumerate(questions)}
            for name in ("mrr@10", "hit@1", "token_recall@5")
        }
        size = settings.chunk.tokens / 1000
        shares = {q.key: 1 / (1 + size) for q in questions}
        return {**values, "token_precision@5": shares, "token_iou@5": shares}, ("a note",)


def test_what_was_measured_is_not_measured_again(folder: Path, tmp_path: Path) -> None:
    options, file = Options(folder, only=("passage size", "words")), tmp_path / "results.jsonl"
    first = Counted(interrupted_at=3)
    with pytest.raises(KeyboardInterrupt):
        Ablation(options, Results(file), first).run()
    assert len(file.read_text(encoding="utf-8").splitlines()) == 3
    second = Counted()
    Ablation(options, Results(file), second).run()
    assert not set(first.asked) & set(second.asked)
    sizes = len([each for each in variants() if each.group == "Passage size"])
    assert (
        len(first.asked + second.asked) == len(set(first.asked + second.asked)) == (1 + 2) + (1 + 2 + sizes)
    )
    third = Counted()
    Ablation(options, Results(file), third).run()
    assert third.asked == []


def test_a_line_that_was_cut_off_is_measured_again(folder: Path, tmp_path: Path) -> None:
    options, file = Options(folder, only=("words",), sets=("squad",)), tmp_path / "results.jsonl"
    Ablation(options, Results(file), Counted()).run()
    file.write_text(file.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    again = Counted()
    Ablation(options, Results(file), again).run()
    assert len(again.asked) == 1
    third = Counted()
    Ablation(options, Results(file), third).run()
    assert third.asked == []


@pytest.mark.parametrize("changed", ["settings", "questions", "files", "sample", "seed"])
def test_another_question_is_measured_anew(
    changed: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, results = Options(folder, ("chunking",), ("not stemmed",)), Results(tmp_path / "r.jsonl")
    Ablation(options, results, Counted()).run()
    if changed == "settings":
        monkeypatch.setenv("FOOTNOTE_RETRIEVAL_TOP_K", "7")
    elif changed == "questions":
        questions = folder / "chunking" / "questions.csv"
        questions.write_text(questions.read_text(encoding="utf-8") + "Who?,Bern\n", encoding="utf-8")
    elif changed == "files":
        (folder / "chunking" / "bern.md").write_text("Bern lies on the Aare.", encoding="utf-8")
    elif changed == "sample":
        options = Options(folder, ("chunking",), ("not stemmed",), sample=9)
    else:
        options = Options(folder, ("chunking",), ("not stemmed",), seed=1)
    again = Counted()
    Ablation(options, results, again).run()
    assert len(again.asked) == 2


def test_what_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    results = Results(tmp_path / "r.jsonl")
    with pytest.raises(InputNotFound, match=r"there is no .*cranfield"):
        Ablation(Options(folder, sets=("squad", "cranfield")), results)
    with pytest.raises(InputNotFound, match="has none of squad"):
        Ablation(Options(tmp_path), results)
    with pytest.raises(UsageError, match="called 'wrods'"):
        Ablation(Options(folder, only=("wrods",)), results)


# The table


def test_the_table_sets_each_variant_beside_the_default(folder: Path, tmp_path: Path) -> None:
    ablation = Ablation(
        Options(folder, only=("passage size", "not stemmed")), Results(tmp_path / "r.jsonl"), Counted()
    )
    ablation.run()
    found = record(ablation)
    larger = next(row for row in found["rows"] if row["label"] == "400 tokens, 60 repeated")
    recall = larger["figures"]["chunking"]["token_recall@5"]
    assert (recall["n"], recall["a"], recall["b"], recall["difference"]) == (40, 0.5, 1.0, 0.5)
    assert found["missing"] == {}
    shown = markdown(found)
    assert "- chunking: 40 questions; a note" in shown
    assert "| **default** | **0.500** | **0.833** | **0.833** |" in shown
    row = next(line for line in shown.splitlines() if line.startswith("| 400 tokens, 60 repeated |"))
    assert re.search(r"\| 1\.000 \(\+0\.500 ±0\.1\d\d\)\* \| 0\.714 \(-0\.119 ±0\.000\)\* \|", row)
    words = shown.partition("## Words")[2]
    assert "squad mrr@10" in words and "not stemmed | 0.500 (+0.000 ±0.000) |" in words


def test_the_default_is_on_the_frontier_unless_a_size_has_more_of_both(folder: Path, tmp_path: Path) -> None:
    def told(measure: Counted) -> str:
        results = Results(tmp_path / f"{type(measure).__name__}.jsonl")
        ablation = Ablation(Options(folder, ("chunking",), ("passage size",)), results, measure)
        ablation.run()
        return markdown(record(ablation))

    class Growing(Counted):
        def __call__(self, variant: Variant, dataset: Dataset, questions: Sequence[Question]) -> Measured:
            values, notes = super().__call__(variant, dataset, questions)
            share = settings_of(variant).chunk.tokens / 1000
            return {**values, "token_iou@5": {q.key: share for q in questions}}, notes

    assert "The default lies on the frontier" in told(Counted())
    assert "beaten by: 300 tokens, 0 repeated; 400 tokens, 60 repeated." in told(Growing())


def test_an_unfinished_table_names_what_is_missing(folder: Path, tmp_path: Path) -> None:
    ablation = Ablation(
        Options(folder, ("squad",), ("words",)), Results(tmp_path / "r.jsonl"), Counted(interrupted_at=2)
    )
    # nothing is there yet, the default neither
    assert "- squad: default; not stemmed; stop words left out\n" in markdown(record(ablation))
    with pytest.raises(KeyboardInterrupt):
        ablation.run()
    shown = markdown(record(ablation))
    assert "| not stemmed |" in shown and "| stop words left out |" not in shown
    assert "## Not measured yet\n\n- squad: stop words left out\n" in shown


@pytest.mark.slow
def test_the_command_with_the_real_models(folder: Path, tmp_path: Path) -> None:
    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CHECKOUT / "scripts" / "ablate.py"), str(folder), "--sample", "2"]
        names = ["--only", "Words", "5 passages, each with its neighbours", "--output"]
        return subprocess.run(
            [*command, *names, str(tmp_path / "table.md"), *more],
            env={**os.environ, "FOOTNOTE_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    done = run("--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sets"]["squad"]["figures"] == {"mrr@10": 1.0, "hit@1": 1.0}
    assert 0 < found["sets"]["chunking"]["figures"]["token_precision@5"] < 1
    assert [row["label"] for row in found["rows"]] == [
        "not stemmed",
        "stop words left out",
        "5 passages, each with its neighbours",
    ]
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert table == markdown(found)
    again = run()
    assert again.returncode == 0 and "[1/" not in again.stderr
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == table
