"""The vector index against brute-force numpy: values, before and after save and open."""

import numpy as np
import pytest

from rag.errors import IndexDamaged, IndexWriteFailed
from rag.store.vectors import VectorIndex

DIMENSION = 24


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def table():
    """Ids with gaps and without order, and their vectors, among them one given three times."""
    rng = np.random.default_rng(7)
    vectors = unit(rng.standard_normal((300, DIMENSION)))
    vectors[[5, 9]] = vectors[2]
    ids = rng.permutation(np.arange(1, 2000, 3))[:300].astype(np.int64)
    return dict(zip(ids.tolist(), vectors))


def built(table):
    index = VectorIndex.create(DIMENSION)
    index.add(list(table), np.stack(list(table.values())))
    return index


def brute_force(table, query, k, allowed=None):
    scores = {id: float(vector @ query) for id, vector in table.items() if allowed is None or id in allowed}
    return sorted(scores.items(), key=lambda pair: -pair[1])[:k]


def assert_agrees(index, table, allowed=None, ks=(1, 7, 300, 1000)):
    for query in unit(np.random.default_rng(1).standard_normal((5, DIMENSION))):
        for k in ks:
            ids, scores = index.search(query, k, allowed)
            expected = brute_force(table, query, k, allowed)
            assert scores == pytest.approx([score for _, score in expected], abs=1e-5)
            for id, score in zip(ids.tolist(), scores):
                assert float(table[id] @ query) == pytest.approx(float(score), abs=1e-5)
            assert len(set(ids.tolist())) == len(ids)
            if allowed is not None:
                assert set(ids.tolist()) <= set(allowed)


@pytest.fixture(params=["in memory", "loaded", "mapped"])
def reopen(request, tmp_path):
    def through(index):
        if request.param == "in memory":
            return index
        index.save(tmp_path / "v.faiss")
        return VectorIndex.open(tmp_path / "v.faiss", read_only=request.param == "mapped")

    return through


def test_search_agrees_with_brute_force(table, reopen):
    index = reopen(built(table))
    assert_agrees(index, table)
    assert sorted(index.ids().tolist()) == sorted(table)
    assert len(index) == 300


def test_filters_act_inside_the_search(table, reopen):
    index = reopen(built(table))
    some = list(table)[::9]
    assert_agrees(index, table, some)
    assert_agrees(index, table, [*some[:3], 999_999, -4])
    assert index.search(table[some[0]], 5, allowed=[])[0].tolist() == []


def test_removed_ids_are_gone_and_the_rest_stays(table, reopen):
    index = built(table)
    gone = list(table)[10:60]
    assert index.remove([*gone, 123_456]) == 50
    kept = {id: vector for id, vector in table.items() if id not in gone}
    index = reopen(index)
    assert_agrees(index, kept)
    assert_agrees(index, kept, [id for id in list(table)[:80] if id in kept])
    some = list(kept)[::7]
    assert index.reconstruct(some) == pytest.approx(np.stack([kept[id] for id in some]))
    with pytest.raises(KeyError):
        index.reconstruct([some[0], gone[0]])


def test_removed_ids_can_be_added_again(table):
    index = built(table)
    id = next(iter(table))
    index.remove([id])
    index.add([id], -table[id][None])
    assert_agrees(index, {**table, id: -table[id]})


def test_duplicates_all_come_back(table, reopen):
    index = reopen(built(table))
    ids = list(table)
    found, scores = index.search(table[ids[2]], 3)
    assert set(found.tolist()) == {ids[2], ids[5], ids[9]}
    assert scores == pytest.approx([1, 1, 1])


def test_an_empty_index_finds_nothing(reopen):
    index = reopen(VectorIndex.create(DIMENSION))
    ids, scores = index.search(np.eye(DIMENSION, dtype=np.float32)[0], 10)
    assert ids.tolist() == [] and scores.tolist() == []
    assert index.reconstruct([]).shape == (0, DIMENSION)
    assert index.remove([1, 2]) == 0


def test_only_unit_vectors_are_taken():
    index = VectorIndex.create(2)
    for bad in ([3.0, 4.0], [np.nan, 1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="unit length"):
            index.add([1], np.array([bad], np.float32))
    with pytest.raises(ValueError, match="2 ids for 1 vectors"):
        index.add([1, 2], np.array([[1.0, 0.0]], np.float32))
    assert len(index) == 0


def test_save_never_touches_an_existing_file(tmp_path):
    path = tmp_path / "live"
    path.write_bytes(b"live")
    with pytest.raises(FileExistsError):
        VectorIndex.create(2).save(path)
    assert path.read_bytes() == b"live"
    with pytest.raises(IndexWriteFailed):
        VectorIndex.create(2).save(tmp_path / "no such folder" / "v")


@pytest.mark.parametrize("content", [b"", b"no index at all", b"IxM2" + b"\0" * 50])
def test_a_broken_file_is_a_named_error(tmp_path, content):
    path = tmp_path / "v.faiss"
    path.write_bytes(content)
    for read_only in (True, False):
        with pytest.raises(IndexDamaged, match=r"v\.faiss"):
            VectorIndex.open(path, read_only)
