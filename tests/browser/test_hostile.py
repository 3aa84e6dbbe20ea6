"""Documents and questions that would like to be more than text."""

import pytest
from playwright.sync_api import expect

IMAGE = '<img src=x onerror="alert(1)">'
LINK = "[free beer](javascript:alert(2))"
REMOTE = "![seen](http://tracker.example/seen.png)"
SCRIPT = "<script>alert(3)</script>"
TEXT = f"The password of the cellar is swordfish {IMAGE} {LINK} {REMOTE} {SCRIPT}."


@pytest.fixture
def hostile(tmp_path):
    """A document whose name is no better than its text."""
    path = tmp_path / "cellar <b>&amp; [x](javascript:alert(4)) .txt"
    path.write_text(f"{TEXT}\n\nThe cellar has {IMAGE} nine barrels.\n", encoding="utf-8")
    return path


def harmless(visitor):
    """Nothing that the documents or questions wrote has become an element."""
    found = visitor.page.evaluate(
        "() => [...document.querySelectorAll('img[src=x], a[href^=javascript], script:not([src])')]"
        ".map((it) => it.outerHTML).filter((it) => it.includes('alert'))"
    )
    return found == [] and visitor.page.locator('img[src*="tracker"]').count() == 0


def test_hostile_documents_stay_text(visitor, hostile):
    visitor.turn_to("Documents")
    visitor.create("cellar")
    visitor.upload([hostile])
    assert harmless(visitor)
    visitor.turn_to("Chat")
    answer = visitor.ask("What is the password of the cellar?")
    expect(answer.locator(".answer")).to_contain_text(IMAGE)
    assert harmless(visitor)
    answer.locator(".answer a.chip").first.click()
    expect(visitor.panel.locator("mark").first).to_contain_text("swordfish")
    expect(visitor.panel.locator(".passage").first).to_contain_text(SCRIPT)
    assert harmless(visitor)
    visitor.act("Details")
    expect(visitor.panel).to_contain_text("Rank and score")
    assert harmless(visitor)


def test_hostile_questions_stay_text(visitor):
    question = f"Where is {IMAGE} {LINK} {REMOTE} {SCRIPT} **?"
    visitor.ask(question)
    expect(visitor.page.get_by_test_id("stChatMessage").first).to_contain_text(question)
    assert harmless(visitor)
    visitor.page.reload()
    expect(visitor.answers).to_have_count(1)
    assert harmless(visitor)
