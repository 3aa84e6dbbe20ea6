"""Take the pictures of the chat page that the README shows: `python scripts/screenshots.py`.

A server of its own answers from the guide and from three small files, so that the pictures change only where
the page does; but for measured memory. Needs the packages of the extra "dev", and Chromium.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, expect  # noqa: E402  (the line above makes the rest importable)

from rag.evaluation.page_browser import browser as opened_browser  # noqa: E402
from rag.evaluation.page_browser import chromium  # noqa: E402
from rag.evaluation.page_server import Place, Server, serving  # noqa: E402
from rag.page.conversations import Conversations  # noqa: E402
from tests.browser.visitor import Visitor  # noqa: E402

DESK, PHONE = (1280, 800), (380, 780)
ANSWERED = "How many generations of each index does Footnote keep?"
REFUSED = "Who won the football world cup in 1998?"
FILES = {
    "boathouse-lease.md": b"# Lease of the boathouse\n\nThe lease ends on 30 September 2031.\n",
    "rent.csv": b"month,rent\nJanuary,640\nFebruary,640\n",
    "scan-from-the-archive.pdf": b"%PDF-1.4\nthe rest of this file was lost",
}

WITHOUT_SECONDS = """() => document.querySelectorAll('a[data-do="details"]')
    .forEach((link) => { link.textContent = "Details"; })"""

Scene = Callable[[Visitor, Path], None]
"""Brings the page to where its picture is taken; the folder is for files that this needs."""


def chat(visitor: Visitor, _: Path) -> None:
    visitor.ask(ANSWERED)
    visitor.ask(REFUSED)


def source(visitor: Visitor, _: Path) -> None:
    answer = visitor.ask(ANSWERED)
    answer.locator(".answer a.chip").first.click()
    expect(visitor.panel.locator("mark").first).to_be_attached()
    expect(visitor.panel.get_by_role("img").first).to_be_visible()


def documents(visitor: Visitor, folder: Path) -> None:
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    visitor.turn_to("Documents")
    visitor.upload([folder / name for name in FILES])


def too_large(visitor: Visitor, _: Path) -> None:
    """A model that does not fit: every way to run it with the reason, and what the loader says."""
    visitor.turn_to("Model")
    visitor.cap_memory("64MB")
    visitor.page.get_by_role("button", name="What fits here?").click()
    table = visitor.page.locator("table.plans").last
    expect(table).to_contain_text("does not fit")
    table.scroll_into_view_if_needed()


def failure(visitor: Visitor, _: Path) -> None:
    visitor.turn_to("Model")
    visitor.cap_memory("64MB")
    visitor.page.get_by_role("button", name="Use this model").click()
    expect(visitor.page.locator(".st-key-failed")).to_contain_text("was not loaded")


def loading(visitor: Visitor, folder: Path) -> None:
    """A model while it is read, shard by shard, with its memory against what it may take."""
    from rag.evaluation.plain_model import plain_folder

    model = plain_folder(folder / "SmolLM2-135M-Instruct", "float32", "50MB")
    visitor.turn_to("Model")
    visitor.name_model(str(model))
    visitor.page.get_by_role("button", name="Use this model").click()
    progress = visitor.page.locator(".st-key-loading")
    expect(progress).to_contain_text("shard", timeout=60_000)
    progress.evaluate("element => element.scrollIntoView({block: 'center'})")


SCENES: dict[str, tuple[Scene, tuple[int, int], bool]] = {
    "chat-light": (chat, DESK, False),
    "chat-dark": (chat, DESK, True),
    "source": (source, DESK, False),
    "phone": (chat, PHONE, False),
    "phone-source": (source, PHONE, False),
    "documents": (documents, DESK, False),
    "model": (too_large, DESK, False),
    "failure": (failure, DESK, False),
    "loading": (loading, DESK, False),
}
"""Names of pictures, with what they show, the window's size and whether it is dark."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "page", help="folder for the PNGs")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES), help="names of pictures")
    flags = parser.parse_args(arguments)
    if not chromium():
        print("no Chromium on this machine: install Debian's chromium, or Chrome", file=sys.stderr)
        return 1
    flags.output.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="footnote-") as folder,
        serving(Place(Path(folder))) as server,
        opened_browser() as browser,
    ):
        for name in flags.only:
            picture = _taken(browser, server, *SCENES[name], Path(folder))
            (flags.output / f"{name}.png").write_bytes(picture)
            print(f"{name}.png: {len(picture) // 1000} KB", flush=True)
    return 0


def _taken(
    browser: Browser, server: Server, scene: Scene, size: tuple[int, int], dark: bool, folder: Path
) -> bytes:
    for kept in (conversations := Conversations(server.place.conversations)).newest():
        conversations.delete(kept.id)  # those of the pictures before
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
    )
    with context:
        visitor = Visitor(context.new_page(), server.address)
        visitor.open()
        expect(visitor.page.get_by_test_id("stSidebar")).to_contain_text("answers")  # the model is loaded
        scene(visitor, folder)
        visitor.settle()
        visitor.page.evaluate(WITHOUT_SECONDS)
        return _smaller(visitor.page.screenshot(animations="disabled"))


def _smaller(png: bytes) -> bytes:
    """The picture with the 256 colours that suit it best, a third of the size."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
