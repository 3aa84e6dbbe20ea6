"""All text can be read, in light and in dark: the contrast that WCAG 2.2 asks for at level AA."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

LEAST = 4.5
SCRIPT = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
QUESTION = "How many generations of each index does Footnote keep?"
INVENTED = "Queen Victoria wrote the parser in 1871."


def too_low(visitor):
    visitor.settle()
    return visitor.page.evaluate(SCRIPT, LEAST)


@pytest.fixture(params=["light", "dark"])
def reader(request, visit, talking_server, talker):
    talker.faults.pause_s = 0.0
    talker.prefix[:] = INVENTED.split()
    visitor = visit(talking_server, color_scheme=request.param)
    visitor.page.add_style_tag(content="* { transition: none !important }")  # nothing half faded
    return visitor


def test_all_text_stands_out(reader):
    expect(reader.welcome).to_contain_text("Try one of these")
    assert too_low(reader) == []
    answer = reader.ask(QUESTION)
    answer.locator(".answer a.chip").first.click()
    expect(reader.panel.locator("mark").first).to_be_visible()
    reader.manage()
    assert too_low(reader) == []
    reader.page.keyboard.press("Escape")
    reader.act("Details")
    expect(reader.panel).to_contain_text("Rank and score")
    assert too_low(reader) == []
    reader.turn_to("Documents")
    expect(reader.page.get_by_role("heading", name="Documents in")).to_be_visible()
    assert too_low(reader) == []
    reader.turn_to("Model")
    expect(reader.page.get_by_role("heading", name="Language model")).to_be_visible()
    reader.name_model("bundled")
    reader.cap_memory("64MB")
    reader.page.get_by_role("button", name="What fits here?").click()
    expect(reader.page.locator("table.plans").last).to_contain_text("does not fit")
    assert too_low(reader) == []
