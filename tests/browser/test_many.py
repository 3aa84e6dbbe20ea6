"""Many people at once: one model, and everybody's own answer. The real page, model and guide, in Chromium."""

import pytest

from rag.evaluation import page_speed
from rag.evaluation.page_server import Place, serving

SESSIONS = 6
"""`benchmark.py page` opens twenty."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("page"))
    made.read_guide()
    return made


def test_many_tabs_share_one_model_and_each_shows_the_engines_answer_to_its_question(browser, place):
    asked = page_speed.questions(SESSIONS)
    with page_speed.open_engine(place) as engine:
        answers = {question: page_speed.ask(engine, question)[0] for question in asked}
    with serving(place) as server:
        found = page_speed.together(browser, server, asked, answers)
    assert (found["errors"], found["mixed_up"], found["model_loads"]) == (0, 0, 1)
    assert len({answer["answer"] for answer in answers.values()}) > SESSIONS / 2
