"""The chat page as a person meets it, in the Chromium of this machine."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rag.errors import EngineMissing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FIELD = "[data-testid=stChatInputTextArea]:enabled"
MESSAGE = "[data-testid=stChatMessage]"
LIMIT_MS = 300_000
WATCH = """
const seen = window.seen = {};
const now = () => (performance.timeOrigin + performance.now()) / 1000;
const note = (name, there) => {  // when it is painted, not when it comes to be
  if (there && !(name in seen)) { seen[name] = null; requestAnimationFrame(() => { seen[name] = now(); }); }
};
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.tagName === "TEXTAREA") seen.asked = now();
}, true);
addEventListener("click", () => { seen.clicked = now(); delete seen.opened; delete seen.closed; }, true);
new MutationObserver(() => {
  const panel = document.querySelector(".st-key-panel");
  if (seen.clicked) note(panel ? "opened" : "closed", true);
  if (!seen.asked) return;
  const last = [...document.querySelectorAll("[data-testid=stChatMessage]")].at(-1);
  note("source", last?.querySelector(".notes li"));
  note("word", last?.querySelector(".answer")?.textContent);
  note("done", last?.querySelector(".acts"));
  note("failed", document.querySelector("[class*=st-key-error-], [data-testid=stException]"));
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
"""Notes when what is waited for is on the screen, in seconds since 1970."""


def chromium() -> str | None:
    """The program, by its usual names; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium without a window. Raises EngineMissing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise EngineMissing(
            "the package playwright, which drives the browser, is not installed",
            "Run `python scripts/run.py test` once; it installs the test tools.",
        ) from error
    if not (program := chromium()):
        raise EngineMissing("no Chromium is installed", "Install Chromium or Chrome, such that it is found.")
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if as_root else []
        with playwright.chromium.launch(executable_path=program, args=options) as launched:
            yield launched


@contextmanager
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """The page, opened by somebody who has never seen it, in a context of his own."""
    context = browser.new_context()
    try:
        yield Visit(context, address)
    finally:
        context.close()


class Visit:
    """One tab; `opened_s` is how long it took until somebody could type."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        context.set_default_timeout(LIMIT_MS)
        context.add_init_script(WATCH)
        self.page: Page = context.new_page()
        began = time.perf_counter()
        self.page.goto(address, wait_until="commit")
        self.page.wait_for_selector(FIELD)
        self.opened_s = time.perf_counter() - began

    def type(self, question: str) -> None:
        self.page.fill(FIELD, question)

    def enter(self) -> None:
        self.page.press(FIELD, "Enter")

    def answered(self) -> dict[str, float]:
        """When the browser had what: `asked`, `source`, `word`, `done` or `failed`, seconds since 1970."""
        from playwright.sync_api import TimeoutError

        try:
            self.page.wait_for_function("seen.done || seen.failed")
        except TimeoutError:  # a page that says nothing more has failed, too
            return {**self.page.evaluate("seen"), "failed": time.time()}
        seen: dict[str, float] = self.page.evaluate("seen")
        return seen

    def click(self, selector: str, outcome: str) -> float:
        """Seconds from a click until the panel beside the chat is painted "opened", or "closed"."""
        self.page.wait_for_selector("[data-test-script-state=notRunning]")
        self.page.click(selector)
        self.page.wait_for_function(f"seen.{outcome}")
        seconds: float = self.page.evaluate(f"seen.{outcome} - seen.clicked")
        return seconds

    def show_more(self, button: str) -> None:
        """Press a button that shows more messages, and wait until they are there."""
        before = len(self.messages())
        self.page.click(button)
        self.page.wait_for_function(f"document.querySelectorAll({MESSAGE!r}).length > {before}")
        self.page.wait_for_selector("[data-test-script-state=notRunning]")

    def messages(self) -> list[str]:
        """Questions and answers as they can be read, by turns."""
        return self.page.eval_on_selector_all(
            MESSAGE,
            "all => all.map(each => (each.querySelector('.answer') || each).textContent)",
        )
