"""Fusion, reranking and the way from a question to hits, over a real store with quick models."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rag.errors import IndexMismatch
from rag.reranking import FEWEST
from rag.retrieval import Retriever, fuse, mix
from rag.settings import ChunkSettings, EmbeddingSettings, RetrievalSettings
from rag.store.generation import Collection
from rag.types import Chunk, Document, Reading, Section
from tests.fakes import HashingEmbedder, OverlapReranker
from tests.shelves import shelve

TEXTS = [
    "Cats sleep sixteen hours a day.",
    "The membership fee is 350 euros a year.",
    "Dogs guard the house at night.",
    "The index is locked while another process writes.",
]


def build(root: Path, embedder: HashingEmbedder, texts: Sequence[str] = TEXTS) -> Collection:
    collection = Collection(root, "tests")
    with collection.writer(embedder, ChunkSettings()) as writer:
        for number, text in enumerate(texts):
            document = Document(f"doc{number}", f"{number}.txt", "", "text/plain", (Section(text),))
            chunk = Chunk(f"chunk{number}", document.id, text, 0, len(text), document.path, "")
            writer.put_document(document, [document.path], [chunk], embedder.embed_passages([text]))
        writer.publish().close()
    return collection


@pytest.fixture
def retriever(tmp_path):
    embedder = HashingEmbedder()
    with build(tmp_path, embedder).open() as generation:
        yield Retriever(generation, embedder, OverlapReranker(), RetrievalSettings(top_k=3, rerank_pairs=2))


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("How long do cats sleep?", 0),
        ("What is the fee?", 1),
        ('"Dogs" AND (NOT cats) field:value ~ ^2 [a TO b] \\ + - && || !', 2),
        ("WHO locked it? 🐈 \x00 '", 3),
    ],
)
def test_the_right_passage_comes_first_whatever_the_punctuation(retriever, question, best):
    assert retriever.search(question)[0].chunk.text == TEXTS[best]


def test_scores_fall_and_every_stage_is_told(retriever):
    hits = retriever.search("How long do cats sleep?")
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert set(hits[0].how) == {"dense", "lexical", "fused", "rerank"}
    assert hits[0].how["rerank"].rank == 1
    assert "rerank" not in hits[2].how  # only two pairs were to be read


def test_depth_overrules_top_k(retriever):
    assert len(retriever.search("cats", depth=4)) == 4
    assert len(retriever.search("cats")) == 3


def test_an_index_of_another_embedder_is_refused(tmp_path):
    with build(tmp_path, HashingEmbedder(64)).open() as generation, pytest.raises(IndexMismatch):
        Retriever(generation, HashingEmbedder(32), None, RetrievalSettings())


def test_fusion_is_a_convex_combination_of_cosine_and_relative_bm25():
    fused = fuse({1: 0.5, 2: 0.9}, {1: 8.0, 2: 2.0}, dense_weight=0.75)
    assert fused == pytest.approx({1: 0.75 * 0.5 + 0.25, 2: 0.75 * 0.9 + 0.25 * 0.25})


def test_mixing_leaves_unread_passages_behind_those_that_led_them():
    final = mix({1: 0.9, 2: 0.8, 3: 0.7}, {1: -3.0, 2: 5.0}, weight=0.1)
    assert sorted(final, key=lambda row: -final[row]) == [2, 1, 3]
    assert final[2] == pytest.approx(1.3)


def test_an_index_names_the_embedder_that_made_it_unless_the_settings_do(tmp_path):
    unset, named = EmbeddingSettings(), EmbeddingSettings(model="bundled")
    assert Collection(tmp_path, "tests").embedding(unset) == unset  # no index yet
    collection = build(tmp_path, HashingEmbedder())
    assert collection.embedding(unset).model == HashingEmbedder.source
    assert collection.embedding(named).model == "bundled"


VERSIONS = {
    f"/d/v{n}/rules.pdf": [
        "Cats sleep sixteen hours a day, on whatever is soft and near a stove or in the sun."
    ]
    for n in range(4)
}
VERSIONS |= {path: [f"{pages[0]} {'Yes. ' * n}"] for n, (path, pages) in enumerate(VERSIONS.items())}
OTHERS = {
    "/d/cats.pdf": ["Cats sleep.", "Cats sleep long.", "Cats eat."],
    "/d/dogs.pdf": ["Dogs sleep less."],
}


@pytest.fixture
def find_cats(tmp_path):
    embedder = HashingEmbedder()
    with shelve(tmp_path, VERSIONS | OTHERS, embedder).open() as generation:
        yield lambda question="How long do cats sleep a day?", **settings: Retriever(
            generation, embedder, OverlapReranker(), RetrievalSettings(**{"top_k": 4, **settings})
        ).find(question)


def test_versions_of_a_passage_are_shown_once_and_make_room_for_others(find_cats):
    found = find_cats("Where do cats sleep: is it soft, near a stove, or in the sun?", rerank_pairs=4)
    texts = [hit.chunk.text for hit in found.hits]
    assert len(texts) == 4 and sum("sixteen" in text for text in texts) == 1
    twins = [each for each in found.dropped if each.stage == "thinned"]
    assert len(twins) == 3 and all("rules.pdf p. 1" in each.reason for each in twins)
    assert not {each.hit.chunk.id for each in twins} & {hit.chunk.id for hit in found.hits}


def test_a_cap_makes_room_for_other_documents(find_cats):
    def documents(**settings):
        return [hit.chunk.path for hit in find_cats(rerank_pairs=3, top_k=3, name_weight=0, **settings).hits]

    assert documents().count("/d/cats.pdf") == 2 and "/d/dogs.pdf" not in documents()
    assert documents(per_document=1).count("/d/cats.pdf") == 1 and "/d/dogs.pdf" in documents(per_document=1)
    assert len(find_cats(top_k=5, per_document=1).hits) == 5  # rather too many of one than too few


def test_another_fusion_decides_the_order_and_above_an_alike_of_1_nothing_repeats(tmp_path):
    def worst_first(dense, lexical, dense_weight):
        return {row: -cosine for row, cosine in dense.items()}

    embedder, question = HashingEmbedder(), "How long do cats sleep a day?"
    with shelve(tmp_path, VERSIONS | OTHERS, embedder).open() as generation:
        settings = RetrievalSettings(top_k=8)
        found = Retriever(generation, embedder, None, settings, fusion=worst_first, alike=2).find(question)
        cosines = [hit.how["dense"].score for hit in found.hits]
        assert len(cosines) == 8 and cosines == sorted(cosines) and cosines[0] < cosines[-1]


def test_ranks_tell_where_each_candidate_stood(find_cats):
    found = find_cats()
    for hit in [*found.hits, *(each.hit for each in found.dropped)]:
        assert hit.how["fused"] in found.ranks["fused"].values()
    scores = [rank.score for rank in sorted(found.ranks["fused"].values(), key=lambda rank: rank.rank)]
    assert len(scores) == 8 and scores == sorted(scores, reverse=True)


def test_a_clear_lead_is_reread_only_as_far_as_an_answer_may_stand(tmp_path):
    embedder = HashingEmbedder()
    with build(tmp_path, embedder).open() as generation:
        reread = {}
        for lead in (0.0, 0.1, 5.0):
            settings = RetrievalSettings(top_k=3, rerank_pairs=4, rerank_lead=lead)
            found = Retriever(generation, embedder, OverlapReranker(), settings).find(
                "How long do cats sleep?"
            )
            reread[lead] = len(found.ranks["rerank"])
            first, second = sorted((rank.score for rank in found.ranks["fused"].values()), reverse=True)[:2]
    assert 0.1 < first - second < 5.0
    assert reread == {0.0: 4, 0.1: FEWEST, 5.0: 4}


QUARTERS = {
    f"/d/{year} q{quarter} {firm}.txt": [
        f"{firm.title()} report.",
        f"Net sales came to {year * quarter} dollars.",
        f"Sales were {'strong' if firm == 'alder' else 'weak'}, net of tax. Net sales rose.",
    ]
    for firm in ("alder", "birch")
    for year in (2022, 2023)
    for quarter in (1, 3)
}


@pytest.fixture
def find_sales(tmp_path):
    embedder = HashingEmbedder()
    with shelve(tmp_path, QUARTERS, embedder).open() as generation:
        yield lambda question, **settings: Retriever(
            generation, embedder, OverlapReranker(), RetrievalSettings(**{"top_k": 3, **settings})
        ).find(question)


def paths(found):
    return [hit.chunk.path for hit in found.hits]


def test_a_question_over_time_finds_a_passage_in_each_document_that_it_names(find_sales):
    found = find_sales("How have Alder's net sales changed over time?")
    assert found.several
    assert set(paths(found)) == {path for path in QUARTERS if "alder" in path}
    assert len(paths(found)) == 4  # more than top_k: one for each
    assert all(hit.reading for hit in found.hits)
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    assert any("best of a document each" in each.reason for each in found.dropped)


def test_the_setting_bounds_the_documents_or_ends_the_special_treatment(find_sales):
    question = "How have Alder's net sales changed over time?"
    assert len(set(paths(find_sales(question, documents=2, top_k=2)))) == 2
    assert not find_sales(question, documents=0).several


def test_a_files_name_counts_where_its_passages_do_not_say_it(find_sales):
    question = "What were Birch's net sales in Q1 2023?"
    assert paths(find_sales(question))[0] == "/d/2023 q1 birch.txt"
    assert not find_sales(question).several


def test_the_latest_file_of_a_series_leads(find_sales):
    assert {path[3:10] for path in paths(find_sales("Net sales in the latest report?", top_k=2))} == {
        "2023 q3"
    }


class Answering(OverlapReranker):
    """Finds an answer in one passage only, and remembers what it has read."""

    def __init__(self, answers: str) -> None:
        self.answers = answers
        self.seen: list[str] = []

    def read(self, question, chunks, least=0):
        self.seen += [chunk.text for chunk in chunks]
        return [Reading(0.0, 3.0 if self.answers in chunk.text else -3.0) for chunk in chunks]


@pytest.mark.parametrize(("answers", "read"), [("Cats", 2), ("locked", 2), ("Dogs", 4), ("nothing", 4)])
def test_where_no_passage_answers_as_many_again_are_read(tmp_path, answers, read):
    embedder, reranker = HashingEmbedder(), Answering(answers)
    settings = RetrievalSettings(rerank_pairs=4, rerank_lead=0)
    with build(tmp_path, embedder).open() as generation:
        retriever = Retriever(generation, embedder, Halved(reranker), settings)
        hits = retriever.search("How long do cats sleep?")
    assert len(reranker.seen) == len(set(reranker.seen)) == read
    assert [hit for hit in hits if hit.reading and answers in hit.chunk.text] or answers == "nothing"


class Halved(Answering):
    """Has time for two passages at once."""

    def __init__(self, reranker: Answering) -> None:
        self._reranker = reranker

    def read(self, question, chunks, least=0):
        return self._reranker.read(question, chunks[:2])
