"""Training the reader: its beginning, its examples, its loss, an interruption, and what comes out."""

import itertools
import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from rag import bundled
from rag.reading import Reader
from rag.reranking import BundledReranker
from rag.training import examples
from rag.training.assess import auc, chunk_of
from rag.training.encoding import Batch, Encoder, batch
from rag.training.examples import Example
from rag.training.learning import Recipe, learn, loss
from rag.training.network import LAYERS, from_cross_encoder
from rag.training.run import Job, train

PAIRS = [
    ("When was the lighthouse built?", "The lighthouse on the northern cape was built in 1874."),
    ("When was the lighthouse built?", "Herring is smoked over beech wood for six hours."),
    ("Who repaired the clock?", "The clock of the town hall was repaired by a smith from the next valley."),
]
WORKS = (
    "The ferry crosses the sound in forty minutes. It was built in 1931 at Elmhaven, and carries sixty cars."
)


@pytest.fixture(scope="module")
def cross_encoder():
    return bundled.path(bundled.CROSS_ENCODER)


@pytest.fixture(scope="module")
def encoder(cross_encoder):
    return Encoder(cross_encoder.parent / "tokenizer.json")


def example(question="Where was the ferry built?", answer="Elmhaven", passage=WORKS, **more):
    at = passage.find(answer) if answer else -1
    spans = ((at, at + len(answer)),) if answer else ()
    return Example("Ferries", question, "Ferries", passage, spans, 1.5, **more)


def relevance(network, encoder, question, passage):
    rows = batch([encoder.encode(Example("", question, "", passage, (), 0.0))])
    with torch.inference_mode():
        return float(network(rows.ids, rows.mask, rows.types)[0][0])


def test_the_network_begins_with_what_the_cross_encoder_knows(cross_encoder, encoder):
    network = from_cross_encoder(cross_encoder).eval()
    expected = [BundledReranker().score(question, [passage])[0] for question, passage in PAIRS]
    found = [relevance(network, encoder, question, passage) for question, passage in PAIRS]
    assert found == pytest.approx(expected, abs=0.3)
    assert max(expected) - min(expected) > 5


def test_fewer_layers_are_spread_over_all(cross_encoder):
    whole, half = from_cross_encoder(cross_encoder), from_cross_encoder(cross_encoder, 6)
    for at, layer in enumerate(half.bert.encoder.layer):
        same = whole.bert.encoder.layer[2 * at + 1].output.dense.weight
        assert torch.equal(layer.output.dense.weight, same)
    assert len(whole.bert.encoder.layer) == LAYERS


def test_the_places_of_an_answer_are_its_tokens(encoder):
    encoded = encoder.encode(example())
    (first, last), *others = encoded.spans
    assert encoder._tokenizer.decode(list(encoded.ids[first : last + 1])) == "elmhaven"
    assert not others
    start, end = encoded.text
    assert encoder._tokenizer.decode(list(encoded.ids[start:end])).startswith("the ferry crosses")
    assert encoded.relevance == 1.5


@pytest.mark.parametrize("seed", range(8))
def test_a_cut_passage_keeps_its_answer(encoder, seed):
    passage = " ".join(f"Bay number {n} is quiet." for n in range(30)) + " " + WORKS
    encoded = encoder.encode(example(passage=passage), random.Random(seed))
    ((first, last),) = encoded.spans
    assert encoder._tokenizer.decode(list(encoded.ids[first : last + 1])) == "elmhaven"
    whole = encoder.encode(example(passage=passage))
    assert (encoded.relevance is None) == (len(encoded.ids) < len(whole.ids))


def test_the_loss_of_a_perfect_reader_is_nothing_and_each_fault_costs(encoder):
    target = batch([encoder.encode(example()), encoder.encode(example("What colour is it?", ""))])
    span = torch.full((*target.ids.shape, 2), -30.0)
    for n in range(2):
        span[n, target.starts[n], 0] = span[n, target.ends[n], 1] = 30.0
    right = torch.tensor([1.5, 1.5]), torch.tensor([30.0, -30.0]), span
    assert float(loss(right, target)) == pytest.approx(0, abs=1e-4)
    assert float(loss((right[0] + 2, right[1], span), target)) > 0.05
    assert float(loss((right[0], -right[1], span), target)) > 10
    assert float(loss((right[0], right[1], -span), target)) > 50


def test_relevance_that_the_teacher_did_not_judge_is_not_learned():
    shape = (1, 4)
    yes, no = torch.ones(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    no[0, 0] = True
    ids = torch.zeros(shape, dtype=torch.long)
    target = Batch(ids, ids, ids, yes, no, no, torch.tensor([math.nan]))
    span = torch.zeros((1, 4, 2))
    first, second = (float(loss((torch.tensor([x]), torch.zeros(1), span), target)) for x in (0.0, 9.0))
    assert first == second and math.isfinite(first)


def test_training_goes_on_where_it_was_interrupted(cross_encoder, encoder, tmp_path):
    told = [example(), example("What colour is it?", "", hard=True)] * 10
    weights = []
    for stops in ([3], [2, 3]):
        checkpoint = tmp_path / f"{len(stops)}.pt"
        for steps in stops:
            network = from_cross_encoder(cross_encoder, 1)
            # the whole run's length decides the learning rate, so that an interruption must not change it
            learn(network, told, encoder, Recipe(steps=3), checkpoint, lambda *_: None, stop_at=steps)
        weights.append(network.span.weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-6)
    assert not torch.equal(weights[0], from_cross_encoder(cross_encoder, 1).span.weight)


def test_a_run_of_a_few_steps_gives_a_reader_that_reads(tmp_path):
    data = tmp_path / "own.json"
    data.write_text(json.dumps({"data": [_article("Ferries"), _article("Lighthouses")]}))
    job = Job((data,), ("Lighthouses",), tmp_path / "reader", tmp_path / "work", layers=2, steps=2)
    figures = train(job)
    assert figures["n"] == 2 and 0 <= figures["f1"] <= 1
    reader = Reader(tmp_path / "reader" / "model.onnx", tmp_path / "reader" / "tokenizer.json")
    (reading,) = reader.read("Where was it built?", [chunk_of(example())])
    places = [(span.start, span.end) for span in reading.spans]
    assert places and all(0 <= start < end <= len(WORKS) for start, end in places)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(sorted(places)))
    margins = [span.margin for span in reading.spans]
    assert margins == sorted(margins, reverse=True)
    assert np.isfinite([reading.relevance, reading.answerable, *margins]).all()
    assert train(job) == figures
    assert job.checkpoint.exists()
    assert replace(job, held_out=()).checkpoint != job.checkpoint != replace(job, epochs=1.0).checkpoint


def test_examples_hold_the_answer_and_wrong_passages_do_not(tmp_path):
    data = tmp_path / "own.json"
    data.write_text(json.dumps({"data": [_article("Ferries"), _article("Lighthouses")]}))
    asked = list(examples.questions(data))
    text = "\n\n".join(paragraph["context"] for paragraph in _article("Ferries")["paragraphs"])
    assert [text[a:b] for question in asked[:3] for a, b in question.answers] == ["Elmhaven", "1931"]


def test_auc_counts_pairs():
    assert auc([2, 3], [1, 0]) == 1
    assert auc([1], [1]) == 0.5
    assert auc([0, 2], [1]) == 0.5


def _article(title):
    first = f"{title} need care. Nobody keeps a list of all {title.lower()}, and so their number is unknown."
    questions = [("Where was the ferry built?", "Elmhaven"), ("When was the ferry built?", "1931")]
    qas = [
        {"id": f"{title}{answer}", "question": text, "answers": [_found(answer)]}
        for text, answer in questions
    ]
    qas.append({"id": f"{title}-", "question": "Who paid for it?", "is_impossible": True, "answers": []})
    return {"title": title, "paragraphs": [{"context": first, "qas": []}, {"context": WORKS, "qas": qas}]}


def _found(answer):
    return {"text": answer, "answer_start": WORKS.index(answer)}
