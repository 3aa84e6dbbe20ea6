"""Late interaction with the real model, compared with sums by hand."""

import numpy as np
import pytest

from rag.embedding import BundledEmbedder
from rag.late import late_scores, load_token_encoder, word_weights
from rag.settings import RetrievalSettings
from tests.fakes import HashingEmbedder

TEXTS = ["Cats sleep sixteen hours a day.", "The membership fee is 350 euros a year.", "Fee."]


@pytest.fixture(scope="module")
def embedder():
    return BundledEmbedder(threads=1)


@pytest.fixture(scope="module")
def encoder(embedder):
    return load_token_encoder(RetrievalSettings(), embedder)


def test_scores_are_weighted_means_of_the_best_match_of_each_question_token():
    random = np.random.default_rng(0)
    states, weights = random.standard_normal((4, 16)).astype(np.float32), np.float32([0.5, 0.25, 0.25, 0])
    passages = [np.sign(random.standard_normal((count, 16))) for count in (3, 1, 6)]
    packed = np.packbits(np.concatenate(passages) > 0, axis=1)
    by_hand = [
        sum(w * max(signs @ q / 4 / np.sqrt(q @ q) for signs in passage) for q, w in zip(states, weights))
        for passage in passages
    ]
    assert late_scores(states, weights, packed, [3, 1, 6]) == pytest.approx(by_hand, rel=1e-5)


def test_one_pass_gives_the_embedders_vectors_and_the_signs_of_each_token(embedder, encoder):
    vectors, signs = encoder.encode_passages(TEXTS)
    assert np.array_equal(vectors, embedder.embed_passages(TEXTS))
    assert [len(each) for each in signs] == [n + 2 for n in embedder.count_tokens(TEXTS)]
    assert all(each.dtype == np.uint8 and each.shape[1] == encoder.dimension == 48 for each in signs)
    vector = np.unpackbits(signs[1][0]) * 2.0 - 1
    assert vector @ vectors[1] > 0.7 * np.sqrt(384)  # the vector is the first token's state


def test_a_question_comes_without_the_embedders_prompt(embedder, encoder):
    question = "Unbelievableness, twice?"
    asked = encoder.encode_question(question)
    assert np.array_equal(asked.vector, embedder.embed_query(question))
    assert len(asked.words) == len(asked.states)
    assert list(dict.fromkeys(asked.words)) == ["Unbelievableness", ",", "twice", "?", ""]
    assert asked.words.count("Unbelievableness") > 1 and asked.words.count("") == 1
    long = encoder.encode_question("word " * 600)
    assert len(long.words) == len(long.states) < 512 and long.words[-1] == ""


@pytest.mark.parametrize(
    ("question", "best"), [("How long does a cat sleep?", 0), ("What does it cost to join?", 1)]
)
def test_the_real_model_prefers_the_passage_that_answers(encoder, question, best):
    asked = encoder.encode_question(question)
    _, signs = encoder.encode_passages(TEXTS[:2])
    weights = word_weights(asked.words, lambda word: float(len(word) > 3))
    scores = late_scores(asked.states, weights, np.concatenate(signs), [len(each) for each in signs])
    assert np.argmax(scores) == best


def test_weights_are_shares_by_rarity_and_equal_where_nothing_is_rare():
    rarity = {"the": 1.0, "zebra": 3.0}.__getitem__
    assert word_weights(["", "the", "zebra", ""], rarity).tolist() == [0, 0.25, 0.75, 0]
    assert word_weights(["", "x", "y", ""], lambda word: 0.0).tolist() == [0.25] * 4


def test_another_embedder_or_the_switch_does_without(embedder):
    assert load_token_encoder(RetrievalSettings(late_interaction="off"), embedder) is None
    assert load_token_encoder(RetrievalSettings(), HashingEmbedder()) is None
