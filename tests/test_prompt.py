"""The prompt stays within its budget and says what it left out."""

import pytest

from rag.errors import PromptTooLong
from rag.prompt import INSTRUCTIONS, build_prompt
from tests.fakes import EchoModel, hit

HITS = [hit(f"Passage number {n} " + "word " * 50) for n in range(5)]
COUNT = EchoModel().count_tokens


def test_passages_are_numbered_as_in_the_hits_and_the_instructions_come_first():
    prompt = build_prompt("What?", HITS, 1000, COUNT)
    assert prompt.messages[0].content == INSTRUCTIONS
    assert "[5]" in prompt.messages[1].content
    assert prompt.messages[1].content.endswith("Question: What?")
    assert prompt.used_hits == tuple(HITS) and prompt.dropped_hits == ()


@pytest.mark.parametrize("budget", [80, 150, 200, 300])
def test_the_budget_holds_and_dropped_passages_are_known(budget):
    prompt = build_prompt("What?", HITS, budget, COUNT)
    assert prompt.token_count == COUNT(prompt.messages) <= budget
    assert [*prompt.used_hits, *prompt.dropped_hits] == HITS
    assert len(prompt.used_hits) < 5


def test_a_question_beyond_the_budget_is_refused_with_figures():
    with pytest.raises(PromptTooLong, match="300"):
        build_prompt("word " * 500, HITS, 300, COUNT)
