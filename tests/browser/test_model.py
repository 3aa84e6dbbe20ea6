"""Models that do not fit, and what the page goes on with."""

import pytest
from playwright.sync_api import expect

from tests.sparse import sparse_folder


@pytest.fixture
def chooser(visitor, tmp_path):
    """Somebody who has typed the path of a model of 7.6 GB, and a cap of 1 GB."""
    folder = sparse_folder(tmp_path / "huge")
    visitor.turn_to("Model")
    visitor.name_model(str(folder))
    visitor.cap_memory("1GB")
    return visitor


def test_a_model_that_does_not_fit_is_explained_and_the_page_goes_on(chooser):
    chooser.page.get_by_role("button", name="What fits here?").click()
    expect(chooser.page.locator("table.plans").last).to_contain_text("✗ does not fit")
    chooser.page.get_by_role("button", name="Use this model").click()
    failed = chooser.page.locator(".st-key-failed")
    expect(failed).to_contain_text("was not loaded")
    expect(failed).to_contain_text("within 1,000 MB")
    chooser.turn_to("Chat")
    answer = chooser.ask("Who won the football world cup in 1998?")
    expect(answer.locator(".answer")).to_have_text("Not in your documents.")
    expect(chooser.page.get_by_test_id("stSidebar")).to_contain_text("SmolLM2-135M-Instruct answers")


def test_a_model_that_is_killed_while_it_loads_is_explained_and_the_next_way_is_tried(
    visitor, server, tmp_path
):
    folder = sparse_folder(tmp_path / "huge", num_hidden_layers=12)
    visitor.turn_to("Model")
    visitor.name_model(str(folder))
    expect(visitor.page.get_by_test_id("stSidebar")).to_contain_text("SmolLM2-135M-Instruct answers")
    (talking,) = server.workers()
    visitor.page.get_by_role("button", name="Use this model").click()
    loading, failed = visitor.page.locator(".st-key-loading"), visitor.page.locator(".st-key-failed")
    expect(loading).to_contain_text("shard")
    server.workers()[-1].kill()
    expect(loading).to_contain_text("That way failed: the process of huge was killed (SIGKILL)")
    while not failed.is_visible():
        for worker in server.workers():
            if worker != talking:
                worker.kill()
        visitor.page.wait_for_timeout(200)
    expect(failed).to_contain_text("Tried, and failed: the process of huge was killed (SIGKILL)")
    assert server.workers() == [talking]


def test_loading_can_be_stopped(visitor, server, tmp_path):
    folder = sparse_folder(tmp_path / "huge", num_hidden_layers=12)
    visitor.turn_to("Model")
    visitor.name_model(str(folder))
    before = server.workers()
    visitor.page.get_by_role("button", name="Use this model").click()
    expect(visitor.page.locator(".st-key-loading")).to_contain_text("shard")
    visitor.page.get_by_role("button", name="Stop loading it").click()
    expect(visitor.page.locator(".st-key-failed")).to_contain_text("You stopped it")
    assert server.workers() == before
    visitor.page.get_by_role("button", name="Understood").click()
    expect(visitor.page.locator(".st-key-failed")).to_have_count(0)
