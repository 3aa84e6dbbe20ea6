"""Token vectors in the store: what was put comes back, from any segment, and what was deleted is gone."""

import numpy as np
import pytest

from rag.errors import IndexDamaged, IndexWriteFailed
from rag.store import tokens
from rag.store.chunks import text_hash
from rag.store.generation import Collection
from rag.store.manifest import MANIFEST, Manifest, TokenSpace
from rag.store.tokens import TokenVectors, TokenWriter
from tests.store_samples import chunks_of, document, publish, put, token_vectors, writer_of

CATS = document("Cats purr when they are content.\nThey sleep all day.", "On cats", "/docs/cats.txt")
DOGS = document("Dogs bark at strangers.", "On dogs", "/docs/dogs.txt")


@pytest.fixture
def collection(tmp_path):
    return Collection(tmp_path, "pets")


def agrees(generation):
    """Every passage has the token vectors that its text asks for, and nothing else is stored."""
    chunks = generation.chunks(generation.chunk_ids().tolist())
    assert sorted(generation.tokens.ids().tolist()) == sorted(chunks)
    for (_, chunk), found in zip(chunks.items(), generation.tokens.read(list(chunks)), strict=True):
        assert np.array_equal(found, token_vectors(chunk.searchable))
    return True


def segments(generation):
    return sorted(path.name for path in (generation.folder / "tokens").iterdir())


def test_what_was_put_comes_back_and_unchanged_segments_are_linked(collection):
    with publish(collection, CATS) as first, publish(collection, DOGS) as second:
        assert agrees(first) and agrees(second)
        assert segments(second) == ["000001.bin", "000001.index", "000002.bin", "000002.index"]
        for name in segments(first):
            assert (first.folder / "tokens" / name).samefile(second.folder / "tokens" / name)


def test_deletes_reach_the_bytes_on_disk(collection):
    publish(collection, CATS).close()
    publish(collection, DOGS).close()
    with writer_of(collection) as writer:
        writer.remove_document(CATS.id)
        with writer.publish() as generation:
            assert agrees(generation)
            stored = b"".join(path.read_bytes() for path in (generation.folder / "tokens").glob("*.bin"))
            assert stored == token_vectors(chunks_of(DOGS)[0].searchable).tobytes()


def test_a_document_put_and_forgotten_in_one_run_leaves_nothing(collection):
    with writer_of(collection) as writer:
        put(writer, CATS)
        put(writer, DOGS)
        writer.remove_document(CATS.id)
        with writer.publish() as generation:
            assert agrees(generation) and len(generation.tokens) == 1


def test_many_segments_become_one(collection):
    most = 0
    for n in range(tokens.MAX_SEGMENTS + 3):
        with publish(collection, document(f"Fact number {n}.", "", f"/docs/{n}.txt")) as generation:
            most = max(most, len(generation.tokens.segments))
            assert agrees(generation)
    assert most == tokens.MAX_SEGMENTS
    assert len(generation.tokens.segments) < most


def test_known_token_vectors_come_from_the_base_and_from_what_was_put(collection):
    publish(collection, CATS).close()
    with writer_of(collection) as writer:
        put(writer, DOGS)
        texts = {text_hash(chunk): chunk.searchable for doc in (CATS, DOGS) for chunk in chunks_of(doc)}
        known = writer.known_tokens([*texts, "00" * 32])
        assert set(known) == set(texts)
        assert all(np.array_equal(known[each], token_vectors(text)) for each, text in texts.items())


def test_an_index_without_token_vectors_stays_without_until_it_is_built_anew(collection):
    with writer_of(collection, tokens=None) as writer:
        put(writer, CATS)
        writer.publish().close()
    with publish(collection, DOGS) as generation:
        assert generation.tokens is None and generation.manifest.tokens is None
    assert collection.verify().ok
    with writer_of(collection, rebuild=True) as writer:
        put(writer, CATS)
        with writer.publish() as generation:
            assert agrees(generation)


def test_another_encoder_never_mixes_its_vectors_in(collection):
    publish(collection, CATS).close()
    with writer_of(collection, tokens=TokenSpace("other", 8)) as writer:
        assert not writer.wants_tokens
        put(writer, DOGS)
        with writer.publish() as generation:
            assert generation.tokens is None


def test_dropping_them_leaves_no_file(collection):
    publish(collection, CATS).close()
    with writer_of(collection) as writer:
        put(writer, DOGS)
        size = sum(token_vectors(chunk.searchable).nbytes for doc in (CATS, DOGS) for chunk in chunks_of(doc))
        assert size <= writer.token_bytes <= size + 16 * 3
        writer.drop_tokens()
        with writer.publish() as generation:
            assert generation.tokens is None and not (generation.folder / "tokens").exists()
            assert generation.chunk_count == 3


def test_passages_without_theirs_are_not_published(collection):
    with writer_of(collection) as writer:
        put(writer, CATS)
        writer._tokens._new.popitem()
        with pytest.raises(IndexWriteFailed, match="token vectors for 1"):
            writer.publish()


def test_a_passage_without_token_vectors_is_refused(collection):
    with writer_of(collection) as writer, pytest.raises(ValueError, match="0 token vectors for 2 chunks"):
        writer.put_document(CATS, [CATS.path], chunks_of(CATS), np.eye(16, dtype=np.float32)[:2])


def test_verify_names_token_vectors_without_a_passage(collection):
    with publish(collection, CATS) as generation:
        generation.tokens.segments["000001"][0] = 99
        from rag.store.verify import check

        assert "token vectors without a chunk: [99]" in check(generation).problems


def test_an_altered_byte_is_an_error(collection):
    publish(collection, CATS).close()
    rows = next(collection.folder.glob("gen-*/tokens/*.bin"))
    content = bytearray(rows.read_bytes())
    content[5] ^= 1
    rows.write_bytes(content)
    with pytest.raises(IndexDamaged, match=rows.name):
        collection.open()


def test_a_manifest_from_before_there_were_token_vectors_is_read(collection):
    with writer_of(collection, tokens=None) as writer:
        put(writer, CATS)
        with writer.publish() as generation:
            place = generation.folder / MANIFEST
            text = place.read_text().replace(',\n  "tokens": null', "")
            assert "tokens" not in text.partition('"files"')[2]
            assert Manifest.from_json(text, place) == generation.manifest


@pytest.mark.parametrize("damage", ["short", "odd", "empty"])
def test_an_index_that_does_not_fit_its_rows_is_refused(tmp_path, damage):
    writer = TokenWriter(tmp_path / "tokens", 8, None)
    writer.add([1, 2], [token_vectors("two words"), token_vectors("and now three")])
    assert writer.finish([]).tolist() == [1, 2]
    rows = tmp_path / "tokens" / "000001.bin"
    content = {"short": rows.read_bytes()[:-8], "odd": rows.read_bytes()[:-3], "empty": b""}[damage]
    rows.write_bytes(content)
    with pytest.raises(IndexDamaged):
        TokenVectors(tmp_path / "tokens", 8)


def test_other_shapes_and_types_are_refused(tmp_path):
    writer = TokenWriter(tmp_path / "tokens", 8, None)
    for matrix in (np.zeros((2, 7), np.uint8), np.zeros((2, 8), np.float32), np.zeros((0, 8), np.uint8)):
        with pytest.raises(ValueError, match="token vectors of shape"):
            writer.add([1], [matrix])
    writer.discard()
