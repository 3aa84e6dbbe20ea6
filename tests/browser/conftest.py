"""A server and a browser for all tests of the page, and a tab of its own for each of them."""

from __future__ import annotations

import pytest

from rag.evaluation.page_browser import browser as opened_browser
from rag.evaluation.page_browser import chromium
from rag.evaluation.page_server import Place, serving
from tests.browser.visitor import Visitor
from tests.openai_server import OpenAIServer


@pytest.fixture(scope="package")
def browser():
    """Closed before the tests of other folders begin: playwright's event loop is in the way of theirs."""
    if not chromium():
        pytest.skip("no Chromium on this machine: install Debian's chromium, or Chrome")
    with opened_browser() as started:
        yield started


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    """The page with the bundled model."""
    with serving(Place(tmp_path_factory.mktemp("page"))) as started:
        yield started


@pytest.fixture(scope="package")
def talker():
    """A model on a server, whose words are the answer: it says its `prefix`, and then repeats its prompt."""
    with OpenAIServer() as started:
        yield started


@pytest.fixture(scope="package")
def talking_server(tmp_path_factory, talker):
    """The page with that model."""
    its_words = {"FOOTNOTE_MODEL_MODEL": talker.url, "FOOTNOTE_ANSWER_LEAD": "model"}
    with serving(Place(tmp_path_factory.mktemp("talking"), its_words)) as started:
        yield started


@pytest.fixture
def visit(browser):
    """Opens a tab on a server. Whatever a test does, no request may leave this machine, nor anything fail."""
    visitors = []

    def opened(server, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        visitors.append(visitor := Visitor(context.new_page(), server.address))
        visitor.open()
        return visitor

    yield opened
    for visitor in visitors:
        visitor.page.context.close()
    assert all(visitor.requests for visitor in visitors)
    assert [visitor.strangers for visitor in visitors] == [set() for _ in visitors]
    assert [visitor.complaints for visitor in visitors] == [[] for _ in visitors]


@pytest.fixture
def visitor(visit, server):
    """Somebody at the page with the bundled model."""
    return visit(server)
