"""The word index: BM25, plain-text questions, filters, and shared segments that stay as they are."""

import hashlib
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import IndexDamaged
from rag.store.lexical import FEW_ALLOWED, LOCKS, MUTABLE, LexicalIndex, LexicalSettings, analyse

PASSAGES = {
    3: "The cat sat on the mat. Cats purr.",
    17: "Dogs are running through the park.",
    40: "Quantization of models reduces memory: AWQ, GPTQ and bitsandbytes.",
    41: "A r\u00e9sum\u00e9 from Z\u00fcrich, Stra\u00dfe 5.",
    55: "東京タワーは高いです。水",
    56: "ภาษาไทยไม่มีช่องว่าง",
    57: "हिन्दी विद्यालय",
    60: "snake_case max_tokens C++ user@example.com",
}
STOPPED = LexicalSettings(stop_words=True)
PLAIN = LexicalSettings(stemmer="none", stop_words=False)


def built(path, passages=None, settings=None):
    index = LexicalIndex.create(path, settings or STOPPED)
    for id, text in (PASSAGES if passages is None else passages).items():
        index.add(id, text)
    index.commit()
    return index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = tmp_path_factory.mktemp("lexical") / "index"
    built(path).close()
    return LexicalIndex.open(path, STOPPED)


def found(index, question, k=10, allowed=None):
    return [id for id, _ in index.search(question, k, allowed)]


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("cats", 3),
        ("Which dog runs?", 17),
        ("Zurich", 41),
        ("ZÜRICH", 41),
        ("Zu\u0308rich", 41),
        ("resume", 41),
        ("strasse", 41),
        ("東京", 55),
        ("東京の塔は高いですか", 55),
        ("ไทย", 56),
        ("विद्यालय", 57),
        ("max tokens", 60),
        ("quantiz\u00adation", 40),
        ("ＡＷＱ", 40),
    ],
)
def test_the_passage_with_the_words_comes_first(index, question, first):
    assert found(index, question)[0] == first


@pytest.mark.parametrize(
    "question",
    [
        'cat AND NOT "mat',
        "cat: (mat OR [a TO b]) ^2 ~",
        "body:cat id:17",
        r"\cat\ + - ! && || { } * ?",
        "cat 🐈 \x00 \ud83d",
        "NOT cat",
        "/cat.*/",
        "cat " * 10_000,
        " ".join(f"word{n}" for n in range(255)) + " cat",
    ],
)
def test_every_character_of_a_question_is_plain_text(index, question):
    assert found(index, question) == [3]


@pytest.mark.parametrize("question", ["", "   ", "the of and", "?!", "🐈", "\x00", "水" * 0])
def test_a_question_without_words_finds_nothing(index, question):
    assert index.search(question, 10) == []


@given(st.text())
def test_no_question_breaks_the_search(index, question):
    assert set(found(index, question)) <= set(PASSAGES)


def test_scores_are_bm25(tmp_path):
    passages = {1: "apple pear", 2: "apple apple plum quince", 3: "plum"}
    index = built(tmp_path / "i", passages, PLAIN)
    # idf = ln(1 + (N - n + 0.5) / (n + 0.5)); tf part with k1 = 1.2, b = 0.75 and mean length 7/3
    idf = 0.470004

    def bm25(tf, length):
        return idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length * 3 / 7))

    assert dict(index.search("apple", 5)) == pytest.approx({1: bm25(1, 2), 2: bm25(2, 4)}, rel=1e-4)


def test_filters_act_inside_the_search(index):
    everything = "cat dog quantization zurich 東京"
    assert sorted(found(index, everything)) == [3, 17, 40, 41, 55]
    assert found(index, everything, 1, allowed=[40, 999]) == [40]
    assert found(index, everything, allowed=[]) == []
    scores = dict(index.search(everything, 10))
    assert dict(index.search(everything, 10, allowed=[17, 41])) == pytest.approx(
        {17: scores[17], 41: scores[41]}
    )


def test_many_allowed_ids_find_what_a_search_of_all_finds_among_them(tmp_path):
    rng = random.Random(5)
    passages = {n: " ".join(rng.choices("cat dog hen owl fox".split(), k=1 + n % 9)) for n in range(1500)}
    index = built(tmp_path / "i", passages, PLAIN)
    everything = index.search("cat fox", len(passages))
    worst = [id for id, _ in everything[-200:]]
    unfound = sorted(set(passages) - {id for id, _ in everything})
    for few in (worst, [], unfound[:100]):
        allowed = sorted({*few, *rng.sample(range(1500), 1100)} - {id for id, _ in everything[:50]})
        assert len(allowed) > FEW_ALLOWED
        expected = [score for id, score in everything if id in set(allowed)]
        for k in (1, 10, 2000):
            found_pairs = index.search("cat fox", k, allowed)
            assert [score for _, score in found_pairs] == pytest.approx(expected[:k])
            assert all(dict(everything)[id] == score for id, score in found_pairs)
            assert {id for id, _ in found_pairs} <= set(allowed)


def test_stemming_and_stop_words_are_settings(tmp_path):
    index = built(tmp_path / "i", settings=PLAIN)
    assert found(index, "cat") == [3] and found(index, "run") == []
    assert sorted(found(index, "the")) == [3, 17]
    assert index.words("The running CATS") == ["the", "running", "cats"]


def test_removals_reach_the_postings_and_survive_reopening(tmp_path):
    index = built(tmp_path / "i")
    index.remove([3, 55, 12345])
    index.add(70, "Another cat")
    index.commit()
    index.close()
    index = LexicalIndex.open(tmp_path / "i", STOPPED)
    assert found(index, "cat 東京") == [70]
    assert sorted(index.ids().tolist()) == sorted({*PASSAGES, 70} - {3, 55})
    assert len(index) == len(PASSAGES) - 1


def test_a_passage_removed_before_its_commit_never_appears(tmp_path):
    index = LexicalIndex.create(tmp_path / "i", STOPPED)
    index.add(1, "cat")
    index.remove([1])
    index.add(1, "dog")
    index.commit()
    assert found(index, "cat") == [] and found(index, "dog") == [1]


def test_an_empty_index(tmp_path):
    built(tmp_path / "i", {}).close()
    index = LexicalIndex.open(tmp_path / "i", STOPPED)
    assert index.search("cat", 10) == [] and index.ids().tolist() == [] and len(index) == 0


def digests(path):
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.iterdir()
        if file.name not in LOCKS
    }


def test_updates_and_merges_leave_a_linked_index_as_it_was(tmp_path):
    built(tmp_path / "0").close()
    before = digests(tmp_path / "0")
    reader = LexicalIndex.open(tmp_path / "0", STOPPED)
    merged = False
    for n in range(12):  # enough small segments to be merged
        source = LexicalIndex.open(tmp_path / str(n), STOPPED)
        source.link_to(tmp_path / str(n + 1))
        index = LexicalIndex.open(tmp_path / str(n + 1), STOPPED)
        index.add(1000 + n, f"cat number{n}")
        index.remove([list(PASSAGES)[n]] if n < 3 else [])
        index.commit()
        merged |= len(digests(tmp_path / str(n + 1))) < len(digests(tmp_path / str(n)))
    assert merged
    assert digests(tmp_path / "0") == before
    assert sorted(found(reader, "cat")) == [3]
    assert sorted(found(index, "cat", 20)) == list(range(1000, 1012))


def test_unchanged_segments_share_their_bytes(tmp_path):
    source = built(tmp_path / "a")
    source.link_to(tmp_path / "b")
    for name in digests(tmp_path / "b"):
        assert (tmp_path / "b" / name).samefile(tmp_path / "a" / name) == (name not in MUTABLE)


def test_analyse_makes_words_of_neighbours_where_there_are_no_spaces():
    assert analyse("plain ASCII, left alone") == "plain ASCII, left alone"
    assert analyse("東京都").split() == ["東京", "京都"]
    assert analyse("in 水 x").split() == ["in", "水", "x"]
    assert analyse("eﬃcient co\u00adop") == "efficient coop"


def test_a_broken_index_is_a_named_error(tmp_path):
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "meta.json").write_text("{}")
    for name in ("i", "nothing here"):
        with pytest.raises(IndexDamaged, match=name):
            LexicalIndex.open(tmp_path / name, STOPPED)


def test_idf_is_computed_from_the_passages_that_hold_the_rarest_term(tmp_path):
    index = LexicalIndex.create(tmp_path / "words", LexicalSettings())
    for id, text in enumerate(["the cat", "the dog", "the cats and the zebra"]):
        index.add(id, text)
    index.commit()
    assert index.idf("cat") == pytest.approx(math.log(4 / 2.5))
    assert index.idf("zebra") == pytest.approx(math.log(4 / 1.5))
    assert index.idf("cat-zebra") == index.idf("zebra")
    assert index.idf("the") == pytest.approx(math.log(4 / 3.5))
    assert index.idf("unicorn") == pytest.approx(math.log(4 / 0.5))
    assert index.idf("?!") == 0
