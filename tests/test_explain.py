"""What --explain shows: standings in every stage, what was left out, how full the prompt is."""

import io

import pytest

from rag.explain import explanation_record, left_out, meter, stages, why_not
from rag.types import Answer, Context, Dropped, Hit, Rank, Timings
from rag.why_not import Step, WhyNot
from tests.fakes import hit


def ranked(text, path, **how):
    found = hit(text, 0.9, path)
    return Hit(found.chunk, 0.9, {stage: Rank(*pair) for stage, pair in how.items()})


FIRST = ranked("cats", "/d/a-handbook-with-a-long-name.pdf", dense=(2, 0.5), fused=(1, 0.7), rerank=(1, 8))
SECOND = ranked("dogs", "/d/b.pdf", dense=(1, 0.6), lexical=(12, 14.25), fused=(2, 0.6), rerank=(2, 0.5))
TWIN = ranked("cats!", "/d/c.pdf", fused=(3, 0.5))


def answer(context=None, dropped=()):
    return Answer("?", "", (), (FIRST, SECOND), False, None, Timings(), dropped, context)


@pytest.fixture
def columns(monkeypatch):
    return lambda n: monkeypatch.setenv("COLUMNS", str(n))


def test_a_wide_terminal_gets_a_table(columns):
    columns(120)
    head, first, second = stages([FIRST, SECOND], io.StringIO()).splitlines()[1:]
    assert head.split() == ["dense", "fused", "rerank", "lexical", "score", "place"]
    assert "2 (0.500)" in first and " -  " in first
    assert second.index("12 (14.250)") == head.index("lexical")


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_gets_lines_that_fit_and_say_the_same(columns, width):
    columns(width)
    context = Context(900, 1000, (FIRST,), (SECOND,))
    explained = answer(
        context, (Dropped(TWIN, "thinned", "nearly the same text as a-handbook-with-a-long-name.pdf"),)
    )
    verdict = WhyNot(
        "c.pdf", TWIN.chunk, (Step("thinned", False, "left out: nearly the same text as a.pdf"),)
    )
    shown = "".join(
        (
            stages([FIRST, SECOND], io.StringIO()),
            left_out(explained, io.StringIO()),
            meter(explained, io.StringIO()),
            why_not(verdict, io.StringIO()),
        )
    )
    assert max(map(len, shown.splitlines())) <= width
    for said in ("dense 2 (0.500)", "lexical 12 (14.250)", "rerank 1 (8.000)", "fused 3 (0.500)"):
        assert said in shown
    assert "nearly the same text as" in shown


def test_the_meter_shows_tokens_and_what_was_not_read(columns):
    columns(80)
    text = meter(answer(Context(900, 1200, (FIRST,), (SECOND,))), io.StringIO())
    assert "[###############.....]" in text and "900 of 1200 tokens" in text
    assert "the model read [1]" in text and "no room for [2]" in text
    assert "no model read anything" in meter(answer(), io.StringIO())


def test_nothing_left_out_needs_no_words():
    assert left_out(answer(), io.StringIO()) == ""


def test_the_record_numbers_passages_as_the_answer_does():
    record = explanation_record(
        answer(Context(9, 10, (SECOND,), (FIRST,)), (Dropped(TWIN, "thinned", "twice"),))
    )
    assert record["context"] == {"tokens": 9, "budget_tokens": 10, "used": [2], "dropped": [1]}
    (dropped,) = record["dropped"]
    assert (dropped["path"], dropped["stage"], dropped["reason"]) == ("/d/c.pdf", "thinned", "twice")
    assert dropped["stages"] == {"fused": {"rank": 3, "score": 0.5}}
    assert explanation_record(answer())["context"] is None


def test_control_characters_of_names_and_texts_do_not_reach_the_terminal():
    evil = ranked("red\x1b[31m", "/d/e\x1bvil.pdf", dense=(1, 0.5))
    explained = answer(None, (Dropped(evil, "thinned", f"nearly the same text as {evil.chunk.place}"),))
    verdict = WhyNot("\x1bvil", evil.chunk, (Step("index", False, "no \x1bvil"),))
    assert "\x1b" not in left_out(explained, io.StringIO()) + why_not(verdict, io.StringIO())
