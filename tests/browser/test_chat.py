"""Questions and answers on the page."""

from playwright.sync_api import expect


def test_an_answer_comes_in_pieces_with_its_exact_words_in_bold(visitor):
    visitor.type("How many generations of each index does Footnote keep?")
    expect(visitor.page.get_by_role("button", name="Stop")).to_be_visible()
    expect(visitor.page.get_by_test_id("stChatInputTextArea")).to_be_disabled()
    expect(visitor.page.locator("ul.notes").first).to_contain_text("tuning-and-memory.pdf p. 9")
    expect(visitor.answers).to_have_count(1)
    answer = visitor.answers.last.locator(".answer")
    expect(answer.locator("strong").first).to_have_text("3")
    expect(answer.locator("a.chip").first).to_have_attribute("title", "tuning-and-memory.pdf p. 9")


def test_what_the_documents_do_not_say_is_not_answered(visitor):
    answer = visitor.ask("Who won the football world cup in 1998?")
    expect(answer.locator(".answer")).to_have_text("Not in your documents.")
    expect(answer.locator("summary")).to_have_text("These passages come nearest:")
    expect(answer.locator("details li").first).to_be_visible()
    answer.locator("details a.chip").first.click()
    expect(visitor.panel.locator(".passage")).to_be_visible()
    expect(visitor.panel.locator("mark")).to_have_count(0)


def test_a_question_that_goes_on_from_the_one_before_is_made_whole(visitor):
    visitor.ask("How many generations of each index does Footnote keep?")
    follow_up = visitor.ask("And where does it keep the cache?")
    expect(follow_up.locator(".taken")).to_contain_text("Taken as:")


def test_details_tell_how_an_answer_came_about(visitor):
    visitor.ask("Which file formats can it read?")
    visitor.act("Details")
    for told in ("Search", "Whole answer", "Rank and score in each stage of the search"):
        expect(visitor.panel).to_contain_text(told)


def test_an_answer_can_be_given_once_more(visitor):
    visitor.ask("Who won the football world cup in 1998?")
    visitor.page.get_by_role("button", name="Answer again").click()
    expect(visitor.page.get_by_role("button", name="Stop")).to_be_visible()
    expect(visitor.page.get_by_role("button", name="Answer again")).to_be_visible()
    expect(visitor.answers).to_have_count(1)
