"""Evidence: the right sentence is quoted verbatim, and weak evidence is recognised."""

from dataclasses import replace

from rag.evidence import WORDS, EvidenceFinder
from rag.types import Rank, Reading, Span
from tests.fakes import OverlapReranker, hit

CATS = hit("Lions live in prides. Cats sleep sixteen hours a day. They are quiet hunters of mice.")
FEES = hit("The fee is 350 euros a year. Members pay it in March.")


def ranked(found, logit):
    return replace(found, how={"rerank": Rank(1, logit)})


def test_the_answering_sentence_leads_and_stands_verbatim_in_its_chunk():
    evidence = EvidenceFinder(OverlapReranker()).find("How long do cats sleep?", [FEES, CATS])
    best = evidence.sentences[0]
    assert best.text == "Cats sleep sixteen hours a day."
    assert best.hit.chunk.text[best.start : best.end] == best.text
    assert evidence.confidence > 0.5


def test_a_passages_own_score_breaks_the_tie_between_equal_sentences():
    twin = hit("Cats sleep sixteen hours a day. Nothing else matters here.")
    finder = EvidenceFinder(OverlapReranker())
    for first, second in ((4.0, -4.0), (-4.0, 4.0)):
        evidence = finder.find("How long do cats sleep?", [ranked(CATS, first), ranked(twin, second)])
        assert evidence.sentences[0].hit.chunk == (CATS if first > second else twin).chunk


def test_evidence_about_something_else_is_of_low_relevance():
    evidence = EvidenceFinder(OverlapReranker()).find("Who painted the ceiling of the chapel?", [FEES, CATS])
    assert evidence.confidence < 0.1


def test_without_a_reranker_shared_words_decide():
    finder = EvidenceFinder(None)
    assert finder.find("When do members pay?", [CATS, FEES]).sentences[0].text == "Members pay it in March."
    assert finder.find("Who painted it?", [CATS, FEES]).confidence == 0.0


def test_nothing_retrieved_is_no_evidence():
    assert EvidenceFinder(OverlapReranker()).find("Anything?", []).sentences == ()


def test_a_second_sentence_is_quoted_only_while_both_are_short():
    long = hit("Cats sleep " + "very " * WORDS + "long. Cats sleep at noon.")
    evidence = EvidenceFinder(OverlapReranker()).find("When do cats sleep?", [long])
    assert len(evidence.sentences) == 1


def test_a_sentence_that_announces_a_list_is_quoted_with_it():
    values = hit("Intro here. Company values:\n- Quality\n- Integrity\n- " + "word " * 60)
    best = EvidenceFinder(OverlapReranker()).find("What are the company values?", [values]).sentences[0]
    assert best.text == "Company values:\n- Quality\n- Integrity"


REPORTS = [
    hit(f"Rent came to {rent} euros. The roof leaked again.", path=f"/d/report {month}.txt")
    for month, rent in ((2, 910), (10, 950), (1, 900))
]


def test_of_several_documents_each_is_quoted_in_the_order_of_their_names():
    hits = [replace(each, chunk=replace(each.chunk, document_id=each.chunk.path)) for each in REPORTS]
    for reranker in (OverlapReranker(), None):
        evidence = EvidenceFinder(reranker).find("How much rent in each report?", hits, several=True)
        assert evidence.several
        assert [s.text for s in evidence.sentences] == [f"Rent came to {n} euros." for n in (900, 910, 950)]
    assert len(EvidenceFinder(OverlapReranker()).find("How much rent?", hits).sentences) == 2


def test_of_several_documents_one_that_is_about_something_else_is_not_quoted():
    def read(found, relevance, margin):
        span = Span(0, 4, margin)
        chunk = replace(found.chunk, document_id=found.chunk.path)
        return replace(found, chunk=chunk, reading=Reading(relevance, -3.0, (span,)))

    hits = [read(REPORTS[0], 3.0, -2.0), read(REPORTS[1], 1.0, -9.0), read(REPORTS[2], -1.0, -1.0)]
    finder = EvidenceFinder(OverlapReranker())
    evidence = finder.find("Rent in each report?", hits, several=True)
    assert [s.hit.chunk.path for s in evidence.sentences] == ["/d/report 2.txt", "/d/report 10.txt"]
    assert evidence.confidence > 0.9 > finder.find("Rent?", hits).confidence


def test_a_tables_row_is_quoted_with_the_names_of_its_columns():
    text = (
        "Sales are as follows, in millions of dollars:\n2022 2023\nNorth $ 70 $ 82\nSouth 27 29\nThey rose."
    )
    start = text.index("29")
    found = replace(hit(text), reading=Reading(3.0, 3.0, (Span(start, start + 2, 5.0),)))
    best = (
        EvidenceFinder(OverlapReranker())
        .find("What were the sales of the South in 2023?", [found])
        .sentences[0]
    )
    assert best.text == "2022 2023\nNorth $ 70 $ 82\nSouth 27 29"
    assert text[best.start : best.end] == best.text
