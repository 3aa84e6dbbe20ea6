"""The first minute of a new user: nothing is there yet but the guide."""

import pytest
from playwright.sync_api import expect

from rag.evaluation.page_server import Place, serving

EXAMPLE = "How much memory does a 7B model need?"


@pytest.fixture
def new_server(tmp_path):
    with serving(Place(tmp_path)) as started:
        yield started


@pytest.fixture
def new_visitor(new_server, visit):
    return visit(new_server)


def test_a_new_user_gets_an_answer_with_two_clicks(new_visitor):
    expect(new_visitor.welcome).to_contain_text("Every sentence of an answer carries a footnote")
    new_visitor.welcome.get_by_role("button", name=EXAMPLE).click()  # while the guide is being read in
    expect(new_visitor.page.locator(".cursor, .searching").first).to_be_visible()
    expect(new_visitor.answers).to_have_count(1)
    answer = new_visitor.answers.last.locator(".answer")
    expect(answer.locator("strong").first).to_have_text("about 16 GB")
    answer.locator("a.chip").first.click()
    expect(new_visitor.panel.locator("mark").first).to_contain_text("about 16 GB in all")
    expect(new_visitor.conversations.first).to_have_text(EXAMPLE)
