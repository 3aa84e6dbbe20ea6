"""Embedders and the cross-encoder, with the real models."""

import numpy as np
import pytest

from rag import bundled
from rag.embedding import BundledEmbedder, SentenceTransformersEmbedder, load_embedder
from rag.errors import ModelNotFound
from rag.reranking import BundledReranker
from rag.settings import EmbeddingSettings

PASSAGES = [
    "The membership fee is 350 euros a year.",
    "Cats sleep sixteen hours a day.",
    "The worker was killed because memory ran out.",
]
QUESTIONS = ["How much do members pay?", "How long does a cat rest?", "Why did the process die?"]


@pytest.fixture(scope="module", params=["bundled", "sentence-transformers"])
def embedder(request):
    if request.param == "bundled":
        return load_embedder(EmbeddingSettings())
    return load_embedder(EmbeddingSettings(model=str(bundled.path(bundled.MINILM).parent)))


def test_each_question_is_nearest_to_its_passage(embedder):
    passages = embedder.embed_passages(PASSAGES)
    assert passages.shape == (3, embedder.dimension) and passages.dtype == np.float32
    assert np.linalg.norm(passages, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    nearest = [int(np.argmax(passages @ embedder.embed_query(question))) for question in QUESTIONS]
    assert nearest == [0, 1, 2]


def test_the_order_of_a_batch_is_kept_whatever_the_lengths(embedder):
    texts = [PASSAGES[n % 3] + " word" * (n * 7 % 40) for n in range(20)]
    together = embedder.embed_passages(texts)
    alone = np.stack([embedder.embed_passages([text])[0] for text in texts])
    assert (together * alone).sum(axis=1).min() > 0.98  # int8 activations are scaled per batch


def test_texts_up_to_max_tokens_are_read_whole(embedder):
    text = "cat " * embedder.max_tokens
    assert embedder.count_tokens([text]) == [embedder.max_tokens]
    changed_end = "cat " * (embedder.max_tokens - 30) + "earthquake " * 30
    one, other = embedder.embed_passages([text, changed_end])
    assert float(one @ other) < 0.995


def test_tokens_are_counted_without_special_ones(embedder):
    assert embedder.count_tokens(["cats sleep", "", "a b c"]) == [2, 0, 3]


def test_nothing_embeds_to_nothing(embedder):
    assert embedder.embed_passages([]).shape == (0, embedder.dimension)


def test_an_embedder_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound, match="no-such"):
        SentenceTransformersEmbedder(str(tmp_path / "no-such"))


def test_the_source_loads_the_same_embedder_again(embedder):
    again = load_embedder(EmbeddingSettings(model=embedder.source))
    assert (again.name, again.revision, again.dimension) == (
        embedder.name,
        embedder.revision,
        embedder.dimension,
    )


def test_the_cross_encoder_ranks_the_answer_first_and_batches_agree():
    reranker = BundledReranker()
    texts = [*PASSAGES, "Unrelated: " + "lorem ipsum " * 300]
    for n, question in enumerate(QUESTIONS):
        scores = reranker.score(question, texts)
        assert int(np.argmax(scores)) == n
        single = [float(reranker.score(question, [text])[0]) for text in texts]
        assert scores == pytest.approx(single, abs=1.0)


def test_the_bundled_query_prefix_is_used():
    embedder = BundledEmbedder()
    plain = embedder.embed_passages([QUESTIONS[0]])[0]
    assert float(plain @ embedder.embed_query(QUESTIONS[0])) < 0.99
