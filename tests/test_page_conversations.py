"""Conversations: what was said comes back in order, is found, voted on and renamed, or is gone."""

import pytest

from rag.errors import ConversationGone, UsageError
from rag.page.conversations import Conversations, title_of
from tests.page_history import Clock, bytes_of, record


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "conversations.sqlite"


@pytest.fixture
def conversations(path):
    return Conversations(path, Clock())


def test_nothing_is_stored_before_the_first_exchange(path, conversations):
    assert conversations.newest() == conversations.search("cat") == conversations.voted() == []
    assert not path.parent.exists()


def test_what_was_said_comes_back_in_order_and_to_others(path, conversations):
    odd = record('"Sechzehn Stunden — 猫" [1]', hits=[{"path": "/docs/caf\udce9.txt", "score": 0.25}])
    first = conversations.start("pets", "How long do cats sleep?", odd)
    second = conversations.append(first.conversation_id, "And dogs?", record("Twelve hours. [1]"))
    others = Conversations(path)
    assert others.exchanges(first.conversation_id) == [first, second]
    assert (first.question, first.answer, first.vote, first.note) == (
        "How long do cats sleep?",
        odd,
        None,
        "",
    )
    (conversation,) = others.newest()
    assert (conversation.title, conversation.collection) == ("How long do cats sleep?", "pets")
    assert (conversation.created, conversation.updated) == (
        "2024-05-31T12:01:00.000+00:00",
        "2024-05-31T12:02:00.000+00:00",
    )
    assert others.get(conversation.id) == conversation


def test_the_one_that_was_answered_last_comes_first(conversations):
    ids = [conversations.start("c", f"Question {n}?", record("x")).conversation_id for n in range(3)]
    assert [each.id for each in conversations.newest()] == ids[::-1]
    conversations.append(ids[0], "Another?", record("x"))
    assert [each.id for each in conversations.newest()] == [ids[0], ids[2], ids[1]]


def test_a_title_is_cut_at_a_word():
    assert title_of("  When does\nthe lease end? ") == "When does the lease end?"
    long = title_of("What does the handbook say about days off, " + "and about those who work on Sundays?")
    assert long == "What does the handbook say about days off, and about those…"
    assert title_of("x" * 100) == "x" * 59 + "…"
    assert title_of("x" * 60) == "x" * 60
    assert title_of("half a pair: \ud83d") == "half a pair: ?"


def test_search_finds_words_wherever_they_were_said(conversations):
    cats = conversations.start("c", "How long do CATS sleep?", record("Sixteen hours in the Straße."))
    rent = conversations.start(
        "c", "What is the rent?", record("It is 100 % of 5_000 \"euros\" \\ 'net' – no.")
    )
    conversations.append(cats.conversation_id, "And in winter?", record("Longer."))
    conversations.rename(rent.conversation_id, "Money matters")

    def found(words):
        return [each.id for each in conversations.search(words)]

    assert found("cats") == found("sixteen WINTER") == found("strasse") == found("slee ho")
    assert found("cats") == [cats.conversation_id]
    for words in ('"euros"', "100 %", "5_000", "'net'", "\\", "money rent", "5_000 \u2013"):
        assert found(words) == [rent.conversation_id], words
    for nothing in (
        "5x000",
        "10%0",
        "cats rent",
        "'; DROP TABLE exchanges; --",
        "\x00",
        "version",
        "*",
        "NEAR(",
    ):
        assert found(nothing) == [], nothing
    assert found("") == found(" ") == [cats.conversation_id, rent.conversation_id]
    assert found("ha\ud83d") == []
    assert found(" ".join(f"word{n}" for n in range(5000))) == []


def test_another_answer_takes_the_place_and_the_vote_of_the_one_before(path, conversations):
    first = conversations.start("c", "One?", record("1"))
    wrong = conversations.append(first.conversation_id, "Two?", record("3 or more"))
    conversations.vote(wrong.id, "down", "it is 2")
    right = conversations.replace_answer(wrong.id, record("2"))
    assert (right.id, right.answer["answer"], right.vote, right.note) == (wrong.id, "2", None, "")
    assert conversations.exchanges(first.conversation_id) == [first, right]
    assert b"3 or more" not in bytes_of(path) and b"it is 2" not in bytes_of(path)
    assert conversations.search("3") == [] != conversations.search("2")


def test_votes_are_kept_changed_and_taken_back(conversations):
    one = conversations.start("c", "One?", record("1"))
    two = conversations.append(one.conversation_id, "Two?", record("2"))
    conversations.vote(two.id, "up")
    assert conversations.vote(one.id, "down", "wrong\npage").note == "wrong\npage"
    assert [(each.id, each.vote) for each in conversations.voted()] == [(one.id, "down"), (two.id, "up")]
    assert conversations.vote(one.id, None, "left over") == one
    assert [each.id for each in conversations.voted()] == [two.id]


def test_renaming(conversations):
    id = conversations.start("c", "One?", record("1")).conversation_id
    updated = conversations.get(id).updated
    assert (
        conversations.rename(id, " Numbers,\nsmall ").title == conversations.get(id).title == "Numbers, small"
    )
    assert conversations.get(id).updated == updated
    with pytest.raises(UsageError, match="needs a name"):
        conversations.rename(id, " \n")


def test_conversations_follow_a_collection_to_its_new_name(conversations):
    ours = conversations.start("old", "One?", record("1")).conversation_id
    theirs = conversations.start("other", "One?", record("1")).conversation_id
    conversations.follow("old", "new")
    assert (conversations.get(ours).collection, conversations.get(theirs).collection) == ("new", "other")


def test_what_was_deleted_meanwhile_is_told(conversations):
    gone = conversations.start("c", "One?", record("1"))
    conversations.delete(gone.conversation_id)
    conversations.delete(gone.conversation_id)
    next_one = conversations.start("c", "Other?", record("1"))
    assert next_one.conversation_id != gone.conversation_id and next_one.id != gone.id
    for act in (
        lambda: conversations.get(gone.conversation_id),
        lambda: conversations.exchanges(gone.conversation_id),
        lambda: conversations.append(gone.conversation_id, "Two?", record("2")),
        lambda: conversations.rename(gone.conversation_id, "x"),
        lambda: conversations.vote(gone.id, "up"),
        lambda: conversations.replace_answer(gone.id, record("2")),
    ):
        with pytest.raises(ConversationGone, match="deleted"):
            act()
    assert conversations.exchanges(next_one.conversation_id) == [next_one]
