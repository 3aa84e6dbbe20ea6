"""Late interaction with the real model and projection, compared with sums by hand."""

import numpy as np
import pytest

from rag import late
from rag.errors import BundledModelMissing
from rag.late import SCALE, BundledTokenEncoder, late_scores, word_weights

TEXTS = ["Cats sleep sixteen hours a day.", "The membership fee is 350 euros a year.", "Fee."]


@pytest.fixture(scope="module")
def encoder():
    return BundledTokenEncoder(threads=1)


def test_scores_are_weighted_means_of_the_best_match_of_each_question_token():
    random = np.random.default_rng(0)
    question, weights = random.standard_normal((4, 8)).astype(np.float32), np.float32([0.5, 0.25, 0.25, 0])
    passages = [random.integers(-127, 128, (count, 8)).astype(np.int8) for count in (3, 1, 6)]
    found = late_scores(question, weights, np.concatenate(passages), [3, 1, 6])
    by_hand = [
        sum(
            w * max(float(token @ q) / SCALE for token in passage.astype(np.float64))
            for q, w in zip(question, weights)
        )
        for passage in passages
    ]
    assert found == pytest.approx(by_hand, rel=1e-5)


def test_passages_come_back_in_their_order_as_unit_vectors_without_padding(encoder):
    matrices = encoder.encode_passages(TEXTS)
    assert [len(matrix) for matrix in matrices] == [n + 2 for n in encoder._onnx.count_tokens(TEXTS)]
    for matrix in matrices:
        assert matrix.dtype == np.int8 and matrix.shape[1] == encoder.dimension
        assert np.linalg.norm(matrix / SCALE, axis=1) == pytest.approx(1, abs=0.02)
    alone = encoder.encode_passages([TEXTS[2]])[0] / SCALE
    cosines = np.sum(alone * (matrices[2] / SCALE), axis=1)
    assert cosines.min() > 0.9  # int8 activations shift a little with what else is in the batch


@pytest.mark.parametrize(
    ("question", "best"), [("How long does a cat sleep?", 0), ("What does it cost to join?", 1)]
)
def test_the_real_model_prefers_the_passage_that_answers(encoder, question, best):
    vectors, words = encoder.encode_question(question)
    matrices = encoder.encode_passages(TEXTS[:2])
    weights = word_weights(words, lambda word: float(len(word) > 3))
    scores = late_scores(vectors, weights, np.concatenate(matrices), [len(m) for m in matrices])
    assert np.argmax(scores) == best


def test_every_token_knows_its_word(encoder):
    vectors, words = encoder.encode_question("Unbelievableness, twice?")
    assert len(words) == len(vectors)
    assert words[0] == words[-1] == ""
    assert list(dict.fromkeys(words[1:-1])) == ["Unbelievableness", ",", "twice", "?"]
    assert words.count("Unbelievableness") > 1
    long_vectors, long_words = encoder.encode_question("word " * 600)
    assert len(long_words) == len(long_vectors) == 512 and long_words[-1] == ""


def test_weights_are_shares_by_rarity_and_equal_where_nothing_is_rare():
    rarity = {"the": 1.0, "zebra": 3.0}.__getitem__
    assert word_weights(["", "the", "zebra", ""], rarity).tolist() == [0, 0.25, 0.75, 0]
    assert word_weights(["", "x", "y", ""], lambda word: 0.0).tolist() == [0.25] * 4


def test_an_altered_projection_is_refused(monkeypatch, tmp_path):
    content = bytearray(late.PROJECTION.read_bytes())
    content[-1] ^= 1
    altered = tmp_path / "projection.npy"
    altered.write_bytes(content)
    monkeypatch.setattr(late, "PROJECTION", altered)
    with pytest.raises(BundledModelMissing):
        late.load_projection()


def test_projection_keeps_directions_apart():
    projection = late.load_projection()
    assert projection.T @ projection == pytest.approx(np.eye(64), abs=1e-3)
