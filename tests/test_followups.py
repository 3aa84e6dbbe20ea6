"""Questions of a conversation: which need the ones before, and what they become on their own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.followups import depends, standalone
from rag.types import Turn


def asked(*questions, answer=""):
    history = []
    for question in questions:
        history.append(Turn(question, standalone(question, history), answer))
    return history


@pytest.mark.parametrize(
    ("before", "question", "whole"),
    [
        ("What was the rent in 2022?", "And in 2023?", "What was the rent in 2023?"),
        ("What was the rent in 2022?", "2023?", "What was the rent in 2023?"),
        ("How did sales develop in May?", "and in June?", "How did sales develop in June?"),
        ("How many people live in Paris?", "What about Berlin?", "How many people live in Berlin?"),
        ("When did Tesla move to Paris?", "and to Graz?", "When did Tesla move to Graz?"),
        ("How do I cancel the contract?", "and for seniors?", "How do I cancel the contract for seniors?"),
        ("Who was Nikola Tesla?", "When was he born?", "When was Nikola Tesla born?"),
        ("When does the lease end?", "Can it be extended?", "Can the lease be extended?"),
        ("What is the capital of France?", "What is its population?", "What is France's population?"),
        ("Where is my key?", "Why?", "Where is my key? Why?"),
        ("How long do dogs sleep?", "and cats?", "How long do dogs sleep? and cats?"),
    ],
)
def test_a_question_that_continues_is_made_whole(before, question, whole):
    assert depends(question)
    assert standalone(question, asked(before)) == whole


@pytest.mark.parametrize(
    "question",
    [
        "Who signed the lease?",
        "What are ETFs?",
        "Who was Thomas Edison?",
        "How does the cloud service work and why should I use it?",
        "Are there deductions for commuters in this country?",
    ],
)
def test_a_question_of_its_own_stays_as_it_is(question):
    assert not depends(question)
    assert standalone(question, asked("Who was Nikola Tesla?")) == question


def test_the_first_question_stays_as_it_is():
    assert standalone("And in 2023?", []) == "And in 2023?"


def test_who_a_pronoun_means_may_stand_in_the_answer():
    history = asked("Who founded the company?", answer='"It was Ada Byron who founded it." [1]')
    assert standalone("Where did she live?", history) == "Where did Ada Byron live?"


def test_a_chain_of_short_questions_keeps_its_subject():
    history = asked("What was the rent in 2022?", "And in 2023?", "Why?")
    assert standalone("and in 2024?", history) == "What was the rent in 2024?"


def test_a_long_conversation_does_not_make_long_questions():
    history = asked("What was the rent in 2022?", *["Why?", "streaming services?", "any awards?"] * 16)
    assert len(history) == 49
    assert max(len(turn.standalone) for turn in history) < 60


@given(st.lists(st.text(max_size=40), max_size=5), st.text(max_size=40))
def test_any_conversation_is_read(before, question):
    assert question in standalone(question, asked(*before)) or depends(question)
