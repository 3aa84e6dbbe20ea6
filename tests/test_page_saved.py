"""A kept answer has all that showing it needs, in JSON's own types."""

import json

import pytest

from rag.engine import Engine
from rag.evidence import EvidenceFinder
from rag.explain import explanation_record
from rag.page.saved import VERSION, saved, turn
from rag.records import answer_record
from rag.retrieval import Retriever
from rag.settings import AnswerSettings, RetrievalSettings
from rag.types import (
    Answer,
    Chunk,
    Citation,
    Context,
    Done,
    Dropped,
    Hit,
    ModelInfo,
    Rank,
    Timings,
    Turn,
    Unsupported,
)
from tests.fakes import EchoModel, HashingEmbedder, OverlapReranker
from tests.test_retrieval import build


def passage(id, text, page):
    place = ("/docs/deck.pptx", "The deck", page, None, ("Part", "Chapter"), "slide")
    return Hit(Chunk(id, f"document-{id}", text, 0, len(text), *place), 0.5, {"fused": Rank(page, 0.5)})


CATS = passage("cats", "Cats sleep sixteen hours. They purr.", 1)
DOGS = passage("dogs", "Dogs sleep twelve hours.", 2)
TWIN = passage("twin", "Dogs sleep twelve hours!", 3)
ANSWER = Answer(
    "And dogs?",
    '"Dogs sleep twelve hours." [1] They snore.',
    (Citation(1, DOGS, "Dogs sleep twelve hours.", 0, 24, True, "twelve hours"),),
    (CATS, DOGS),
    False,
    ModelInfo("small", "llamacpp", "Q4_1", notes=("the context was shortened",)),
    Timings(0.1, 0.2, 0.3, 10, 5),
    (Dropped(TWIN, "thinned", "nearly the same text as deck.pptx"),),
    Context(200, 1024, (DOGS,), (CATS,)),
    True,
    0.875,
    (Unsupported("They snore.", "'snore' is not there", CATS, (26, 36)), Unsupported("No.", "nothing of it")),
    "How long do dogs sleep?",
)


def test_nothing_is_lost_in_json():
    record = saved(ANSWER, [(12, 24)])
    assert json.loads(json.dumps(record)) == record
    assert record["version"] == VERSION


def holds(more, less):
    """Whether a record has all that another has, at every depth."""
    if isinstance(less, dict):
        return all(key in more and holds(more[key], less[key]) for key in less)
    if isinstance(less, list):
        return len(more) == len(less) and all(map(holds, more, less))
    return more == less


def test_it_has_what_the_command_line_prints_and_more():
    record = saved(ANSWER)
    assert holds(record, answer_record(ANSWER))
    explained = explanation_record(ANSWER)
    assert (record["context"], record["confidence"]) == (explained["context"], 0.875)
    assert record["context"] == {"tokens": 200, "budget_tokens": 1024, "used": [2], "dropped": [1]}


def test_a_footnote_leads_to_its_words_in_its_passage():
    record = saved(ANSWER, [(12, 24)])
    (citation,) = record["citations"]
    where = {"place": "deck.pptx slide 2", "heading": ["Part", "Chapter"], "unit": "slide"}
    assert {**citation, **where, "document_id": "document-dogs", "hit": 1} == citation
    hit = record["hits"][citation["hit"]]  # not the footnote's number: a model may have read other passages
    assert hit["text"][citation["start"] : citation["end"]] == citation["quote"]
    assert {**hit, **where, "document_id": "document-dogs", "title": "The deck"} == hit
    ((start, end),) = record["bold"]
    assert record["answer"][start:end] == citation["exact"]


def test_what_was_left_out_and_not_found_is_kept():
    record = saved(ANSWER)
    (dropped,) = record["dropped"]
    assert dropped == {
        "place": "deck.pptx slide 3",
        "path": "/docs/deck.pptx",
        "stage": "thinned",
        "reason": "nearly the same text as deck.pptx",
    }
    near, far = record["unsupported"]
    assert far == {"sentence": "No.", "problem": "nothing of it", "nearest": None}
    nearest = near["nearest"]
    assert (nearest["place"], nearest["hit"], nearest["quote"]) == ("deck.pptx slide 1", 0, "They purr.")
    assert record["hits"][0]["text"][nearest["start"] : nearest["end"]] == "They purr."


def test_the_conversation_goes_on_from_a_kept_answer():
    assert turn(json.loads(json.dumps(saved(ANSWER)))) == ANSWER.turn
    alone = Answer("How long?", "Long.", (), (), False, None, Timings())
    assert turn(saved(alone)) == alone.turn == Turn("How long?", "How long?", "Long.")


@pytest.mark.parametrize("model", [None, EchoModel(), EchoModel(7_000_000_000)])
@pytest.mark.parametrize("question", ["How long do cats sleep?", "Who won the football world cup?"])
def test_every_real_answer_can_be_kept(tmp_path, model, question):
    embedder = HashingEmbedder()
    with build(tmp_path, embedder).open() as generation:
        retriever = Retriever(generation, embedder, OverlapReranker(), RetrievalSettings(top_k=2))
        finder = EvidenceFinder(OverlapReranker())
        engine = Engine(retriever, finder, model, AnswerSettings(), lambda model: 1.0)
        *_, done = engine.ask(question)
    assert isinstance(done, Done)
    record = saved(done.answer)
    assert json.loads(json.dumps(record)) == record
    for citation in record["citations"]:
        hit = record["hits"][citation["hit"]]
        assert hit["text"][citation["start"] : citation["end"]] == citation["quote"]
        assert hit["document_id"] == citation["document_id"]
