"""What a footnote opens: the page of the PDF with the passage marked, and the passage as text."""

import base64
import io

import pytest
from playwright.sync_api import expect

QUESTION = "How many generations of each index does Footnote keep?"
QUOTE = "Footnote keeps the 3 newest generations of each index"


@pytest.fixture
def asked(visitor):
    visitor.ask(QUESTION)
    return visitor


def pixels(image):
    """The bytes of a picture, as the browser got them."""
    from PIL import Image

    script = """async (image) => {
        const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    }"""
    return Image.open(io.BytesIO(base64.b64decode(image.evaluate(script)))).convert("RGB")


def yellow(picture):
    """The share of a picture that has the colour of a marker."""
    colours = picture.getcolors(picture.width * picture.height)
    marked = sum(count for count, (red, green, blue) in colours if red > 220 and green > 180 and blue < 180)
    return marked / (picture.width * picture.height)


def test_a_footnote_shows_the_page_of_the_pdf_with_its_words_marked(asked):
    asked.answers.last.locator(".answer a.chip").first.click()
    expect(asked.panel.locator("mark").first).to_contain_text(QUOTE)
    expect(asked.panel.locator(".path").first).to_contain_text("tuning-and-memory.pdf")
    image = asked.panel.get_by_role("img").first
    expect(image).to_be_visible()
    assert 0.001 < yellow(pixels(image)) < 0.1
    asked.panel.get_by_role("button", name="Close").click()
    expect(asked.panel).to_have_count(0)


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_footnote_opens_with_the_keyboard_alone(asked, key):
    asked.page.get_by_test_id("stChatInputTextArea").focus()
    chip = asked.answers.last.locator(".answer a.chip").first
    for _ in range(40):
        asked.page.keyboard.press("Shift+Tab")
        if chip.evaluate("chip => chip === document.activeElement"):
            break
    expect(chip).to_be_focused()
    asked.page.keyboard.press(key)
    expect(asked.panel.locator("mark").first).to_contain_text(QUOTE)
