"""Collections in a list, renamed and deleted: at once or not at all, and never under a writer's hands."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rag.errors import IndexLocked, IndexMissing, UsageError
from rag.store.collections import DocumentRow, Listed, collections, delete, documents, rename, unused
from rag.store.generation import Collection, list_collections
from rag.store.ledger import LedgerRow
from rag.store.live import DISCARDED
from rag.store.lock import LOCK_FILE, OWNER_FILE
from tests.store_samples import chunks_of, document, publish, put, texts, vector, writer_of

CATS = document("Cats purr when they are content.\nThey sleep all day.", "On cats", "/docs/cats.txt")
DOGS = document("Dogs bark at strangers.", "On dogs", "/docs/dogs.txt")


@pytest.fixture
def pets(tmp_path):
    collection = Collection(tmp_path, "pets")
    publish(collection, CATS, DOGS).close()
    return collection


def names(root):
    return sorted(path.name for path in root.iterdir())


def searched(generation):
    """Text, words and vectors, all asked for anew."""
    (row, _), *_ = generation.lexical.search("strangers", 5)
    near, _ = generation.vectors.search(vector(chunks_of(CATS)[0].searchable), 1)
    assert generation.chunks([row])[row].text == DOGS.text
    assert generation.chunks(near.tolist())[near[0]] == chunks_of(CATS)[0]
    return texts(generation)


def test_a_list_has_figures_and_what_is_damaged(tmp_path, pets):
    assert collections(tmp_path / "nothing") == []
    publish(Collection(tmp_path, "zoo"), CATS).close()
    publish(Collection(tmp_path, "cut"), CATS).close()
    (tmp_path / "cut" / "gen-000001" / "chunks.sqlite").write_bytes(b"")
    publish(Collection(tmp_path, "lost"), CATS).close()
    (tmp_path / "lost" / "CURRENT").write_text("gen-000001")
    (tmp_path / "stray").mkdir()
    cut, lost, ours, zoo = collections(tmp_path)
    status = pets.status()
    assert ours == Listed("pets", 2, 3, status.size_bytes, status.created)
    assert (zoo.name, zoo.documents, zoo.chunks, zoo.problem) == ("zoo", 1, 2, "")
    assert (cut.name, cut.chunks) == ("cut", 0) and "chunks.sqlite has 0 bytes" in cut.problem
    assert lost.name == "lost" and "does not name a generation" in lost.problem


def test_documents_make_a_table(pets):
    deck = document("First slide.\nSecond slide.\nThird.", "", "/docs/deck.pptx", unit="slide")
    with writer_of(pets) as writer:
        put(writer, deck, "/docs/deck.pptx", "/docs/the same.pptx")
        writer.put_ledger(LedgerRow("/old/x.pdf", "", 7, -(2**63), "application/pdf", "failed", "encrypted"))
        with writer.publish() as generation:
            cats, slides, _, same, failed = documents(generation)
    text, when = "text/plain", datetime(1970, 1, 1, tzinfo=UTC)
    size = len(CATS.text)
    assert cats == DocumentRow("/docs/cats.txt", "ok", "", text, size, when, 2, "page", 2, 1.0)
    size = len(deck.text)
    assert slides == DocumentRow("/docs/deck.pptx", "ok", "", text, size, when, 3, "slide", 3, 1.0)
    assert same == replace(slides, path="/docs/the same.pptx", status="duplicate")
    assert (failed.status, failed.reason, failed.pages, failed.chunks) == ("failed", "encrypted", None, 0)
    assert (failed.size_bytes, failed.modified.year) == (7, 1677)


def test_renaming_keeps_everything(tmp_path, pets):
    with pets.open() as reader:
        before = searched(reader)
        rename(tmp_path, "pets", "Haustiere.2")
        assert searched(reader) == before
    moved = Collection(tmp_path, "Haustiere.2")
    assert list_collections(tmp_path) == names(tmp_path) == ["Haustiere.2"]
    assert moved.verify().problems == () and not (moved.folder / OWNER_FILE).exists()
    with moved.open() as reader, pytest.raises(IndexMissing):
        assert searched(reader) == before
        pets.open()
    publish(moved, document("Birds sing.", "", "/docs/birds.txt")).close()
    assert moved.status().generation == 2
    publish(pets, CATS).close()
    assert [each.documents for each in collections(tmp_path)] == [3, 1]


def test_deleting_leaves_nothing_but_what_readers_hold(tmp_path, pets):
    publish(pets, document("Birds sing.", "", "/docs/birds.txt")).close()
    with pets.open() as reader:
        before = texts(reader)
        delete(tmp_path, "pets")
        assert names(tmp_path) == []
        assert searched(reader) == before
    with pytest.raises(IndexMissing):
        pets.open()
    publish(pets, CATS).close()
    assert pets.status().generation == 1


def test_damaged_collections_can_be_renamed_and_deleted(tmp_path, pets):
    (pets.folder / "CURRENT").write_text("nonsense")
    rename(tmp_path, "pets", "broken")
    assert [each.name for each in collections(tmp_path)] == ["broken"]
    delete(tmp_path, "broken")
    assert names(tmp_path) == []


def test_names_that_are_taken_or_impossible_are_refused(tmp_path, pets):
    publish(Collection(tmp_path, "zoo"), CATS).close()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    for name, why in {
        "zoo": "already a collection 'zoo'",
        "pets": "already",
        "../x": "cannot be the name",
        "con": "cannot be the name",
        "photos": "something else",
    }.items():
        with pytest.raises(UsageError, match=why):
            rename(tmp_path, "pets", name)
    for name in ("absent", "photos"):
        with pytest.raises(IndexMissing, match=name):
            rename(tmp_path, name, "new")
        with pytest.raises(IndexMissing, match=name):
            delete(tmp_path, name)
    assert names(tmp_path) == ["pets", "photos", "zoo"]
    with pytest.raises(UsageError, match="already"):
        unused(tmp_path, "zoo")
    assert unused(tmp_path, "new").folder == tmp_path / "new"


def test_nothing_moves_while_somebody_writes(tmp_path, pets):
    with writer_of(pets, task="reading docs"):
        for act in (lambda: rename(tmp_path, "pets", "new"), lambda: delete(tmp_path, "pets")):
            with pytest.raises(IndexLocked, match="reading docs"):
                act()
    first = writer_of(Collection(tmp_path, "new"), task="a first ingestion")
    with first, pytest.raises(IndexLocked, match="a first ingestion"):
        rename(tmp_path, "pets", "new")
    assert list_collections(tmp_path) == ["pets"]


def test_nobody_writes_while_it_moves(tmp_path, pets):
    met = []

    def step(name):
        with pytest.raises(IndexLocked):
            writer_of(pets)
        met.append(name)

    rename(tmp_path, "pets", "new", step)
    rename(tmp_path, "new", "pets")

    def deleted(name):
        if name == "set aside":
            step(name)

    delete(tmp_path, "pets", deleted)
    assert met == ["rename", "set aside"]


def test_the_name_of_an_ingestion_that_published_nothing_is_free(tmp_path, pets):
    writer = writer_of(Collection(tmp_path, "new"))
    put(writer, CATS)
    writer.close()
    assert (tmp_path / "new" / LOCK_FILE).exists()
    (tmp_path / "new" / ".tmp-1-dead").mkdir()
    rename(tmp_path, "pets", "new")
    assert names(tmp_path) == ["new"] and Collection(tmp_path, "new").status().documents == 2


KILLED = """
import sys
from pathlib import Path
import psutil
from rag.store import collections
def step(name):
    if name == sys.argv[2]:
        psutil.Process().kill()
if sys.argv[3:]:
    collections.rename(Path(sys.argv[1]), "pets", sys.argv[3], step)
else:
    collections.delete(Path(sys.argv[1]), "pets", step)
"""


def killed_at(root, step, *new):
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), step, *new])
    assert done.returncode not in (0, 1)


def test_killed_before_the_one_step_everything_is_there(tmp_path, pets):
    for step, *new in (("rename", "new"), ("set aside",)):
        killed_at(tmp_path, step, *new)
        assert pets.verify().problems == ()
        assert [each.name for each in collections(tmp_path)] == ["pets"]
    delete(tmp_path, "pets")
    assert names(tmp_path) == []


@pytest.mark.parametrize("by", ["deleting another", "writing another"])
def test_killed_after_it_nothing_is_there_and_the_next_change_cleans_up(tmp_path, pets, by):
    other = Collection(tmp_path, "other")
    publish(other, CATS).close()
    killed_at(tmp_path, "delete")
    left, kept = names(tmp_path)
    assert left.startswith(DISCARDED) and kept == "other"
    assert [each.name for each in collections(tmp_path)] == list_collections(tmp_path) == ["other"]
    assert not pets.exists()
    if by == "deleting another":
        delete(tmp_path, "other")
        assert names(tmp_path) == []
    else:
        publish(other, DOGS).close()
        assert names(tmp_path) == ["other"]
