"""Answers of a model that talks for long, and of one that makes things up."""

import json

import pytest
from playwright.sync_api import expect

from rag.page.conversations import Conversations

QUESTION = "How many generations of each index does Footnote keep?"
INVENTED = "Queen Victoria wrote the parser in 1871."


@pytest.fixture
def listener(visit, talking_server, talker):
    """Somebody at the page with the model on a server, which begins anew."""
    talker.faults.pause_s = 0.0
    talker.prefix[:] = []
    talker.left_early.clear()
    return visit(talking_server)


def begun(listener, talker, words="Well, let me see. "):
    """Ask of a model that says a piece ten times a second, and wait until it has begun to speak."""
    talker.faults.pause_s = 0.1
    talker.prefix[:] = words.split() * 100
    listener.type(QUESTION)
    expect(listener.page.locator(".answer .cursor")).to_be_visible()
    expect(listener.page.locator(".answer").last).to_contain_text("let me see")


def test_stop_ends_the_model_and_keeps_what_was_said(listener, talker, talking_server):
    begun(listener, talker)
    listener.page.get_by_role("button", name="Stop").click()
    assert talker.left_early.wait(8)  # it would have gone on for 16 seconds
    expect(listener.answers).to_have_count(1)
    expect(listener.answers.last.locator(".answer")).to_contain_text("let me see")
    kept = Conversations(talking_server.place.conversations)
    exchange = kept.exchanges(kept.newest()[0].id)[-1]
    assert "let me see" in json.dumps(exchange.answer["answer"])


def test_a_page_that_is_loaded_anew_goes_on_with_the_answer(listener, talker):
    begun(listener, talker)
    listener.page.reload()
    expect(listener.page.locator(".answer .cursor")).to_be_visible()
    expect(listener.page.locator(".answer").last).to_contain_text("let me see")
    listener.page.get_by_role("button", name="Stop").click()
    expect(listener.answers).to_have_count(1)
    listener.page.reload()
    expect(listener.answers).to_have_count(1)
    expect(listener.answers.last.locator(".answer")).to_contain_text("let me see")


def test_what_no_passage_says_is_marked(listener, talker):
    talker.prefix[:] = INVENTED.split()
    answer = listener.ask(QUESTION)
    expect(answer.locator(".unsupported").first).to_have_text(INVENTED)
    expect(answer.locator(".not-found").first).to_be_visible()
    line = answer.locator(".unsupported").first.evaluate("it => getComputedStyle(it).textDecorationLine")
    assert line == "underline"
