"""Narrow and wide windows."""

import pytest
from playwright.sync_api import expect

QUESTION = "How many generations of each index does Footnote keep?"
REFUSED = "Who won the football world cup in 1998?"
PHONE, DESK = {"width": 380, "height": 780}, {"width": 1920, "height": 1080}
LAPTOP = {"width": 1280, "height": 600}


def fits(visitor):
    """Whether nothing on the page makes it scroll sideways."""
    return visitor.page.evaluate(
        """() => [document.documentElement, document.querySelector(".stMain")]
            .every((it) => it.scrollWidth <= it.clientWidth)"""
    )


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_every_page_fits_its_window(visit, server, size):
    visitor = visit(server, viewport=size)
    for name, heading in (("Documents", "Documents in"), ("Model", "Language model")):
        visitor.open(f"/{name.lower()}")
        expect(visitor.page.get_by_role("heading", name=heading)).to_be_visible()
        assert fits(visitor), name


def test_on_a_phone_the_source_lies_over_the_chat_and_can_be_closed(visit, server):
    visitor = visit(server, viewport=PHONE, has_touch=True)
    answer = visitor.ask(QUESTION)
    assert fits(visitor)
    answer.locator(".answer a.chip").first.tap()
    expect(visitor.panel.locator("mark").first).to_be_attached()
    box = visitor.panel.bounding_box()
    assert box["x"] == 0 and box["width"] == PHONE["width"]
    assert box["height"] > 0.8 * PHONE["height"]
    assert fits(visitor)
    visitor.panel.get_by_role("button", name="Close").tap()
    expect(visitor.panel).to_have_count(0)
    expect(answer.locator(".answer")).to_be_visible()


def test_on_a_wide_screen_the_source_stays_beside_the_chat(visit, server):
    visitor = visit(server, viewport=DESK)
    answer = visitor.ask(QUESTION)
    answer.locator(".answer a.chip").first.click()
    expect(visitor.panel.locator("mark").first).to_be_visible()
    panel, said = visitor.panel.bounding_box(), visitor.answers.last.bounding_box()
    assert panel["x"] >= said["x"] + said["width"]
    assert panel["x"] + panel["width"] <= DESK["width"]
    assert fits(visitor)


def test_the_source_stays_in_sight_while_the_chat_goes_on(visit, server):
    visitor = visit(server, viewport=LAPTOP)
    visitor.ask(QUESTION).locator(".answer a.chip").first.click()
    expect(visitor.panel).to_be_visible()
    first = visitor.answers.first
    visitor.ask(REFUSED)
    expect(first).not_to_be_in_viewport()
    expect(visitor.panel.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
