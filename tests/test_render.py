"""How answers look on a terminal."""

import io
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.citations import UNSUPPORTED_MARK
from rag.explain import stages
from rag.render import Wrapper, footnotes, sources, token
from rag.types import Answer, Citation, Rank, Timings, Token
from tests.fakes import hit

TEXT = "Cats sleep sixteen hours a day, mostly between noon and dusk, and hunt at night. [1]"


@pytest.mark.parametrize("columns", [10, 25, 60, 200])
@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_streamed_text_wraps_as_whole_text_would(columns, piece):
    wrapper = Wrapper(columns)
    shown = "".join(wrapper.feed(TEXT[n : n + piece]) for n in range(0, len(TEXT), piece)) + wrapper.flush()
    assert [line.rstrip() for line in shown.splitlines()] == textwrap.wrap(
        TEXT, columns, break_long_words=False, break_on_hyphens=False
    )


@given(st.text(alphabet="ab \n", max_size=60), st.integers(1, 20))
def test_wrapping_loses_no_word(text, columns):
    wrapper = Wrapper(columns)
    assert (wrapper.feed(text) + wrapper.flush()).split() == text.split()


def test_unwrapped_text_passes_at_once():
    assert Wrapper(None).feed("Cats sl") == "Cats sl"


def answer(*citations, abstained=False):
    hits = tuple(citation.hit for citation in citations)
    return Answer("?", "", citations, hits, abstained, None, Timings())


def test_a_footnote_names_place_and_quote_once_per_passage():
    cats = hit("Cats sleep. Cats eat.", path="/tmp/cats.pdf", page=3)
    first, second = (
        Citation(1, cats, "Cats sleep.", 0, 11, True),
        Citation(1, cats, "Cats eat.", 12, 21, True),
    )
    text = footnotes(answer(first, second), io.StringIO())
    assert text.count("cats.pdf p. 3") == 1
    assert '"Cats sleep."' in text and '"Cats eat."' in text


def test_control_characters_of_a_document_do_not_reach_the_terminal():
    evil = hit("\x1b[31mred\x07 text", path="/tmp/e\x1bvil.txt", line=2)
    for text in (
        sources([evil], io.StringIO()),
        footnotes(answer(Citation(1, evil, evil.chunk.text, 0, 9, True)), io.StringIO()),
        stages([evil], io.StringIO()),
    ):
        assert "\x1b" not in text and "\x07" not in text


def test_stages_show_ranks_and_what_a_stage_did_not_see():
    seen = hit("a")
    seen = type(seen)(seen.chunk, 0.9, {"dense": Rank(2, 0.5), "fused": Rank(1, 0.7)})
    unseen = type(seen)(seen.chunk, 0.8, {"fused": Rank(2, 0.6)})
    lines = stages([seen, unseen], io.StringIO()).splitlines()
    assert "2 (0.500)" in lines[2] and lines[3].split()[1] == "-"


def test_what_answers_is_bold_and_what_was_not_found_is_yellow(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    assert token(Token("Paris", exact=True), out) == "Paris"
    out.isatty = lambda: True
    assert token(Token("Paris", exact=True), out) == "\x1b[1mParis\x1b[0m"
    assert token(Token(f" {UNSUPPORTED_MARK}"), out) == f"\x1b[33m {UNSUPPORTED_MARK}\x1b[0m"
    assert token(Token("a\x1bb"), out) == "ab"
