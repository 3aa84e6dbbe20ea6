"""A browser for all tests of the page."""

from __future__ import annotations

import pytest

from rag.evaluation import page_browser


@pytest.fixture(scope="package")
def browser():
    """Closed before the tests of other folders begin: playwright's event loop is in the way of theirs."""
    if not page_browser.chromium():
        pytest.skip("no Chromium on this machine: install Debian's chromium, or Chrome")
    with page_browser.browser() as started:
        yield started
