"""What can be done with answers and conversations once they are there."""

import pytest
from playwright.sync_api import expect

from rag.page.conversations import Conversations

REFUSED = "Who won the football world cup in 1998?"
"""Refused, and so answered at once."""


@pytest.fixture
def kept(server):
    return Conversations(server.place.conversations)


@pytest.fixture
def asked(visitor):
    visitor.ask(REFUSED)
    return visitor


def test_thumbs_down_with_a_note_is_kept(asked, kept):
    asked.act("Bad")
    asked.panel.get_by_role("textbox").fill("It was France.")
    asked.panel.get_by_role("button", name="Keep").click()
    expect(asked.panel).to_have_count(0)
    expect(asked.answers.last.locator('a[aria-pressed="true"]')).to_have_text("Bad")
    exchange = kept.exchanges(kept.newest()[0].id)[-1]
    assert (exchange.question, exchange.vote, exchange.note) == (REFUSED, "down", "It was France.")


def test_a_vote_is_taken_back_with_another_click(asked, kept):
    asked.act("Good")
    expect(asked.answers.last.locator('a[aria-pressed="true"]')).to_have_text("Good")
    asked.act("Good")
    expect(asked.answers.last.locator('a[aria-pressed="true"]')).to_have_count(0)
    assert kept.exchanges(kept.newest()[0].id)[-1].vote is None


def test_an_answer_is_copied(asked):
    asked.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    asked.act("Copy")
    expect(asked.answers.last.locator(".acts")).to_contain_text("Copied")
    assert asked.page.evaluate("navigator.clipboard.readText()") == "Not in your documents."


def test_a_page_that_is_loaded_anew_has_its_conversation(asked):
    asked.page.reload()
    expect(asked.answers.last.locator(".answer")).to_have_text("Not in your documents.")


def test_a_conversation_gets_another_name_leaves_as_a_file_and_is_deleted(asked, kept):
    asked.manage()
    asked.page.get_by_label("Name", exact=True).fill("The cup")
    asked.page.get_by_label("Name", exact=True).press("Tab")
    asked.page.get_by_role("button", name="Rename", exact=True).click()
    expect(asked.conversations.first).to_have_text("The cup")
    assert "# The cup" in exported(asked, "Export as Markdown")
    assert '"title": "The cup"' in exported(asked, "Export as JSON")
    open_popover(asked)
    asked.page.get_by_text("Delete it for good").click()
    asked.page.get_by_role("button", name="Delete", exact=True).click()
    expect(asked.welcome).to_be_visible()
    expect(asked.conversations.filter(has_text="The cup")).to_have_count(0)
    assert "The cup" not in [each.title for each in kept.newest()]


def open_popover(visitor):
    """Open what manages a conversation, unless it is."""
    if not visitor.page.get_by_text("Delete it for good").is_visible():
        visitor.manage()
    expect(visitor.page.get_by_text("Delete it for good")).to_be_visible()


def exported(visitor, how):
    open_popover(visitor)
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name=how).click()
    return download.value.path().read_text(encoding="utf-8")
