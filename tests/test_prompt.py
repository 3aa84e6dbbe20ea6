"""The prompt stays within its budget and says what it left out."""

import pytest

from rag.errors import PromptTooLong
from rag.prompt import EXCERPT_WORDS, INSTRUCTIONS, build_prompt, excerpts
from rag.types import Citation
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


def cited(found, quote, number=1):
    start = found.chunk.text.index(quote)
    return Citation(number, found, quote, start, start + len(quote), True)


def test_a_small_model_reads_the_quote_and_the_sentences_around_it():
    sentences = [f"Sentence {n} has {'many ' * 16}words." for n in range(12)]
    found = hit(" ".join(sentences))
    (excerpt,) = excerpts([cited(found, sentences[6])])
    assert excerpt.chunk.text == " ".join(sentences[4:8])
    assert len(excerpt.chunk.text.split()) <= EXCERPT_WORDS
    assert found.chunk.text[excerpt.chunk.start : excerpt.chunk.end] == excerpt.chunk.text


def test_two_quotes_of_a_passage_make_one_excerpt_and_passages_keep_their_order():
    first, second = hit("Cats sleep. Dogs bark. Fish swim."), hit("Birds sing.")
    quoted = [
        cited(second, "Birds sing.", 2),
        cited(first, "Fish swim.", 1),
        cited(first, "Cats sleep.", 1),
    ]
    assert [each.chunk.text for each in excerpts(quoted)] == [first.chunk.text, second.chunk.text]
