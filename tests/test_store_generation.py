"""Collections: what is published is what was put, and anything else is a named error."""

import hashlib
import json
import sqlite3
import threading

import numpy as np
import pytest

from rag.errors import IndexDamaged, IndexLocked, IndexMismatch, IndexMissing, IndexWriteFailed, UsageError
from rag.settings import ChunkSettings
from rag.store.chunks import text_hash
from rag.store.generation import Collection, list_collections
from rag.store.lexical import LexicalSettings
from rag.store.manifest import MANIFEST, EmbedderIdentity, Manifest
from tests.store_samples import (
    CHUNKING,
    IDENTITY,
    chunks_of,
    document,
    ledger_row,
    publish,
    put,
    texts,
    vector,
    writer_of,
)

CATS = document("Cats purr when they are content.\nThey sleep all day.", "On cats", "/docs/cats.txt")
DOGS = document("Dogs bark at strangers.", "On dogs", "/docs/dogs.txt")
BIRDS = document("Birds sing at dawn.\nSome fly south.", "", "/docs/birds.txt")


@pytest.fixture
def collection(tmp_path):
    return Collection(tmp_path, "pets")


def test_what_was_put_comes_back(collection):
    with publish(collection, CATS, DOGS) as generation:
        rows = generation.chunk_ids().tolist()
        assert list(generation.chunks(rows).values()) == [*chunks_of(CATS), *chunks_of(DOGS)]
        assert generation.chunks([999, rows[1]]) == {rows[1]: chunks_of(CATS)[1]}
        assert generation.document_text(CATS.id) == CATS.text
        assert [(d.title, d.paths, d.chunks) for d in generation.documents()] == [
            ("On cats", ("/docs/cats.txt",), 2),
            ("On dogs", ("/docs/dogs.txt",), 1),
        ]
        assert generation.ledger() == [ledger_row(d.path, d) for d in (CATS, DOGS)]
        assert (generation.number, generation.chunk_count) == (1, 3)
        with pytest.raises(KeyError):
            generation.document_text("unknown")


def test_the_three_parts_speak_of_the_same_rows(collection):
    with publish(collection, CATS, DOGS) as generation:
        row = generation.chunk_ids([DOGS.id]).tolist()
        searchable = chunks_of(DOGS)[0].searchable
        assert generation.vectors.search(vector(searchable), 1)[0].tolist() == row
        assert [id for id, _ in generation.lexical.search("barking dogs", 1)] == row
        assert generation.lexical.search("sleep", 5, allowed=row) == []


def test_nothing_is_visible_before_publish_and_leaving_discards(collection):
    publish(collection, CATS).close()
    with writer_of(collection) as writer:
        put(writer, DOGS)
        with collection.open() as generation:
            assert set(texts(generation).values()) == {chunk.text for chunk in chunks_of(CATS)}
    assert collection.generations() == [1]
    assert [path.name for path in collection.folder.glob(".tmp-*")] == []
    with pytest.raises(ValueError, match="closed"):
        put(writer, DOGS)


def test_a_changed_file_replaces_its_document(collection):
    publish(collection, CATS, DOGS).close()
    changed = document("Cats hiss.", "On cats", CATS.path)
    with publish(collection, changed) as generation:
        assert sorted(texts(generation).values()) == ["Cats hiss.", "Dogs bark at strangers."]
        assert generation.lexical.search("purr", 5) == []
        assert generation.vectors.ids().tolist() == generation.chunk_ids().tolist() != []
        assert [row.document_id for row in generation.ledger()] == [changed.id, DOGS.id]
    assert collection.verify().problems == ()


def test_deletes_reach_text_vectors_postings_and_ledger(collection):
    publish(collection, CATS, DOGS).close()
    with writer_of(collection) as writer:
        writer.remove_document(CATS.id)
        writer.remove_document("never heard of")
        generation = writer.publish()
    with generation:
        assert set(texts(generation).values()) == {"Dogs bark at strangers."}
        assert generation.lexical.search("cats purr content sleep", 5) == []
        assert len(generation.vectors) == len(generation.lexical) == 1
        assert [row.path for row in generation.ledger()] == [DOGS.path]
        raw = sqlite3.connect(generation.folder / "chunks.sqlite")
        assert raw.execute("SELECT count(*) FROM chunks WHERE document_id = ?", [CATS.id]).fetchone() == (0,)
        raw.close()
    assert collection.verify().problems == ()


def test_a_document_lives_as_long_as_a_path_holds_it(collection):
    with writer_of(collection) as writer:
        put(writer, CATS, "/b/copy.txt", "/a/cats.txt")
        writer.publish().close()
    with collection.open() as generation:
        assert {chunk.path for chunk in generation.chunks(generation.chunk_ids()).values()} == {"/a/cats.txt"}
        assert [row.status for row in generation.ledger()] == ["ok", "duplicate"]
    with writer_of(collection) as writer:
        writer.set_paths(CATS.id, ["/b/copy.txt"])
        writer.remove_ledger("/a/cats.txt")
        writer.publish().close()
    with collection.open() as generation:
        assert generation.documents()[0].paths == ("/b/copy.txt",)
    assert collection.verify().problems == ()
    with writer_of(collection) as writer:
        writer.set_paths(CATS.id, [])
        with writer.publish() as generation:
            assert generation.documents() == [] and generation.ledger() == []
            assert len(generation.vectors) == len(generation.lexical) == 0


def test_odd_text_and_odd_file_names_survive(collection):
    path = "/docs/caf\udce9.txt"  # a Latin-1 name on a UTF-8 system
    odd = document("half \ud800 a pair\nnul \x00 inside\n\N{CAT} 東京", "ti\udcfftle", path)
    with writer_of(collection) as writer:
        put(writer, odd)
        writer.put_ledger(ledger_row("/x\udcff", status="failed", reason="bad byte \udcff"))
        generation = writer.publish()
    with generation:
        assert list(texts(generation).values()) == ["half ? a pair", "nul \x00 inside", "\N{CAT} 東京"]
        assert [row.path for row in generation.ledger()] == [path, "/x\udcff"]
        assert generation.documents()[0].paths == (path,)
    assert collection.verify().problems == ()


def test_known_vectors_come_from_the_base_and_from_what_was_put(collection):
    publish(collection, CATS).close()
    hashes = {text_hash(chunk): vector(chunk.searchable) for chunk in [*chunks_of(CATS), *chunks_of(DOGS)]}
    with writer_of(collection) as writer:
        assert set(writer.known_vectors(list(hashes))) == {text_hash(chunk) for chunk in chunks_of(CATS)}
        put(writer, DOGS)
        writer.remove_document(CATS.id)
        known = writer.known_vectors([*hashes, "00" * 32])
    assert {key: value.tolist() for key, value in known.items()} == {
        key: value.tolist() for key, value in hashes.items()
    }


def test_row_numbers_are_never_given_twice(collection):
    with publish(collection, CATS) as generation:
        first = generation.chunk_ids().tolist()
    with writer_of(collection) as writer:
        writer.remove_document(CATS.id)
        put(writer, DOGS)
        generation = writer.publish()
    with generation:
        assert min(generation.chunk_ids().tolist()) > max(first)


def test_an_interrupted_document_is_left_out_and_the_rest_can_be_published(collection):
    class Interrupting(list):
        def __iter__(self):
            yield from list.__iter__(self)
            raise KeyboardInterrupt

    with writer_of(collection) as writer:
        put(writer, CATS)
        vectors = np.array([vector(chunk.searchable) for chunk in chunks_of(DOGS)])
        with pytest.raises(KeyboardInterrupt):
            writer.put_document(DOGS, Interrupting([DOGS.path]), chunks_of(DOGS), vectors)
        with pytest.raises(ValueError, match="unit length"):
            zeros = np.zeros((2, 16), np.float32)
            writer.put_document(BIRDS, [BIRDS.path], chunks_of(BIRDS), zeros)
        with writer.publish() as generation:
            assert set(texts(generation).values()) == {chunk.text for chunk in chunks_of(CATS)}
    assert collection.verify().problems == ()


def test_misuse_is_refused(collection):
    with writer_of(collection) as writer:
        with pytest.raises(ValueError, match="do not belong"):
            writer.put_document(CATS, [CATS.path], chunks_of(CATS), np.zeros((1, 16), np.float32))
        with pytest.raises(ValueError, match="do not belong"):
            writer.put_document(CATS, [CATS.path], chunks_of(DOGS), np.zeros((1, 16), np.float32))
        with pytest.raises(ValueError, match="FOREIGN KEY"):
            writer.put_ledger(ledger_row(CATS.path, CATS))


def test_unchanged_parts_are_shared_with_the_previous_generation(collection):
    publish(collection, CATS).close()
    with writer_of(collection) as writer:
        assert not writer.changed
        writer.put_ledger(ledger_row("/docs/new.bin", status="failed", reason="encrypted"))
        assert writer.changed
        writer.publish().close()
    old, new = (collection.folder / f"gen-00000{n}" for n in (1, 2))
    assert (new / "vectors.faiss").samefile(old / "vectors.faiss")
    assert not (new / "chunks.sqlite").samefile(old / "chunks.sqlite")
    segments = [path.name for path in (old / "lexical").glob("*.term")]
    assert segments and all((new / "lexical" / n).samefile(old / "lexical" / n) for n in segments)
    assert collection.verify().problems == ()


def test_the_manifest_is_readable_and_complete(collection):
    publish(collection, CATS, DOGS).close()
    manifest = json.loads((collection.folder / "gen-000001" / "MANIFEST.json").read_text(encoding="utf-8"))
    assert manifest["counts"] == {"documents": 2, "chunks": 3, "vectors": 3}
    assert manifest["embedder"]["name"] == "hashes" and manifest["embedder"]["dimension"] == 16
    assert manifest["chunking"] == CHUNKING.model_dump()
    assert manifest["lexical"] == {"stemmer": "english", "stop_words": False}
    assert manifest["schema"] == 1 and manifest["created"] and manifest["footnote"]
    for name, entry in manifest["files"].items():
        assert (collection.folder / "gen-000001" / name).stat().st_size == entry["size"]
    assert {"vectors.faiss", "chunks.sqlite", "lexical/meta.json"} <= set(manifest["files"])


def test_two_old_generations_are_kept_and_rolled_back_to(collection):
    for n in range(5):
        publish(collection, document(f"number {n}", path=f"/{n}")).close()
    assert collection.generations() == [3, 4, 5]
    with collection.rollback() as generation:
        assert generation.number == 4 and "number 4" not in texts(generation).values()
    with collection.open() as generation:
        assert generation.number == 4
    with publish(collection, DOGS) as generation:
        assert generation.number == 6  # never a number that was given before
        assert "number 3" in texts(generation).values() and "number 4" not in texts(generation).values()
    assert collection.generations() == [3, 4, 6]
    collection.rollback().close()
    with collection.rollback() as generation:
        assert generation.number == 3
    with pytest.raises(IndexMissing, match="no earlier generation"):
        collection.rollback()


def test_rollback_passes_over_a_damaged_generation(collection):
    for each in (CATS, DOGS, BIRDS):
        publish(collection, each).close()
    (collection.folder / "gen-000002" / "chunks.sqlite").write_bytes(b"")
    with collection.rollback() as generation:
        assert generation.number == 1


def test_a_reader_keeps_the_generation_that_it_opened(collection):
    with publish(collection, CATS) as generation:
        for n in range(4):
            publish(collection, document(f"number {n}", path=f"/{n}")).close()
        assert not generation.folder.exists()
        rows = generation.chunk_ids().tolist()
        assert [c.text for c in generation.chunks(rows).values()] == [c.text for c in chunks_of(CATS)]
        assert generation.document_text(CATS.id) == CATS.text
        assert [id for id, _ in generation.lexical.search("purring cats", 1)] == rows[:1]
        assert generation.vectors.search(vector(chunks_of(CATS)[1].searchable), 1)[0].tolist() == rows[1:]


def test_another_embedder_or_other_settings_are_refused_with_the_rebuild_command(collection):
    publish(collection, CATS).close()
    for other in (("other", "r1", 16), ("hashes", "r2", 16), ("hashes", "r1", 8)):
        with pytest.raises(IndexMismatch, match="was built with hashes") as caught:
            collection.writer(EmbedderIdentity(*other), CHUNKING)
        assert "--rebuild --collection pets" in caught.value.fix
        with collection.open() as generation, pytest.raises(IndexMismatch):
            generation.check_embedder(*other)
    for options in (
        {"chunking": ChunkSettings(tokens=99)},
        {"chunking": CHUNKING, "lexical": LexicalSettings(stop_words=True)},
    ):
        with pytest.raises(IndexMismatch, match="other settings"):
            collection.writer(IDENTITY, **options)
    with collection.open() as generation:
        generation.check_embedder("hashes", "r1", 16)
    other = EmbedderIdentity("other", "r9", 16)
    with collection.writer(other, ChunkSettings(tokens=99), rebuild=True) as writer:
        put(writer, DOGS)
        writer.publish().close()
    with collection.open() as generation:
        assert generation.manifest.embedder == other and generation.number == 2
        assert list(texts(generation).values()) == [DOGS.text]
    with collection.rollback() as generation:
        generation.check_embedder("hashes", "r1", 16)


def test_an_empty_index_can_be_published_and_searched(collection):
    with writer_of(collection) as writer, writer.publish() as generation:
        assert generation.vectors.search(vector("x"), 5)[0].tolist() == []
        assert generation.lexical.search("x", 5) == []
    assert collection.verify().problems == ()


def test_no_index_and_broken_pointers_are_told_apart(collection):
    with pytest.raises(IndexMissing, match="no index 'pets'") as caught:
        collection.open()
    assert caught.value.fix == "Run: python scripts/ingest.py FOLDER --collection pets."
    assert not collection.exists() and not collection.folder.exists()
    publish(collection, CATS).close()
    current = collection.folder / "CURRENT"
    whole = current.read_text()
    for garbage in ("", "\n", "gen-000001", "../../etc", whole + "more\n", "\x00\xff" * 9, whole.upper()):
        current.write_text(garbage)
        with pytest.raises(IndexDamaged, match="does not name a generation"):
            collection.open()
        assert collection.verify().problems != ()
    current.write_text(whole.replace("gen-000001", "gen-000077"))
    with pytest.raises(IndexDamaged, match=r"gen-000077.MANIFEST\.json is missing"):
        collection.open()
    with writer_of(collection, rebuild=True) as writer:
        put(writer, DOGS)
        writer.publish().close()
    assert collection.verify().problems == ()


def test_another_schema_asks_for_a_rebuild(collection):
    publish(collection, CATS).close()
    path = collection.folder / "gen-000001" / "MANIFEST.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (collection.folder / "CURRENT").write_text(f"gen-000001 {digest}\n")
    with pytest.raises(IndexMismatch, match="schema 99") as caught:
        collection.open()
    assert "--rebuild" in caught.value.fix


def test_one_writer_at_a_time(collection):
    with writer_of(collection, task="ingest"):
        with pytest.raises(IndexLocked, match=r"process \d+ on .* \(ingest\) since "):
            writer_of(collection)
        with pytest.raises(IndexLocked):
            collection.rollback()
    writer_of(collection).close()


def test_leftovers_of_dead_writers_are_deleted(collection):
    publish(collection, CATS).close()
    for name in (".tmp-999-dead", ".tmp-old-gen-000009"):
        (collection.folder / name).mkdir()
        (collection.folder / name / "vectors.faiss").write_bytes(b"x")
    (collection.folder / ".tmp-CURRENT").write_text("x")
    with writer_of(collection):
        assert len(list(collection.folder.glob(".tmp-*"))) == 1
    assert list(collection.folder.glob(".tmp-*")) == []


def test_a_place_that_cannot_be_written_is_a_named_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(IndexWriteFailed, match="could not be written"):
        writer_of(Collection(tmp_path / "file", "pets"))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "/abs", "../up", "C:", "con", "Nul.txt", "LPT1", "trailing.", ".hidden",
     "sp ace", "x" * 101, "new\nline", "a\x00b", "-flag"],
)  # fmt: skip
def test_names_that_some_file_system_refuses_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be the name"):
        Collection(tmp_path, name)


def test_collections_are_listed(tmp_path):
    assert list_collections(tmp_path / "nothing") == []
    for name in ("zoo", "東京", "a.b-c_1"):
        publish(Collection(tmp_path, name), CATS).close()
    (tmp_path / "stray").mkdir()
    assert list_collections(tmp_path) == ["a.b-c_1", "zoo", "東京"]


def test_status_counts_files_and_reasons(collection):
    with writer_of(collection) as writer:
        put(writer, CATS, "/a", "/b")
        for path, reason in (("/c", "encrypted"), ("/d", "encrypted"), ("/e", "time limit")):
            writer.put_ledger(ledger_row(path, status="failed", reason=reason))
        writer.publish().close()
    status = collection.status()
    assert (status.collection, status.generation, status.documents, status.chunks) == ("pets", 1, 1, 2)
    assert status.files == {"ok": 1, "duplicate": 1, "failed": 3}
    assert status.failures == {"encrypted": 2, "time limit": 1}
    folder = collection.folder / "gen-000001"
    sizes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert status.size_bytes == sizes - (folder / "MANIFEST.json").stat().st_size
    assert status.embedder == IDENTITY


def test_verify_names_what_contradicts(collection):
    """Contradictions that checksums cannot see, because the writer itself wrote them."""
    publish(collection, CATS, DOGS).close()
    with writer_of(collection) as writer:
        database = writer._rows._database
        database.execute("UPDATE chunks SET start = start + 1 WHERE document_id = ?", [DOGS.id])
        database.execute("UPDATE chunks SET text = 'Cats bite' WHERE row = 1")
        database.execute("DELETE FROM paths WHERE path = ?", [CATS.path])
        writer.publish().close()
    report = collection.verify()
    assert not report.ok and (report.generation, report.documents, report.chunks) == (2, 2, 3)
    assert sorted(report.problems) == [
        "chunk 1: its text is not what its offsets point to",
        "chunk 1: its text is not what was embedded",
        "chunk 3: its text is not what its offsets point to",
        f"the ledger says ok for {CATS.path}, but the documents do not know it",
    ]


def test_parts_that_disagree_are_not_published(collection):
    publish(collection, CATS).close()
    with writer_of(collection) as writer:
        put(writer, DOGS)
        writer._lexical.remove([3])
        with pytest.raises(IndexWriteFailed, match="contradicts itself: 3 chunks, but words for 2"):
            writer.publish()
    with collection.open() as generation:
        assert generation.number == 1
    assert collection.generations() == [1] and list(collection.folder.glob(".tmp-*")) == []


def test_readers_in_threads_while_a_writer_publishes(collection):
    publish(collection, CATS).close()
    done, failures, seen = threading.Event(), [], set()

    def read():
        try:
            while not done.wait(0.02):
                with collection.open() as generation:
                    seen.add(generation.number)
                    rows = generation.chunk_ids().tolist()
                    assert sorted(generation.lexical.ids().tolist()) == sorted(rows)
                    chunk = generation.chunks(rows)[rows[-1]]
                    assert generation.vectors.search(vector(chunk.searchable), 1)[0].tolist() == [rows[-1]]
                    assert generation.document_text(chunk.document_id)[chunk.start : chunk.end] == chunk.text
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(20):
        publish(collection, document(f"word{n} in file {n}", path=f"/docs/{n}")).close()
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(seen) > 1
    with collection.open() as generation:
        assert generation.number == 21


def test_one_generation_serves_many_threads(collection):
    documents = [document(f"word{n} in file {n}", path=f"/docs/{n}") for n in range(30)]
    failures = []
    with publish(collection, *documents) as generation:

        def read(first):
            try:
                for each in documents[first:] + documents[:first]:
                    (id, _), *_ = generation.lexical.search(each.text, 1)
                    assert generation.chunks([id])[id].document_id == each.id
                    assert generation.document_text(each.id) == each.text
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=read, args=[n]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_an_index_that_has_token_vectors_from_before_is_read(collection):
    with publish(collection, CATS) as generation:
        place = generation.folder / MANIFEST
        fields = {**json.loads(place.read_text()), "tokens": {"space": "colbert", "dimension": 64}}
        assert Manifest.from_json(json.dumps(fields), place) == generation.manifest
