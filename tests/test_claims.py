"""What a source says and what it does not, one kind of mistake after the other."""

import pytest

from rag.claims import check, check_pair, fragment, share

TESLA = (
    "Nikola Tesla moved to Paris in 1882, where he was not paid more than $25 a week "
    "by Thomas Edison's company."
)


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        (TESLA, TESLA),
        ("Tesla moved to Paris in 1882.", TESLA),
        ("In 1882, Tesla moved to Paris.", TESLA),
        ("Tesla in 1882 moved to Paris.", TESLA),
        ("Tesla was not paid more than 25 dollars a week.", TESLA),
        ("Tesla was hired by Edison.", "Edison hired Tesla."),
        ("Edison hired Tesla.", "Tesla was hired by Edison."),
        ("Edison and Tesla met.", "Tesla and Edison met."),
        ("Rome's king died.", "The king of Rome died."),
        ("The fee isn't due.", "The fee is not due."),
        ("The bridge carries twelve trains a day.", "The bridge carries 12 trains a day."),
        ("It cost 2.5 million dollars.", "It cost $2,500,000."),
        ("It opened in 1990.", "It was not until 1990 that it opened."),
        (
            "The tower built in 1889 attracts paying visitors.",
            "The tower, built in 1889, attracts paying visitors.",
        ),
    ],
)
def test_a_true_claim_is_supported(claim, source):
    assert check(claim, source).problem == ""


@pytest.mark.parametrize(
    ("claim", "source", "problem"),
    [
        ("Tesla moved to Paris in 1883.", TESLA, "1883 is not there"),
        ("Tesla moved to Rome in 1882.", TESLA, "Rome is not there"),
        ("Tesla was not paid more than $25 a month.", TESLA, "month is not there"),
        ("Tesla did not move to Paris in 1882.", TESLA, "it denies what is said there"),
        ("Tesla was paid more than $25 a week.", TESLA, "it leaves out what is denied there"),
        ("Edison moved to Paris in 1882.", TESLA, "it says so in another order"),
        ("Paris is in France.", "France is in Paris.", "it says so of another"),
        ("Teachers respect students.", "Students respect teachers.", "it says so in another order"),
        ("Tesla hired Edison.", "Tesla was hired by Edison.", "it says so of another"),
        ("Edison was hired by Tesla.", "Tesla was hired by Edison.", "it says so of another"),
        ("Tesla was hired by Edison.", "Tesla hired Edison.", "it says so of another"),
        ("He scored 30 goals in 12 games.", "He scored 12 goals in 30 games.", "is said of something else"),
        ("It is 3 km long and 5 m wide.", "It is 3 m long and 5 km wide.", "is said of something else"),
        (
            "It began on 4 May and ended on 9 June.",
            "It began on 9 May and ended on 4 June.",
            "is said of something",
        ),
        ("Ford and Ford met.", "Ford and Opel met.", "Ford is said of something else"),
        (
            "It was until 1990 that it opened.",
            "It was not until 1990 that it opened.",
            "leaves out what is denied",
        ),
        ("The bank opens before noon.", "The bank opens after noon.", '"before" where "after" is said'),
        ("Sales rose in 2023.", "Sales fell in 2023.", '"rose" where "fell" is said'),
        ("The teachers left the old school early.", "The students left the old school early.", '"teachers"'),
        ("It is what it is.", TESLA, "says nothing that can be checked"),
    ],
)
def test_a_false_claim_is_not_and_the_problem_is_named(claim, source, problem):
    assert problem in check(claim, source).problem


def test_a_title_names_whom_a_pronoun_means_and_nobody_else():
    assert check("Tesla moved to Paris.", "He moved to Paris.", "Nikola Tesla").supported
    assert not check("Tesla moved to Paris.", "Edison moved to Paris.", "Nikola Tesla").supported
    assert not check("He moved to Paris in 1882.", "He moved to Paris.", "Tesla in 1882").supported


@pytest.mark.parametrize(
    ("claim", "first", "second", "supported"),
    [
        ("Tesla worked in Graz and moved to Paris.", "Tesla worked in Graz.", "He moved to Paris.", True),
        ("Tesla moved to Paris.", "Tesla worked in Graz.", "He moved to Paris.", True),
        ("Dogs sleep sixteen hours a day.", "Cats sleep sixteen hours a day.", "Dogs sleep less.", False),
        ("Edison moved to Paris.", "Edison hired engineers.", "Tesla moved to Paris.", False),
        ("It opened in 1974 to visitors.", "In 1974 a law was passed.", "It opened to visitors.", False),
        ("Tesla moved to Paris.", "Tesla moved to Paris.", "He stayed there.", False),
    ],
)
def test_two_sentences_say_what_neither_says_alone(claim, first, second, supported):
    assert check_pair(claim, first, second).supported == supported


def test_the_share_counts_words_and_wants_every_number():
    assert share("Cats sleep; dogs bark.", "Cats sleep sixteen hours.") == 0.5
    assert share("The fee is 530 euros.", "The fee is 350 euros.") == 0.0
    assert share("It is what it is.", "The fee is 350 euros a year.") == 0.0


@pytest.mark.parametrize(
    ("claim", "answer"),
    [
        ("The answer is: 1957.", "1957."),
        ("The answer to this question is Thomas Edison.", "Thomas Edison."),
        ("Answer: $25 a week", "$25 a week"),
        ("1957.", "1957."),
        ("The original.", "The original."),
        ("Cats sleep sixteen hours a day.", ""),
        ("The answer is: Edison bought the company of Tesla in 1882.", ""),
        ("The answer was given by Thomas Edison in Paris, five years later.", ""),
    ],
)
def test_a_mere_answer_says_nothing_by_itself(claim, answer):
    assert fragment(claim) == answer


def test_a_name_is_not_the_longer_one_that_begins_with_it():
    source = "It was played at Levi's Stadium in the San Francisco Bay Area."
    assert check("It was played in the San Francisco Bay Area.", source).supported
    assert not check("It was played in the San Francisco Bay Area.", source).unsure
    assert check("It was played in San Francisco.", source).unsure
    assert not check("It was played in San Francisco.", f"{source} San Francisco was glad.").unsure


@pytest.mark.parametrize(
    ("claim", "source", "headings"),
    [
        ("1973 oil crisis.", "They spoke of oil in 1973.", "1973 oil crisis"),
        ("The key exchange of prime numbers is hard.", "It is hard.", "Prime numbers > Key exchange"),
    ],
)
def test_what_headings_say_is_not_enough(claim, source, headings):
    assert check(claim, source, headings).problem == "little of it is said there"
    assert check(claim, claim, headings).supported


def test_what_breaks_off_says_nothing():
    source = "The prime number theorem is a theorem on how primes are distributed."
    assert check("The prime number theorem is a", source).problem == "it breaks off"
    assert check("The prime number theorem is a theorem", source).supported


def test_a_number_stays_with_what_is_said_of_it():
    first = "In 1970, the senate voted to pass the broadcast rules."
    second = "In 1972, the new rules split the company into two."
    assert check_pair("The senate passed the rules in 1970, which split the company in 1972.", first, second)
    swapped = check_pair(
        "The senate voted to pass the broadcast rules in 1972, which split the company into two.",
        first,
        second,
    )
    assert swapped.problem == "1972 is said of something else"


@pytest.mark.parametrize(
    ("denied", "stated"),
    [
        ("Der Mieter zahlt dem Vermieter keine Kaution.", "Der Mieter zahlt dem Vermieter eine Kaution."),
        ("De huurder betaalt de verhuurder geen borg.", "De huurder betaalt de verhuurder een borg."),
        ("Le locataire ne paie pas de caution.", "Le locataire paie une caution."),
        ("El inquilino nunca paga una fianza.", "El inquilino paga una fianza."),
        ("O inquilino não paga uma caução.", "O inquilino paga uma caução."),
        ("Il locatario non paga una cauzione.", "Il locatario paga una cauzione."),
    ],
)
def test_a_negation_counts_in_other_languages_too(denied, stated):
    assert check(denied, denied).supported and check(stated, stated).supported
    assert not check(stated, denied).supported and not check(denied, stated).supported
