"""The guide in data/ is true to the program, and its questions have their answers in it."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rag import errors
from rag.places import CHECKOUT
from rag.settings import known_names

DATA = CHECKOUT / "data"
FILES = ("choosing-a-model.md", "errors.html", "privacy-and-formats.docx", "tuning-and-memory.pdf")
QUESTIONS = json.loads((Path(__file__).parent / "data" / "guide_questions.json").read_text(encoding="utf-8"))


def _load_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_guide", CHECKOUT / "scripts" / "build_guide.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


builder = _load_builder()


def _words(text: str) -> str:
    return " ".join(text.split())


def _docx_text(path: Path) -> str:
    import docx

    document = docx.Document(str(path))
    pieces = []
    for item in document.iter_inner_content():
        rows = (
            [[cell.text for cell in row.cells] for row in item.rows]
            if hasattr(item, "rows")
            else [[item.text]]
        )
        pieces += [text for row in rows for text in row]
    return "\n".join(pieces)


def _pdf_text(path: Path) -> str:
    """The pages' text without the number that each page carries."""
    import pypdfium2

    with pypdfium2.PdfDocument(path) as pdf:
        texts = [page.get_textpage().get_text_range() for page in pdf]
    assert all(text.endswith(f"\r\n{number}") for number, text in enumerate(texts, 1))
    return "\n".join(text.rpartition("\r\n")[0] for text in texts)


def _html_text(path: Path) -> str:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(path.read_text(encoding="utf-8"))
    assert tree.body is not None
    return tree.body.text(separator="")


@functools.cache
def text_of(name: str) -> str:
    path = DATA / name
    readers = {".docx": _docx_text, ".pdf": _pdf_text, ".html": _html_text}
    read = readers.get(path.suffix, lambda p: p.read_text(encoding="utf-8"))
    return _words(read(path))


def whole_guide() -> str:
    return " ".join(text_of(name) for name in FILES)


def test_the_folder_holds_the_guide_and_nothing_else() -> None:
    assert sorted(path.name for path in DATA.iterdir()) == sorted(FILES)
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 300_000


@pytest.mark.parametrize("name", list(builder.BUILDERS))
def test_built_file_says_what_its_source_and_the_settings_say(name: str) -> None:
    blocks = builder.blocks_of(name)
    texts = [text for block in blocks for text in (block.text, *(cell for row in block.rows for cell in row))]
    bare = re.sub(r"[\s\u2022]+", "", text_of(name))
    expected = re.sub(r"\s+", "", "".join(texts))
    assert bare == expected, "run python scripts/build_guide.py"


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        builder.build(folder)
    for name in builder.BUILDERS:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_pdf_has_a_title_and_an_outline_that_leads_to_its_headings() -> None:
    import pypdfium2

    with pypdfium2.PdfDocument(DATA / "tuning-and-memory.pdf") as pdf:
        assert pdf.get_metadata_value("Title") == "Tuning and memory"
        entries = [(entry.get_title(), entry.level, entry.get_dest().get_index()) for entry in pdf.get_toc()]
        pages = [_words(page.get_textpage().get_text_range()) for page in pdf]
    headings = [block for block in builder.blocks_of("tuning-and-memory.pdf") if block.kind.startswith("h")]
    assert [(title, level) for title, level, _ in entries] == [(b.text, int(b.kind[1]) - 1) for b in headings]
    assert all(title in pages[index] for title, _, index in entries)


@pytest.mark.parametrize("name", known_names())
def test_every_setting_is_in_the_guide(name: str) -> None:
    assert re.search(rf"(?<![\w.]){re.escape(name)}\b", text_of("tuning-and-memory.pdf"))


def _setting_like(text: str) -> set[str]:
    sections = "|".join(sorted({name.partition(".")[0] for name in known_names()}))
    return set(re.findall(rf"(?<![\w./-])(?:{sections})\.(?!py\b|md\b|toml\b|html\b|gguf\b)[a-z]\w+", text))


def test_the_guide_names_no_setting_that_does_not_exist() -> None:
    assert _setting_like(whole_guide()) == set(known_names())


def _error_classes(base: type[errors.RagError] = errors.RagError) -> list[type[errors.RagError]]:
    return [base, *(found for child in base.__subclasses__() for found in _error_classes(child))]


@pytest.mark.parametrize("error", _error_classes(), ids=lambda error: error.code)
def test_every_error_is_in_the_guide_with_its_exit_code(error: type[errors.RagError]) -> None:
    html = (DATA / "errors.html").read_text(encoding="utf-8")
    assert f"<tr><td>{error.code}</td><td>{error.exit_code}</td>" in html
    assert error.code == "error" or f'id="{error.code}"' in html


def test_the_guide_names_no_error_that_does_not_exist() -> None:
    html = (DATA / "errors.html").read_text(encoding="utf-8")
    listed = re.findall(r"<tr><td>(\w+)</td><td>\d+</td>", html)
    assert sorted(listed) == sorted({error.code for error in _error_classes()})


def _id(item: dict[str, Any]) -> str:
    return str(item["question"])


@pytest.mark.parametrize("item", [q for q in QUESTIONS if q.get("answerable", True)], ids=_id)
def test_each_answer_stands_in_the_file_named(item: dict[str, Any]) -> None:
    assert item["answer_contains"] in re.sub(r"`", "", text_of(item["file"]))


def test_there_are_questions_of_both_kinds_for_every_file() -> None:
    answerable = [q for q in QUESTIONS if q.get("answerable", True)]
    assert {q["file"] for q in answerable} == set(FILES)
    assert len({q["question"] for q in QUESTIONS}) == len(QUESTIONS)
    assert len(answerable) >= 40 and len(QUESTIONS) - len(answerable) >= 10


def test_the_guide_tells_how_many_generations_are_kept() -> None:
    from rag.store.live import KEPT

    assert f"keeps the {KEPT} newest generations" in text_of("tuning-and-memory.pdf")
    assert f"the {KEPT} newest generations are kept" in text_of("privacy-and-formats.docx")


def test_every_flag_in_the_guide_exists() -> None:
    programs = [CHECKOUT / "rag_query.py", *(CHECKOUT / "scripts").glob("*.py")]
    known = {
        flag
        for path in programs
        for flag in re.findall(r'"(--[a-z][\w-]+)"', path.read_text(encoding="utf-8"))
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", whole_guide())) <= known | {"--help"}
