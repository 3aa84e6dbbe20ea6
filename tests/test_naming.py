"""Which documents a question names."""

import pytest

from rag.naming import asks_for_latest, asks_of_several, latest, named


@pytest.mark.parametrize(
    "question",
    [
        "How have the sales changed over time?",
        "How did the rent develop across the quarters?",
        "List the effect separately for each reported period.",
        "What is the deductible in these contracts?",
        "How do the two leases differ?",
        "Compare the budgets of Bern and Basel.",
        "Which risks are named in all annual reports?",
        "How did costs grow quarter over quarter?",
        "What did we spend compared to previous years?",
    ],
)
def test_what_asks_of_several_documents(question):
    assert asks_of_several(question)


@pytest.mark.parametrize(
    "question",
    [
        "When does the lease end?",
        "How many students enrol each year?",
        "What changed the mind of the king?",
        "Who lives in the house next to the report office?",
        "What is the vs-code licence of the previous owner?".replace("vs-", ""),
        "",
    ],
)
def test_what_does_not(question):
    assert not asks_of_several(question)


def test_the_latest():
    assert asks_for_latest("What does the most recent report say?") and asks_for_latest("Latest figures?")
    assert not asks_for_latest("What was said recently of the report?")


def test_words_that_name_some_documents_count_by_rarity():
    words = {"a": {"2022", "q3", "form"}, "b": {"2023", "q3", "form"}, "c": {"2023", "q1", "form"}}
    shares = named({"q1": 2.0, "2023": 1.0, "form": 5.0, "sales": 3.0}, words)
    assert shares["c"] == pytest.approx(1.0)
    assert 0 < shares["b"] < 0.2  # it shares the year alone, which two of three have
    assert shares["a"] == 0.0


def test_words_that_name_all_or_none_tell_nothing():
    assert named({"form": 1.0, "sales": 1.0}, {"a": {"form"}, "b": {"form"}}) == {"a": 0.0, "b": 0.0}
    assert named({}, {}) == {}


def test_the_last_of_each_series():
    names = ["q3 2022 rent", "q1 2023 rent", "q10 2022 rent", "2023-01-31 pay", "2022-12-31 pay", "notes 7"]
    assert latest({name: f"/docs/{name}.pdf" for name in names}) == {"q1 2023 rent", "2023-01-31 pay"}
