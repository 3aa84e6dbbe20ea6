"""Which passages are the same once more, and how many one document may have."""

import itertools
from dataclasses import replace

import pytest

from rag.duplicates import ALIKE, thin
from rag.types import Chunk

TEXT = (
    "The membership fee is due on the first day of each quarter and is paid by bank transfer. "
    "Members who leave in the course of a quarter are refunded the part of the fee that remains, "
    "provided that they have returned their key to the office before the last day of that month."
)


def chunk(text, document="d", number=0):
    return Chunk(f"{document}{number}", document, text, 0, len(text), f"/x/{document}.txt", "")


def kept(*texts, count=10):
    return list(thin([(n, chunk(text, f"d{n}")) for n, text in enumerate(texts)], count).kept)


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (TEXT, True),
        (TEXT.upper().replace(" ", "\n"), True),
        (TEXT.replace("office", "secretary"), True),
        (TEXT.replace("the first day", "day 1"), False),
        (TEXT.replace("is paid", "is not paid"), False),
        (TEXT.partition(". ")[2], False),
        (TEXT.partition("first day")[2] + " " + TEXT.partition("first day")[0], True),
        ("Cats sleep all day.", False),
        ("", False),
    ],
)
def test_the_same_text_with_few_other_words_is_a_duplicate_unless_they_change_its_sense(other, alike):
    assert kept(TEXT, other) == ([0] if alike else [0, 1])


def test_two_amounts_are_two_answers():
    fees = [TEXT.replace("each quarter", f"each quarter, {n} euros,") for n in (350, 360)]
    assert kept(*fees) == [0, 1]


def test_likeness_is_the_share_of_common_shingles():
    words = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60)]

    def shingles(text):
        return {text[n : n + 3] for n in range(len(text) - 2)}

    for shift, length in itertools.product(range(0, 12, 2), (40, 46)):
        one, two = tuple(words[:40]), tuple(words[shift : shift + length])
        share = len(shingles(one) & shingles(two)) / len(shingles(one) | shingles(two))
        assert (kept(" ".join(one), " ".join(two)) == [0]) == (share >= ALIKE)


def test_the_better_ranked_one_stays_and_the_other_names_it():
    thinned = thin([(7, chunk(TEXT, "v2")), (3, chunk(TEXT, "v1")), (5, chunk("Cats sleep."))], 2)
    assert list(thinned.kept) == [7, 5]
    assert {row: reason for row, (_, reason) in thinned.dropped.items()} == {
        3: "nearly the same text as v2.txt"
    }


def test_files_of_one_name_are_told_apart_by_their_folders():
    versions = [replace(chunk(TEXT, f"d{n}"), path=f"/x/v{n}/rules.pdf", page=4) for n in (1, 2)]
    (_, reason), *_ = thin(enumerate(versions), 5).dropped.values()
    assert reason == "nearly the same text as v1/rules.pdf p. 4"


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("When is the fee due?", [0]),
        ("When was the fee due in 2023?", [0, 1]),
        ("fee in Berlin", [0, 1]),
        ("fee rules", [0]),
    ],
)
def test_what_the_question_tells_apart_is_not_the_same(question, rows):
    """`rules_2022.pdf` and `rules_2023.pdf` hold the same text, but only one is what was asked for."""
    versions = [
        replace(chunk(TEXT, f"d{n}"), path=f"/x/rules_{year}.pdf", heading=("Fees", town))
        for n, (year, town) in enumerate([(2022, "Bonn"), (2023, "Berlin")])
    ]
    assert list(thin(enumerate(versions), 5, question=question).kept) == rows


def test_no_more_is_read_than_needed():
    read = []

    def reading():
        for n in range(100):
            read.append(n)
            yield n, chunk(f"text of its own {n}", f"d{n}")

    assert list(thin(reading(), 4).kept) == [0, 1, 2, 3]
    assert len(read) <= 5


def test_a_document_gets_no_more_than_its_share_while_others_match():
    ranked = [(n, chunk(f"passage {n}", "a" if n < 5 else f"d{n}", n)) for n in range(8)]
    thinned = thin(ranked, 4, per_document=2)
    assert list(thinned.kept) == [0, 1, 5, 6]
    assert set(thinned.dropped) == {2, 3, 4}
    assert "2 better passages" in thinned.dropped[2][1]
    assert list(thin(ranked, 4).kept) == [0, 1, 2, 3]


def test_the_share_is_exceeded_rather_than_too_few_found():
    ranked = [(n, chunk(f"passage {n}", "a", n)) for n in range(5)]
    thinned = thin(ranked, 4, per_document=1)
    assert list(thinned.kept) == [0, 1, 2, 3] and set(thinned.dropped) == {4}


def test_one_wording_gets_no_more_than_its_share_of_the_places():
    flood = [TEXT.replace("membership fee", f"membership fee of {n} euros") for n in range(8)]
    ranked = [(n, chunk(text, f"v{n}")) for n, text in enumerate([*flood, "Cats sleep.", "Dogs bark."])]
    thinned = thin(ranked, 5, akin=2)
    assert list(thinned.kept) == [0, 1, 8, 9]
    assert thinned.dropped[2][1] == "2 passages before it have much of its wording"
    assert list(thin(ranked, 5).kept) == [0, 1, 2, 3, 4]
    assert list(thin(ranked, 5, spared=4, akin=2).kept) == [0, 1, 2, 3, 8]


def test_passages_of_one_document_may_repeat_its_wording():
    versions = [(n, chunk(TEXT.replace("fee", f"fee of {n} euros"), "one", n)) for n in range(4)]
    assert list(thin(versions, 4, akin=2).kept) == [0, 1, 2, 3]
