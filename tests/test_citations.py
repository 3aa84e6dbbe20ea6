"""Citation checking: what counts as supported, and what a checked stream looks like."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.citations import UNSUPPORTED_MARK, checked, footnoted, supported_only
from rag.quoting import quote
from rag.reading import BundledReader
from rag.types import Citation, Sentence, Span, Unsupported
from tests.fakes import hit

PAID = hit("The fee is 350 euros a year. Members pay it in March.", path="fees.pdf", page=4)
CATS = hit("Cats sleep sixteen hours a day. Dogs sleep less.", path="cats.txt")


def split(pieces):
    pieces = list(pieces)
    return "".join(p for p in pieces if isinstance(p, str)), [p for p in pieces if isinstance(p, Citation)]


def test_the_supporting_sentence_is_found_wherever_it_stands():
    citation = checked("Members pay in March.", [CATS, PAID])
    assert isinstance(citation, Citation)
    assert (citation.number, citation.quote, citation.verified) == (2, "Members pay it in March.", True)
    assert PAID.chunk.text[citation.start : citation.end] == citation.quote


def test_what_is_not_supported_names_the_problem_and_the_nearest_place():
    found = checked("Members pay in May.", [CATS, PAID])
    assert isinstance(found, Unsupported)
    assert (found.sentence, found.problem) == ("Members pay in May.", "May is not there")
    assert found.hit is PAID and PAID.chunk.text[slice(*found.span)] == "Members pay it in March."
    assert checked("Horses fly.", [CATS]).hit is None


def test_a_models_own_numbers_are_replaced_by_the_right_ones():
    text, citations = split(
        footnoted(["Cats sleep ", "sixteen hours [7", "]. Members pay ", "in March [1]."], [CATS, PAID])
    )
    assert text == "Cats sleep sixteen hours. [1] Members pay in March. [2]"
    assert [c.number for c in citations] == [1, 2]


def test_what_nothing_supports_is_marked():
    text, citations = split(footnoted(["Horses can fly to Jupiter."], [CATS, PAID]))
    assert text == f"Horses can fly to Jupiter. {UNSUPPORTED_MARK}"
    assert citations == []


def test_a_weak_models_words_are_kept_only_where_supported_and_new():
    said = '"Cats sleep sixteen hours a day." [1]'
    stream = ["Cats sleep sixteen hours a day. ", "Horses can fly. ", "Members pay it in March. And"]
    text, citations = split(supported_only(stream, [CATS, PAID], {1, 2}, said))
    assert text == " Members pay it in March. [2]"
    assert [c.number for c in citations] == [2]


def test_a_weak_models_swapped_subject_is_not_kept():
    stream = ["Dogs sleep sixteen hours a day. "]
    assert split(supported_only(stream, [CATS, PAID], {1, 2}, "")) == ("", [])


def test_a_weak_models_lost_negation_is_not_kept():
    locked = hit("You cannot write while the index is locked.")
    stream = ["You write while the index is locked. "]
    assert split(supported_only(stream, [locked], {1}, "")) == ("", [])


def test_a_weak_model_may_only_add_from_passages_that_were_quoted():
    stream = ["Members pay it in March. "]
    assert split(supported_only(stream, [CATS, PAID], {1}, "")) == ("", [])


def test_quoted_evidence_carries_the_number_of_its_passage():
    sentence = Sentence(PAID, "Members pay it in March.", 29, 53, 1.0)
    citation = quote(sentence, [CATS, PAID])
    assert (citation.number, citation.quote, citation.verified) == (2, PAID.chunk.text[29:53], True)


WORDS = st.lists(
    st.sampled_from("Cats fee 350 march [1] [12] [ ] . ! dogs sleep Zürich 🐈 \n".split(" ")), max_size=40
)


@given(WORDS, st.integers(1, 7))
def test_any_stream_gives_numbers_in_range_and_quotes_that_stand_in_the_passage(words, width):
    raw = " ".join(words)
    pieces = [raw[n : n + width] for n in range(0, len(raw), width)]
    text, citations = split(footnoted(pieces, [CATS, PAID]))
    assert all(1 <= c.number <= 2 for c in citations)
    assert all(c.hit.chunk.text[c.start : c.end] == c.quote for c in citations)
    assert "[12]" not in text


def found_in(source, exact):
    """The sentence in which a reader found an answer."""
    at = source.chunk.text.index(exact)
    end = source.chunk.text.index(".") + 1
    return Sentence(source, source.chunk.text[:end], 0, end, 9.0, Span(at, at + len(exact), 9.0))


def test_a_mere_answer_rests_on_what_the_reader_found():
    found = [found_in(PAID, "350 euros")]
    text, (citation,) = split(footnoted(["The answer is: 350 euros."], [CATS, PAID], found))
    assert text == "The answer is: 350 euros. [2]"
    assert (citation.quote, citation.exact) == ("The fee is 350 euros a year.", "350 euros")
    for wrong in ("The answer is: a year.", "Sixteen hours.", "The answer is: 530 euros."):
        pieces = list(footnoted([wrong], [CATS, PAID], found))
        assert pieces[-1] == f" {UNSUPPORTED_MARK}" and pieces[-2].hit is PAID
    assert UNSUPPORTED_MARK in split(footnoted(["350 euros."], [PAID]))[0]


def test_an_answer_that_only_repeats_the_question_is_none():
    found = [found_in(PAID, "350 euros")]
    for question, footnotes in (("What was 350 euros?", 0), ("What is the fee?", 1)):
        assert len(split(footnoted(["350 euros."], [PAID], found, question=question))[1]) == footnotes


def test_a_whole_statement_of_the_questions_words_is_no_answer_to_it():
    line = "Lord God, we do praise thee for thy mercy"
    hymn = hit(f'He called the Te Deum "{line}" in his hymn.')
    for question, footnotes in ((f"What was {line}?", 0), ("What is the hymn?", 1)):
        said = footnoted([f'The answer is: "{line}"'], [hymn], question=question)
        assert len(split(said)[1]) == footnotes


def test_the_reader_found_another_name_beside_the_same_surname():
    khans = hit("In 1237 Batu Khan, a grandson of Genghis Khan, invaded it.")
    found = [found_in(khans, "Batu Khan, a grandson of Genghis Khan")]
    assert split(footnoted(["Genghis Khan."], [khans], found))[1] == []
    assert len(split(footnoted(["The answer is: Batu Khan."], [khans], found))[1]) == 1


@pytest.mark.parametrize("round_", [["Cats sleep. "], ["Cats sleep ", "sixteen hours. ", "Cats bark. "]])
def test_a_model_that_goes_round_in_circles_ends(round_):
    rounds = []

    def circling():
        for n in range(100):
            rounds.append(n)
            yield from round_

    text, _ = split(footnoted(circling(), [CATS]))
    assert text.count("Cats sleep") == len(round_) // 2 + 1 and text.count("Cats bark") <= 1
    assert len(rounds) < 8


def test_what_a_list_says_under_each_heading_is_no_circle():
    term, line = "- Term: 12 months\n\n", "---\n\n"
    said = f"A:\n{term}{line}B:\n{term}{line}{line}C:\n{term}- End: May"
    text, _ = split(footnoted(re.findall(r"\s*\S+", said), [CATS]))
    assert [text.count(each) for each in ("Term: 12 months", "---", "End: May")] == [3, 3, 1]


def test_an_item_of_a_list_says_something_if_it_is_most_of_a_sentence():
    rent = hit("The tenant pays the heating costs. Thomas led the team with 105 receptions for 1,304 yards.")
    _, citations = split(
        footnoted(["- The tenant pays the heating costs.\n"], [rent], reader=BundledReader())
    )
    assert [citation.quote for citation in citations] == ["The tenant pays the heating costs."]
    assert split(footnoted(["- 105 receptions for 1,304 yards\n"], [rent], reader=BundledReader()))[1] == []


def test_two_sentences_support_one_that_joins_them():
    lease = hit("The lease began in May 2019. It ends in June 2024.")
    joined = ["The lease began in May 2019 and ends in June 2024."]
    assert len(split(footnoted(joined, [lease], reader=BundledReader()))[1]) == 1


@pytest.mark.parametrize(
    ("exact", "answer"),
    [
        ("10-20 mg", "10 mg."),
        ("100 to 500 euros", "500 euros."),
        ("9:30", "At 9."),
        ("3:1", "3."),
        ("before 1990", "After 1990."),
        ("1957", "Not in 1957."),
        ("no more than 5 euros", "More than 5 euros."),
    ],
)
def test_half_of_an_answer_and_its_opposite_are_not_the_answer(exact, answer):
    source = hit(f"It was {exact} then.")
    assert split(footnoted([answer], [source], [found_in(source, exact)]))[1] == []
    whole = f"The answer is: {exact}."
    assert len(split(footnoted([whole], [source], [found_in(source, exact)]))[1]) == 1


@given(
    st.lists(st.sampled_from(["Cats sleep. ", "Cats sleep less. ", "Dogs sleep less. ", "Cats"]), max_size=9)
)
def test_of_what_is_not_repeated_nothing_is_lost(sentences):
    once = list(dict.fromkeys(sentences))
    text = "".join(p for p in footnoted(once, [CATS]) if isinstance(p, str))
    assert re.sub(r" \[[^]]*\]", "", text).strip() == "".join(once).strip()


def test_what_a_weak_model_did_not_finish_is_left_out():
    assert list(supported_only(["Cats sleep sixteen hours"], [CATS], {1}, "")) == []


def test_a_weak_models_mere_answers_add_nothing():
    assert list(supported_only(["Sixteen hours."], [CATS], {1}, "How long?")) == []


def test_a_weak_model_may_add_what_holds_the_answer_and_nothing_beside_it():
    said = ["Members pay it in March."]
    assert split(supported_only(said, [PAID], {1}, "", "March"))[0] == " Members pay it in March. [1]"
    assert list(supported_only(said, [PAID], {1}, "", "350 euros")) == []
