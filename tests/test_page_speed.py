"""The measurement of the page: its arithmetic, and how it tells one tab's answer from another's."""

import json

import pytest

from rag.errors import EvaluationError
from rag.evaluation import page_figures, page_speed
from rag.evaluation.page_server import Place, serving
from rag.page.conversations import Conversations

TABS = {
    "sessions": 20,
    "seconds": 12.34567,
    "first_words": 3.0,
    "model_loads": 1,
    "errors": 0,
    "mixed_up": 0,
}


def visit(opened, page, engine):
    sides = {"page": page, "engine": engine}
    return {"opened": opened, **{side: dict(zip(("source", "word"), times)) for side, times in sides.items()}}


def figures():
    visits = [
        visit(1.0, (0.5, 0.7), (0.4, 0.5)),
        visit(3.0, (0.6, 0.9), (0.5, 0.5)),
        visit(1.5, (9.0, 9.0), (0.6, 0.6)),
    ]
    reruns = {"last": ([0.04, 0.05, 0.9], [0.06, 0.07, 0.9]), "all": ([0.2], [0.3])}
    return page_figures.record(visits, reruns, TABS, {"cores": 2, "load": 0.5})


def test_figures_are_medians_and_the_page_is_set_beside_the_engine():
    found = figures()
    assert found["opening"] == {"median": 1.5, "each": [1.0, 3.0, 1.5]}
    assert found["rerun"]["last"] == {"script": 0.05, "painted": 0.07}
    assert found["first"]["slower"] == {"source": 0.1, "word": 0.4}
    assert found["together"]["seconds"] == 12.346
    assert json.loads(json.dumps(found)) == found


def test_the_table_names_every_figure_and_its_goal():
    lines = [" ".join(line.split()) for line in page_figures.table(figures()).splitlines()]
    assert "medians of 3 runs; 2 cores, load 0.5" in lines
    assert "from opening until one can type 1.500 2.0" in lines
    assert "script with 200 messages, all shown 0.200 0.1" in lines
    assert "first word: the page is slower by 0.400 0.2" in lines
    assert "until all are answered 12.346" in lines
    assert "of 20 tabs 0 with an error, 0 with another answer; models loaded: 1" in lines


@pytest.mark.parametrize(
    ("messages", "same"),
    [
        (["personWhat is 1 < 2?", '"True, 1 < 2." 1'], True),
        (["personWhat is 1 < 2?", '"True,\n1 < 2."  1'], True),
        (["personWhat is 1 < 2?", '"True, 1 < 2." 2'], False),
        (["personWhat is it?", '"True, 1 < 2." 1'], False),
        (["personWhat is 1 < 2?", ""], False),
        (["personWhat is 1 < 2?"], False),
        (["personWhat is 1 < 2?", '"True, 1 < 2." 1', "personAnd then?", "No."], False),
    ],
)
def test_a_tab_shows_its_own_question_and_the_engines_answer(messages, same):
    assert page_speed.shows(messages, "What is 1 < 2?", {"answer": '"True, **1 < 2**." [1]'}) is same


def test_there_are_questions_for_twenty_tabs_and_no_two_are_alike():
    assert len(set(page_speed.questions(20))) == 20
    with pytest.raises(EvaluationError):
        page_speed.questions(1000)


def test_a_users_settings_do_not_reach_the_page_that_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_RETRIEVAL_TOP_K", "1")
    monkeypatch.setenv("FOOTNOTE_CACHE", "kept")
    place = Place(tmp_path)
    assert place.settings().retrieval.top_k == 5 and place.environ["FOOTNOTE_CACHE"] == "kept"
    assert place.environ["FOOTNOTE_INDEX"] == str(tmp_path / "index")


def test_the_long_conversation_has_all_its_exchanges(tmp_path):
    place = Place(tmp_path)
    number = page_speed.fill(place, [{"question": f"Is it {n}?", "answer": str(n)} for n in range(3)])
    kept = Conversations(place.conversations).exchanges(number)
    assert len(kept) == page_figures.LONG
    assert [each.answer["answer"] for each in kept[:4]] == ["0", "1", "2", "0"]


def test_a_page_that_does_not_start_is_told_with_its_last_line(tmp_path):
    place = Place(tmp_path)
    place.environ["PYTHONHOME"] = str(tmp_path)  # no Python starts there
    with pytest.raises(EvaluationError, match=r"the page does not start: .+"), serving(place):
        pass
