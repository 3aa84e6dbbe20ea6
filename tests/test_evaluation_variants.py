"""What an ablation tries instead: other settings, fusions, indexes and longer passages, each by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rag.evaluation.alternatives import (
    Indexing,
    Remembering,
    WithNeighbours,
    min_max,
    open_index,
    reciprocal_ranks,
)
from rag.evaluation.datasets import Dataset, load_dataset
from rag.evaluation.variants import DEFAULT, GROUPS, Variant, settings_of, variants
from rag.retrieval import Retriever
from rag.settings import ChunkSettings, RetrievalSettings, Settings
from rag.store.generation import Generation
from rag.store.lexical import LexicalSettings
from rag.types import Chunk
from tests.fakes import HashingEmbedder, OverlapReranker, hit


def test_every_variant_differs_from_the_default_and_from_its_group() -> None:
    offered = variants()
    assert {each.group for each in offered} == set(GROUPS)
    assert len({each.label for each in offered}) == len(offered)

    def decided(variant: Variant) -> tuple[str, str]:
        return str({**variant.choice, "settings": None}), settings_of(variant).model_dump_json()

    for group in GROUPS:
        inside = [decided(each) for each in [DEFAULT, *offered] if each.group in (group, "")]
        assert len(set(inside)) == len(inside), group


def test_the_base_does_not_depend_on_the_machines_speed() -> None:
    assert {settings_of(each).retrieval.rerank_ms for each in [DEFAULT, *variants()]} == {0}


def test_reciprocal_ranks_by_hand() -> None:
    fused = reciprocal_ranks({1: 0.9, 2: 0.8, 3: 0.1}, {3: 7.0, 1: 2.0}, 0.75)
    assert fused == pytest.approx(
        {1: 0.75 + 0.25 * 61 / 62, 2: 0.75 * 61 / 62, 3: 0.75 * 61 / 63 + 0.25},
    )


def test_min_max_by_hand() -> None:
    assert min_max({1: 0.9, 2: 0.8, 3: 0.7}, {3: 8.0, 1: 2.0}, 0.5) == pytest.approx(
        {1: 0.5 + 0.125, 2: 0.25, 3: 0.5}
    )
    assert min_max({1: 0.9}, {}, 0.8) == {1: 0.0}


def test_no_pair_is_read_twice() -> None:
    class Counting(OverlapReranker):
        pairs = 0

        def score(self, question: str, texts: Sequence[str]):  # type: ignore[no-untyped-def]
            self.pairs += len(texts)
            return super().score(question, texts)

    counting = Counting()
    remembering = Remembering(counting)
    cats, dogs = hit("Cats sleep.").chunk, hit("Dogs bark.").chunk
    first = remembering.read("Do cats sleep?", [cats, dogs])
    assert first == counting.read("Do cats sleep?", [cats, dogs])
    counting.pairs = 0
    assert remembering.read("Do cats sleep?", [dogs, cats]) == first[::-1]
    assert counting.pairs == 0
    remembering.read("Do dogs sleep?", [dogs])
    assert counting.pairs == 1


# Other indexes and longer passages

SENTENCES = [f"The {animal} sleeps {hours} hours." for animal, hours in (("cat", 12), ("dog", 9), ("cow", 4))]


@pytest.fixture
def animals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    articles = [
        {"title": "Mammals", "paragraphs": [{"context": text, "qas": []} for text in SENTENCES]},
        {
            "title": "Cheese",
            "paragraphs": [
                {
                    "context": "It has holes.",
                    "qas": [{"id": "1", "question": "What has it?", "answers": [{"text": "holes"}]}],
                }
            ],
        },
    ]
    file = tmp_path / "animals.json"
    file.write_text(json.dumps({"data": articles}), encoding="utf-8")
    return load_dataset(file)


SMALL = Settings(chunk=ChunkSettings(tokens=32, overlap=0))


class Cutting(HashingEmbedder):
    """Counts so many tokens a word that a sentence fills a passage."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [5 * len(text.split()) for text in texts]


@pytest.fixture
def generation(animals: Dataset) -> Iterator[Generation]:
    with open_index(animals, Cutting(), SMALL, Indexing()) as opened:
        assert opened.chunk_count == 4
        yield opened


def rows_of(generation: Generation) -> list[int]:
    """All rows, by the ids of their passages, which no index changes."""
    chunks = generation.chunks(generation.chunk_ids().tolist())
    return sorted(chunks, key=lambda row: chunks[row].id)


def chunks_of(generation: Generation) -> list[Chunk]:
    return list(map(generation.chunks(rows_of(generation)).__getitem__, rows_of(generation)))


def test_an_index_without_titles_holds_the_same_passages(animals: Dataset, generation: Generation) -> None:
    embedder = Cutting()
    with open_index(animals, embedder, SMALL, Indexing(context=False)) as bare:
        assert embedder.embedded == 4
        assert {chunk.context for chunk in chunks_of(bare)} == {""}
        assert [(c.text, c.start, c.end, c.path) for c in chunks_of(bare)] == [
            (c.text, c.start, c.end, c.path) for c in chunks_of(generation)
        ]
        assert len(generation.lexical.search("mammals", 9)) == 3
        assert bare.lexical.search("mammals", 9) == []
        assert bare.document_text(bare.documents()[1].id) == "\n\n".join(SENTENCES)
    with open_index(animals, embedder, SMALL, Indexing(context=False)):
        assert embedder.embedded == 4  # found again


def test_other_words_need_no_new_vectors(animals: Dataset, generation: Generation) -> None:
    embedder = Cutting()
    unstemmed = Indexing(lexical=LexicalSettings(stemmer="none"))
    with open_index(animals, embedder, SMALL, unstemmed) as other:
        assert embedder.embedded == 0
        assert len(generation.lexical.search("sleeping hour", 9)) == 3
        assert other.lexical.search("sleeping hour", 9) == []
        assert len(other.lexical.search("mammals hours", 9)) == 3
        ours, theirs = (each.vectors.reconstruct(rows_of(each)) for each in (other, generation))
        assert (ours == theirs).all()


def test_passages_grow_by_neighbours_that_are_not_shown_already(generation: Generation) -> None:
    retriever = Retriever(generation, Cutting(), None, RetrievalSettings())
    cat, dog, cow = SENTENCES
    one = WithNeighbours(retriever, 1).search("dog", 9)
    assert [hit.chunk.text for hit in one] == [f"{cat}\n\n{dog}\n\n{cow}"]
    assert (one[0].chunk.start, one[0].chunk.end) == (0, len(one[0].chunk.text))
    two = WithNeighbours(retriever, 2).search("cat cat dog", 9)
    assert {hit.chunk.text.strip() for hit in two} == {cat, f"{dog}\n\n{cow}"}
