"""Documents that come through the page, and collections."""

import pytest
from playwright.sync_api import expect


@pytest.fixture
def librarian(visitor):
    visitor.turn_to("Documents")
    expect(visitor.page.get_by_role("heading", name="Documents in")).to_be_visible()
    return visitor


@pytest.fixture
def lease(tmp_path):
    import docx

    document = docx.Document()
    document.add_heading("Lease of the boathouse", 1)
    document.add_paragraph("The lease of the boathouse ends on 30 September 2031.")
    document.add_paragraph("The rent of the boathouse is 640 pounds a month.")
    document.save(tmp_path / "boathouse.docx")
    return tmp_path / "boathouse.docx"


def test_an_uploaded_document_answers_questions(librarian, lease, server):
    librarian.upload([lease])
    expect(librarian.told).to_contain_text("boathouse.docx: read")
    assert (server.place.data / "uploads" / "default" / "boathouse.docx").read_bytes() == lease.read_bytes()
    librarian.turn_to("Chat")
    answer = librarian.ask("When does the lease of the boathouse end?")
    expect(answer.locator(".answer strong").first).to_have_text("30 September 2031")
    answer.locator(".answer a.chip").first.click()
    expect(librarian.panel.locator("mark").first).to_contain_text("ends on 30 September 2031")


def test_a_broken_file_is_named_with_the_reason(librarian, tmp_path):
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of a PDF follows")
    (tmp_path / "nothing.txt").write_bytes(b"")
    librarian.upload([tmp_path / "broken.pdf", tmp_path / "nothing.txt"])
    expect(librarian.told).to_contain_text("1 failed")
    expect(librarian.told).to_contain_text("broken.pdf: ")
    expect(librarian.told).not_to_contain_text("broken.pdf: read")
    expect(librarian.told).to_contain_text("nothing.txt: the file is empty")


def test_a_collection_is_made_filled_and_left(librarian, lease):
    librarian.create("letters")
    expect(librarian.page.get_by_text("Nothing has been read into this collection yet.")).to_be_visible()
    librarian.upload([lease])
    librarian.turn_to("Chat")
    expect(librarian.welcome).to_contain_text("Ask about the documents in “letters”.")
    asked_elsewhere = librarian.ask("How many generations of each index does Footnote keep?")
    expect(asked_elsewhere.locator(".answer")).to_have_text("Not in your documents.")
    librarian.page.get_by_test_id("stSelectbox").get_by_role("combobox").click()
    librarian.page.get_by_role("option", name="default").click()
    expect(librarian.welcome).to_contain_text("Try one of these")
