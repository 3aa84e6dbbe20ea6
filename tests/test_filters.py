"""Filters act inside both searches, and say what there is when they let nothing through."""

from datetime import date

import numpy as np
import pytest

from rag.errors import IndexMissing, UsageError
from rag.filters import Filters, first_day, resolve
from rag.retrieval import Retriever
from rag.settings import RetrievalSettings
from tests.fakes import HashingEmbedder, OverlapReranker
from tests.shelves import shelve

FILES = {
    "/d/a.pdf": ["cats sleep all day", "dogs bark at night"],
    "/d/old/a.pdf": ["cats slept all night"],
    "/d/notes.md": ["cats purr"],
    "/d/copy.md": ["the rent is due in May"],
    "/d/lease/copy.txt": ["the rent is due in May"],
    "/d/table.xlsx": ["cats 4"],
}
CHANGED = {"/d/a.pdf": "2024-06-01", "/d/notes.md": "2023-12-31", "/d/lease/copy.txt": "2024-05-31"}
FAILED = {"/d/scan.pdf": "is protected by a password"}


@pytest.fixture
def generation(tmp_path):
    with shelve(tmp_path, FILES, HashingEmbedder(), CHANGED, FAILED).open() as opened:
        yield opened


def passing(generation, **fields):
    scope = resolve(Filters(**fields), generation)
    chunks = generation.chunks(scope.allowed).values()
    assert {chunk.document_id for chunk in chunks} == set(scope.paths)
    return sorted(set(scope.paths.values()))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"within": ("*.pdf",)}, ["/d/a.pdf", "/d/old/a.pdf"]),
        ({"within": ("old/", "notes.md")}, ["/d/notes.md", "/d/old/a.pdf"]),
        ({"within": ("lease",)}, ["/d/lease/copy.txt"]),
        ({"since": date(2024, 5, 31)}, ["/d/a.pdf", "/d/lease/copy.txt"]),
        ({"since": date(2024, 6, 1)}, ["/d/a.pdf"]),
        ({"kinds": ("PDF",)}, ["/d/a.pdf", "/d/old/a.pdf"]),
        ({"kinds": (".md", "sheet")}, ["/d/copy.md", "/d/notes.md", "/d/table.xlsx"]),
        ({"kinds": ("markdown",), "within": ("notes.*",)}, ["/d/notes.md"]),
        ({"kinds": ("txt",)}, ["/d/lease/copy.txt"]),
    ],
)
def test_each_filter_lets_through_what_it_says(generation, fields, expected):
    assert passing(generation, **fields) == expected


def test_no_filter_lets_all_through(generation):
    assert not Filters()
    assert resolve(Filters(), generation).allowed is None


@pytest.mark.parametrize(
    ("fields", "message", "fix"),
    [
        ({"within": ("*.pdf", "nots.md")}, "--in nots.md", "Nearest: notes.md"),
        ({"within": ("scan.pdf",)}, "--in scan.pdf", "(failed): is protected by a password"),
        ({"kinds": ("docx",)}, "--type docx", "pdf (2), md (2), txt (1), xlsx (1)"),
        ({"since": date(2025, 1, 1)}, "--since 2025-01-01", "2024-06-01"),
        ({"kinds": ("xlsx",), "within": ("*.md",)}, "together", "Leave one"),
        ({"since": date(2024, 6, 1), "kinds": ("md",)}, "together", "Leave one"),
    ],
)
def test_what_lets_nothing_through_says_what_there_is(generation, fields, message, fix):
    with pytest.raises(UsageError) as raised:
        resolve(Filters(**fields), generation)
    assert message in raised.value.message and fix in raised.value.fix


def test_filters_on_an_empty_index_ask_for_documents(tmp_path):
    with shelve(tmp_path, {}, HashingEmbedder()).open() as empty, pytest.raises(IndexMissing) as raised:
        resolve(Filters(kinds=("pdf",)), empty)
    assert "scripts/ingest.py" in raised.value.fix


def test_a_passage_is_placed_in_the_file_that_was_asked_for(generation):
    retriever = Retriever(generation, HashingEmbedder(), None, RetrievalSettings())
    question = "When is the rent due?"
    assert retriever.search(question)[0].chunk.path == "/d/copy.md"
    inside = retriever.search(question, filters=Filters(within=("lease/",)))
    assert [hit.chunk.path for hit in inside] == ["/d/lease/copy.txt"]


def test_a_filtered_search_is_a_brute_force_search_of_what_passes(tmp_path):
    """Also where every passage that passes lies far behind the depth of the unfiltered searches."""
    embedder = HashingEmbedder()
    rng = np.random.default_rng(4)
    words = [f"word{n}" for n in range(40)]
    near = {f"/d/near/{n}.md": [f"cats sleep day {n} " + " ".join(rng.choice(words, 2))] for n in range(30)}
    far = {f"/d/far/{n}.txt": [f"cats {n} " + " ".join(rng.choice(words, 12))] for n in range(12)}
    settings = RetrievalSettings(dense_depth=8, lexical_depth=8, top_k=8, dense_weight=1)
    question = "cats sleep day"
    with shelve(tmp_path, near | far, embedder).open() as generation:
        retriever = Retriever(generation, embedder, None, settings)
        assert all("near" in hit.chunk.path for hit in retriever.search(question))
        filters = Filters(kinds=("txt",))
        hits = retriever.search(question, filters=filters)
        query = embedder.embed_query(question)
        cosines = {path: float(embedder.embed_query(pages[0]) @ query) for path, pages in far.items()}
        assert [hit.score for hit in hits] == pytest.approx(sorted(cosines.values(), reverse=True)[:8])
        assert all(hit.score == pytest.approx(cosines[hit.chunk.path]) for hit in hits)
        whole = Retriever(generation, embedder, OverlapReranker(), RetrievalSettings())
        assert len(whole.search(question, 12, filters)) == 12


TODAY = date(2024, 3, 31)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2023-05-09", date(2023, 5, 9)),
        ("2023-05-09T12:30", date(2023, 5, 9)),
        ("30d", date(2024, 3, 1)),
        ("2w", date(2024, 3, 17)),
        ("1m", date(2024, 2, 29)),
        ("6M", date(2023, 9, 30)),
        ("1y", date(2023, 3, 31)),
        ("0d", TODAY),
    ],
)
def test_a_date_may_be_absolute_or_so_long_ago(text, day):
    assert first_day(text, TODAY) == day


@pytest.mark.parametrize("text", ["soon", "31.05.2024", "2024-13-01", "30", "d", "-3d", "9999y", ""])
def test_what_is_no_date_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="is no date") as raised:
        first_day(text, TODAY)
    assert "2024-05-31" in raised.value.fix
