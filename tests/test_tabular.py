"""Rows and columns of tables in running text."""

import pytest

from rag.tabular import column_names, first_row, is_row

SALES = """\
Net sales include product and service sales, and are as follows in each of the periods (in millions):

Three Months Ended
June 30,
2022 2023

Net Sales:
North America $ 74,430 $ 82,546
International 27,065 29,697

Growth:
North America 10 % 11 %
International (12) 10

Sales rose in both parts of the world.
"""


@pytest.mark.parametrize(
    "line",
    [
        "North America $ 74,430 $ 82,546",
        "International (12) 10",
        "Services 20,907 19,821 5 % 41,673 39,337 6 %",
        "$ 94,836 $ 97,278 (3)%",
        "Net loss — (2,000) 3",
    ],
)
def test_rows(line):
    assert is_row(line)


@pytest.mark.parametrize(
    "line",
    [
        "2022 2023 2022 2023",
        "Fiscal years 2022 2023",
        "Three Months Ended",
        "June 30, 2022",
        "Sales rose by 3 percent to 12,000 dollars.",
        "",
        "1. Introduction",
        "Between 2019 and 2020",
    ],
)
def test_no_rows(line):
    assert not is_row(line)


@pytest.mark.parametrize(
    "row", ["North America $ 74", "International 27", "North America 10", "International (12)"]
)
def test_columns_are_named_by_the_lines_above_the_first_row(row):
    start, end = column_names(SALES, SALES.index(row))
    assert SALES[start:end] == "Three Months Ended\nJune 30,\n2022 2023"


def test_names_without_numbers():
    text = "Our prices follow.\nName Weight Price\nApples 3 400\nPears 2 500\n"
    start, end = column_names(text, text.index("Pears"))
    assert text[start:end] == "Name Weight Price"


def test_no_row_or_no_names_is_none():
    assert column_names(SALES, SALES.index("Sales rose")) is None
    assert column_names("Apples 3 400\nPears 2 500", 13) is None
    assert column_names("", 0) is None


def test_a_long_table_is_not_searched_without_end():
    rows = "Name Weight Price\n" + "Apples 3 400\n" * 500
    assert column_names(rows, len(rows) - 5) is None


def test_the_first_row_of_a_text_that_begins_in_a_table():
    assert first_row("Growth:\nNorth America 10 % 11 %\n") == len("Growth:\n")
    assert first_row(SALES) is None  # it begins with a sentence
    assert first_row("Growth:\nSales rose.") is None and first_row("") is None
