"""Quotes among the characters of pages whose letters stand at known places."""

from rag.page.matching import locate, marks

PROSE = "The rent is due on the first working day of each month. It is paid to the landlord."


def typed(text):
    """Characters and their boxes, ten points a letter and twenty a line, as a typewriter has them."""
    characters, boxes, x, y = [], [], 0, 1000
    for character in text:
        characters.append(character)
        boxes.append((x, y, x, y) if character == "\n" else (x, y, x + 10, y + 12))
        x, y = (0, y - 20) if character == "\n" else (x + 10, y)
    return characters, boxes


def found(quote, page, before=""):
    return [page[start:end] for start, end in locate(quote, *typed(page), before)]


def test_a_quote_is_found_whatever_line_breaks_hyphens_and_ligatures_are_in_between():
    page = "These of\ufb01ces, the main\n\ufffetenance is paid; \u201cquo\u0301ted\u201d, non-\nrefundable."
    assert found("offices, the maintenance is PAID", page) == ["of\ufb01ces, the main\n\ufffetenance is paid"]
    assert found("quóted\u201d, non-refundable.", page) == ["quo\u0301ted\u201d, non-\nrefundable."]


def test_nothing_is_found_of_what_is_not_there():
    assert found("The deposit is returned within thirty days.", PROSE) == []
    assert found(" \u2022 ", PROSE) == []
    assert found("rent", "") == []


def test_a_short_quote_is_found_as_whole_words_only():
    assert found("15", "2015 and 150 and 1.5") == []
    assert found("15", "2015 and 15.") == ["15"]
    assert found("ten", "often") == []


def test_of_two_places_the_text_in_front_decides():
    page = "Sales\nTotal 5 6\nCosts\nTotal 5 6"
    start = [locate("Total 5 6", *typed(page), before)[0][0] for before in ("", "Sales\n", "Other\nCosts\n")]
    assert start == [6, 6, 22]


def test_a_whole_word_is_preferred_to_a_part_of_one():
    assert locate("maintenance work", *typed("nonmaintenance work, maintenance work")) == [(21, 37)]


def test_runs_are_found_in_another_order_and_around_what_is_between_them():
    page = "is paid to the landlord. [a running head] The rent is due on the first working day"
    quote = "The rent is due on the first working day, it is paid to the landlord."
    assert found(quote, page) == ["The rent is due on the first working day", "is paid to the landlord."]


def test_a_few_words_in_common_are_no_find():
    quote = "The first working day is long and nobody knows what will become of it when it ends at last."
    assert found(quote, PROSE) == []


def test_a_quote_that_goes_on_over_the_page_is_found_as_far_as_it_is_there():
    filler = "Words of another kind stand above here. " * 6
    quote = (
        PROSE + " Whoever pays late owes interest, as the law has it, from the day on which it was due." * 2
    )
    assert found(quote, filler + PROSE + "\n12") == [PROSE]
    assert found(
        "An earlier page has this part of the statement and more of it. " * 3 + PROSE, PROSE + filler
    ) == [PROSE]
    assert found(quote, PROSE + filler * 2) == []  # not at the foot, where it would go on


def test_most_values_of_a_row_on_one_line_are_found():
    page = "Item Price Stock\nLamp 12.50 40\nDesk 99.00 7\nChair 12.50 8"
    assert found("Item: Desk; Price: 99.00; Stock: 7", page) == ["Desk", "99.00", "7"]
    assert found("Item: Chair; Price: 12.50; Colour: blue", page) == ["Chair", "12.50"]
    assert found("Item: Sofa; Price: 12.50; Stock: 9", page) == []
    assert found("Desk | 40 | 8", page) == []  # of three lines


def test_marks_join_letters_along_lines_and_part_at_wide_gaps():
    _, boxes = typed("one two\nthree")
    assert marks([(0, 13)], boxes) == [(0, 1000, 70, 1012), (0, 980, 50, 992)]
    assert marks([(0, 3), (4, 7)], boxes) == [(0, 1000, 30, 1012), (40, 1000, 70, 1012)]
    apart = [(0, 0, 10, 12), (60, 0, 70, 12), (71, 2, 76, 9)]
    assert marks([(0, 3)], apart) == [(0, 0, 10, 12), (60, 0, 76, 12)]


def test_marks_follow_a_vertical_line_and_leave_out_what_has_no_box():
    upright = [(0, 0, 12, 10), (0, 0, 0, 0), (0, 10, 12, 20), (0, 20, 12, 30)]
    assert marks([(0, 4)], upright) == [(0, 0, 12, 30)]
