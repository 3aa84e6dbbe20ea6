"""Each stage at which a passage can fall out is told, with the rank that it had."""

import pytest

from rag.engine import Engine
from rag.evidence import EvidenceFinder
from rag.filters import Filters
from rag.retrieval import Retriever
from rag.settings import AnswerSettings, RetrievalSettings
from rag.types import Done
from rag.why_not import why_not
from tests.fakes import EchoModel, HashingEmbedder, OverlapReranker
from tests.shelves import shelve

QUESTION = "How long do cats sleep in winter?"
BEST = "In winter cats sleep long: cats sleep as long as winter is. Long sleep is what cats like in winter."
FILES = {
    "/d/cats.pdf": [BEST, "Cats eat fish.", "Long winters."],
    "/d/copy.pdf": ["Dogs bark.", f"{BEST.upper()} Really."],
    "/d/long.pdf": ["Cats sleep long in their baskets. " + "Their baskets are soft and warm. " * 40],
    **{f"/d/{n}.txt": [f"Note {n}: cats sleep somewhere."] for n in range(9)},
    "/d/blank.txt": [],
    "/d/far.md": ["Quarterly accounts of the bakery."],
}
FAILED = {"/d/scan.pdf": "is protected by a password"}


@pytest.fixture
def verdict_on(tmp_path):
    embedder = HashingEmbedder(256)
    with shelve(tmp_path, FILES, embedder, failed=FAILED).open() as generation:

        def verdict(place, question=QUESTION, filters=None, model=None, **settings):
            chosen = RetrievalSettings(**{"top_k": 3, "rerank_pairs": 5, "rerank_lead": 0, **settings})
            reranker = OverlapReranker()
            retriever = Retriever(generation, embedder, reranker, chosen)
            answers = AnswerSettings(context_tokens=256)
            engine = Engine(retriever, EvidenceFinder(reranker), model, answers, lambda model: 1.0)
            *_, last = engine.ask(question, filters=filters)
            assert isinstance(last, Done)
            return why_not(retriever, last.answer, place, filters)

        yield verdict


def test_what_is_quoted_is_said_to_be(verdict_on):
    verdict = verdict_on("cats.pdf:1")
    assert verdict.fell_at is None and verdict.chunk.text == BEST
    stages = {step.stage: step for step in verdict.steps}
    assert list(stages) == ["index", "dense", "lexical", "fused", "rerank", "top_k", "answer"]
    assert all(step.passed for step in verdict.steps)
    assert {stages[name].rank.rank for name in ("dense", "lexical", "fused", "rerank")} <= {1, 2}
    assert stages["answer"].says == "it is in the answer, as [1]"


def test_without_a_page_it_is_the_best_of_the_file(verdict_on):
    assert verdict_on("cats.pdf").chunk.text == BEST


@pytest.mark.parametrize(
    ("place", "options", "stage", "says"),
    [
        ("nowhere.pdf:2", {}, "index", "nowhere.pdf is not in the index"),
        ("scan.pdf:3", {}, "index", "is protected by a password"),
        ("cats.pdf:9", {}, "page", "no passage on page 9; there are some on 1, 2, 3"),
        ("cats.pdf:1", {"filters": Filters(kinds=("txt",))}, "filters", "leave it out"),
        ("blank.txt", {}, "page", "blank.txt holds no text to search"),
        ("far.md", {"dense_depth": 5}, "fused", "neither search"),
        ("copy.pdf:2", {}, "thinned", "nearly the same text as cats.pdf p. 1"),
        ("cats.pdf:2", {}, "rerank", "only the first 5"),
        ("8.txt", {"rerank_pairs": 100}, "top_k", "ranked "),
        ("far.md", {"question": "Who bakes bread in Lisbon for the bakery?"}, "refusal", "refused"),
        ("long.pdf", {"model": EchoModel(7_000_000_000)}, "prompt", "no room in the prompt"),
        ("long.pdf", {}, "sentence", "none of its sentences"),
    ],
)
def test_each_stage_can_leave_a_passage_out(verdict_on, place, options, stage, says):
    verdict = verdict_on(place, **options)
    assert verdict.fell_at == stage and says in verdict.steps[-1].says
    assert verdict.as_dict()["fell_at"] == stage


def test_ranks_are_those_of_the_whole_index_however_deep(verdict_on):
    steps = {step.stage: step for step in verdict_on("far.md", dense_depth=5).steps}
    passages = sum(map(len, FILES.values()))
    assert f"of {passages}, cosine" in steps["dense"].says and "beyond the first 5" in steps["dense"].says
    assert not steps["dense"].passed and 5 < steps["dense"].rank.rank <= passages
    assert steps["lexical"].says == "shares no word with the question"


def test_what_the_model_read_is_told(verdict_on):
    verdict = verdict_on("cats.pdf:1", model=EchoModel(7_000_000_000))
    assert [step.stage for step in verdict.steps][-2:] == ["prompt", "answer"]


def test_the_record_tells_the_same_as_the_words(verdict_on):
    verdict = verdict_on("cats.pdf:1")
    record = verdict.as_dict()
    assert (record["path"], record["page"], record["text"]) == ("/d/cats.pdf", 1, BEST)
    assert [stage["says"] for stage in record["stages"]] == [step.says for step in verdict.steps]
    fused = next(stage for stage in record["stages"] if stage["stage"] == "fused")
    assert fused["rank"] == 1 and f"{fused['score']:.3f}" in fused["says"]
