"""Two evaluations side by side: what is called a difference, and what is not."""

import itertools
import json

import pytest

from rag.errors import EvaluationError, InputNotFound
from rag.evaluation.compare import compare, paired_p, table


def write(path, hits, refusals=None, weight=0.8, seed=0):
    settings = {"seed": seed, "retrieval": {"dense_weight": weight}}
    answers = {"false_refusal": refusals} if refusals else None
    record = {"settings": settings, "per_question": {"retrieval": {"hit@1": hits}, "answers": answers}}
    path.write_text(json.dumps(record))
    return path


def numbered(values):
    return {f"q{n}": float(value) for n, value in enumerate(values)}


def test_a_clear_gain_is_better_and_more_refusals_are_worse(tmp_path):
    a = write(tmp_path / "a.json", numbered([0] * 20 + [1] * 20), numbered([0] * 40))
    b = write(tmp_path / "b.json", numbered([1] * 40), numbered([1] * 12 + [0] * 28), weight=0.5)
    found = compare(a, b)
    hits, refusals = found["figures"]["hit@1"], found["figures"]["false_refusal"]
    assert (hits["n"], hits["a"], hits["b"], hits["difference"]) == (40, 0.5, 1, 0.5)
    assert hits["verdict"] == "better"
    assert refusals["verdict"] == "worse"
    assert hits["ci95"][0] > 0 and hits["p"] < 0.001
    assert found["settings"] == {"retrieval.dense_weight": [0.8, 0.5]}
    shown = table(found)
    assert "better" in shown and "retrieval.dense_weight: 0.8 -> 0.5" in shown


def test_a_small_gain_is_no_difference_shown(tmp_path):
    a = write(tmp_path / "a.json", numbered([0, 1] * 20))
    b = write(tmp_path / "b.json", numbered([1, 1] + [0, 1] * 19))
    assert compare(a, b)["figures"]["hit@1"]["verdict"] == "no difference shown"


def test_only_questions_that_both_asked_count(tmp_path):
    a = write(tmp_path / "a.json", {"x": 1.0, "y": 0.0})
    b = write(tmp_path / "b.json", {"y": 1.0, "z": 0.0})
    figure = compare(a, b)["figures"]["hit@1"]
    assert (figure["n"], figure["a"], figure["b"]) == (1, 0, 1)


@pytest.mark.parametrize("differences", [[1, 1, 1, -1, 0, 0, 1, 1], [0.5, -0.25, 1, 1, 1, 0.75]])
def test_p_is_the_share_of_all_sign_patterns(differences):
    told = [value for value in differences if value]
    patterns = list(itertools.product((1, -1), repeat=len(told)))
    large = [abs(sum(s * v for s, v in zip(signs, told))) >= abs(sum(told)) - 1e-9 for signs in patterns]
    assert paired_p(differences) == pytest.approx(sum(large) / len(patterns), abs=0.02)


def test_no_difference_at_all_has_p_1():
    assert paired_p([0.0, 0.0]) == 1.0


def test_files_that_cannot_be_compared_are_named(tmp_path):
    good = write(tmp_path / "a.json", {"x": 1.0})
    with pytest.raises(InputNotFound, match=r"no file .*none\.json"):
        compare(good, tmp_path / "none.json")
    (tmp_path / "old.json").write_text("{}")
    with pytest.raises(EvaluationError, match=r"old\.json is no record"):
        compare(good, tmp_path / "old.json")
    with pytest.raises(EvaluationError, match="no question in common"):
        compare(good, write(tmp_path / "b.json", {"y": 1.0}))
