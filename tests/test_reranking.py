"""Rerankers by name: any cross-encoder, judged as the bundled one is."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from rag import bundled
from rag.errors import ModelNotFound
from rag.reranking import BundledReranker, load_reranker
from rag.settings import RetrievalSettings
from rag.training.dequantize import weights

QUESTION = "How long is the bridge?"
TEXTS = [
    "The bridge over the sound is 1,210 metres long.",
    "The bridge was painted green in spring.",
    "Oysters are eaten raw.",
]


def folder_of_bundled(folder, labels=1):
    """The bundled cross-encoder as sentence-transformers would find it on a disk."""
    file = bundled.path(bundled.CROSS_ENCODER)
    shape = BertConfig(hidden_size=384, num_attention_heads=12, intermediate_size=1536, num_labels=labels)
    model = BertForSequenceClassification(shape)
    state = {name: torch.from_numpy(array.copy()) for name, array in weights(file).items()}
    if labels > 1:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier")}
    model.load_state_dict(state, strict=labels == 1)
    model.save_pretrained(folder)
    BertTokenizerFast(tokenizer_file=str(file.parent / "tokenizer.json")).save_pretrained(folder)
    return folder


def test_a_cross_encoder_in_a_folder_scores_as_its_weights_say(tmp_path):
    reranker = load_reranker(RetrievalSettings(rerank=str(folder_of_bundled(tmp_path / "own-encoder"))))
    assert reranker.name == "own-encoder"
    assert reranker.score(QUESTION, TEXTS) == pytest.approx(BundledReranker().score(QUESTION, TEXTS), abs=0.3)
    assert reranker.score(QUESTION, []).shape == (0,)


def test_a_model_of_several_classes_is_no_reranker(tmp_path):
    with pytest.raises(ModelNotFound, match="3 outputs instead of one"):
        load_reranker(RetrievalSettings(rerank=str(folder_of_bundled(tmp_path, labels=3))))


def test_a_name_that_leads_nowhere_is_told(tmp_path):
    with pytest.raises(ModelNotFound, match="nowhere cannot be loaded"):
        load_reranker(RetrievalSettings(rerank=str(tmp_path / "nowhere")))


def test_off_is_none_and_the_reader_the_default():
    assert load_reranker(RetrievalSettings(rerank="off")) is None
    assert load_reranker(RetrievalSettings()).name == "footnote-reader"
    bundled = load_reranker(RetrievalSettings(rerank="bundled"))
    assert bundled.name == "cross-encoder/ms-marco-MiniLM-L-12-v2"
