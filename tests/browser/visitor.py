"""Somebody who uses the page: finds things as they are named there, and waits until they are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, expect

WAIT_MS = 90_000
"""For a machine that has other things to do; nothing takes a tenth of it on one that has not."""
PROBES = ("/_stcore/health", "/_stcore/host-config")
expect.set_options(timeout=WAIT_MS)


class Visitor:
    """A tab; what it asks of the network, what its console complains of, and every dialog are kept."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("dialog", self._dismiss)

    def _complain(self, text: str) -> None:
        self.complaints.append(text)

    def _hear(self, said: ConsoleMessage) -> None:
        """Streamlit looks for itself below the address of each page, before it looks at the root."""
        if said.type == "error" and not said.location["url"].endswith(PROBES):
            self._complain(said.text)

    def _dismiss(self, dialog: Dialog) -> None:
        self._complain(f"dialog: {dialog.message}")
        dialog.dismiss()

    @property
    def strangers(self) -> set[str]:
        """Hosts that were asked for something, beside the server of the page."""
        places = map(urlsplit, self.requests)
        here = urlsplit(self.url).netloc
        return {place.netloc for place in places if place.scheme in ("http", "https", "ws", "wss")} - {here}

    # Chat

    def open(self, path: str = "/") -> None:
        self.page.goto(self.url + path)
        expect(self.page.get_by_test_id("stSidebar")).to_be_attached()

    def turn_to(self, name: str) -> None:
        """Open the page Chat, Documents or Model."""
        self.page.get_by_test_id("stTopNavLink").filter(has_text=name).click()

    @property
    def welcome(self) -> Locator:
        return self.page.locator(".st-key-welcome")

    @property
    def answers(self) -> Locator:
        """All answers that are complete."""
        return self.page.get_by_test_id("stChatMessage").filter(has=self.page.locator(".acts"))

    def type(self, question: str) -> None:
        field = self.page.get_by_test_id("stChatInputTextArea")
        expect(field).to_be_enabled()
        field.fill(question)
        field.press("Enter")

    def ask(self, question: str) -> Locator:
        """The answer to a question, once it is complete."""
        before = self.answers.count()
        self.type(question)
        expect(self.answers).to_have_count(before + 1)
        expect(self.page.get_by_role("button", name="Answer again")).to_be_visible()
        return self.answers.last

    def act(self, name: str) -> None:
        """Click on what stands below the last answer: Copy, Good, Bad or Details."""
        self.answers.last.locator(".acts a").filter(has_text=name).click()

    @property
    def panel(self) -> Locator:
        return self.page.locator(".st-key-panel")

    @property
    def conversations(self) -> Locator:
        return self.page.locator(".st-key-conversations").get_by_role("button")

    def manage(self) -> None:
        """Open what can be done with this conversation."""
        self.page.get_by_role("button", name="Rename, export, delete").click()

    # Documents

    def upload(self, files: Sequence[Path]) -> None:
        """Drop files on the page, and wait until they are read in."""
        self.settle()
        if self.told.count():  # of what was read in before
            self.page.get_by_role("button", name="Understood").click()
            expect(self.told).to_have_count(0)
        self.page.locator("input[type=file]").set_input_files(files)
        self.page.get_by_role("button", name=re.compile(r"Read \d+ files? in")).click()
        expect(self.told).to_be_visible()

    @property
    def told(self) -> Locator:
        """How reading files in went; Streamlit may show what it told on the way for a moment more."""
        return self.page.locator(".st-key-progress").filter(has_text="Done:")

    def create(self, collection: str) -> None:
        self.page.get_by_label("A new collection").fill(collection)
        self.page.get_by_role("button", name="Create").click()
        expect(self.page.get_by_role("heading", name=f"Documents in “{collection}”")).to_be_visible()

    # Model

    def name_model(self, model: str) -> None:
        """Type what model to use instead of the present one."""
        field = self.page.get_by_role("combobox", name="Model", exact=True)
        field.fill(model)
        field.press("Enter")
        self.settle()

    def cap_memory(self, size: str) -> None:
        """Say how much memory a model may take."""
        field = self.page.get_by_label("At most so much memory")
        field.fill(size)
        field.press("Tab")
        self.settle()

    def settle(self) -> None:
        """Wait until the script has run to its end, and all is drawn."""
        expect(self.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        expect(self.page.get_by_test_id("stSkeleton")).to_have_count(0)
