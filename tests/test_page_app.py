"""Every state of the page, as its script draws it."""

import dataclasses

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from rag.errors import DoesNotFit, IndexDamaged, TooMuch
from rag.ingest.pipeline import IngestReport
from rag.page import main
from rag.page.chat import EXAMPLES, clicked
from rag.page.conversations import Conversations
from rag.page.models import Load
from rag.page.reading_in import ReadingIn
from rag.places import CHECKOUT, data_root
from rag.settings import ModelSettings

TIMEOUT_S = 120
QUESTION = "Which file formats can Footnote read?"
FOREIGN = "Who was the second emperor of Byzantium?"


@pytest.fixture(scope="module", autouse=True)
def places(tmp_path_factory):
    """Folders of the page's own; the desk is shared by the module's tests, as by a server's tabs."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOOTNOTE_INDEX", str(folder / "index"))
        patch.setenv("FOOTNOTE_DATA", str(folder / "data"))
        st.cache_resource.clear()
        yield
        main.desk().models.close()
        st.cache_resource.clear()


@pytest.fixture
def opened():
    """Opens the page, at an address."""

    def opened(**address):
        at = AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=TIMEOUT_S)
        for name, value in address.items():
            at.query_params[name] = str(value)
        return sound(at.run())

    return opened


@pytest.fixture(scope="module")
def asked():
    """The page after a question that the guide answers."""
    at = AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=TIMEOUT_S).run()
    return sound(at.chat_input[0].set_value(QUESTION).run())


def sound(at):
    assert not at.exception, at.exception
    return at


def html(at):
    return "".join(element.proto.body for element in at.main if element.type == "html") + "".join(
        element.proto.body for element in at.get("html")
    )


def texts(at):
    return "\n".join(element.value for kind in ("text", "markdown", "caption") for element in at.get(kind))


def drawn(name):
    """One page alone, with what the desk has."""

    def page(name):
        import importlib

        from rag.page.main import desk

        importlib.import_module(f"rag.page.{name}").draw(desk())

    return sound(AppTest.from_function(page, default_timeout=TIMEOUT_S, args=(name,)).run())


def test_the_first_run_invites(opened):
    at = opened()
    assert [button.label for button in at.button if button.key.startswith("example")] == list(EXAMPLES)
    assert "No chats yet." in texts(at) or at.sidebar.button(key="new")


def test_an_answer_has_its_words_in_bold_its_chips_and_its_sources(asked):
    shown = html(asked)
    assert "<strong>" in shown and 'class="chip"' in shown and "passages were found" in shown
    assert asked.query_params["chat"] and not asked.get("error")
    assert asked.button(key="again").label == "Answer again"


def test_a_question_that_cannot_be_answered_stays_with_the_reason_and_another_try(opened, monkeypatch):
    def lost(*_):
        yield from ()
        raise IndexDamaged("the index is damaged: rows.sqlite is too short", "Run ingest.py --rollback.")

    at = opened()
    with monkeypatch.context() as patch:
        patch.setattr(main.desk(), "_answer", lost)
        at = sound(at.chat_input[0].set_value(QUESTION).run())
        shown = texts(at)
        assert QUESTION in shown and "The index is damaged" in shown and "--rollback" in shown
        assert not [button for button in at.button if button.key == "example-0"]
    sound(at.button(key="again").click().run())
    assert 'class="chip"' in html(at) and "The index is damaged" not in texts(at)
    main.desk().conversations.delete(at.session_state["tab"].conversation)


def test_a_question_for_a_conversation_that_is_deleted_meanwhile_is_kept(opened):
    at = sound(opened().chat_input[0].set_value(QUESTION).run())
    main.desk().conversations.delete(at.session_state["tab"].conversation)
    at = sound(at.chat_input[0].set_value("And in 2023?").run())
    assert "And in 2023?" in texts(at)
    sound(at.button(key="again").click().run())
    assert "And in 2023?" in texts(at) and 'class="answer"' in html(at)
    main.desk().conversations.delete(at.session_state["tab"].conversation)


def test_the_conversation_is_there_again_under_its_name(asked, opened):
    at = opened(chat=asked.query_params["chat"][0])
    assert html(at).count('class="answer"') == html(asked).count('class="answer"')
    assert QUESTION in texts(at)
    assert any(button.label == QUESTION for button in at.sidebar.button)


@pytest.mark.parametrize("number", ["99", "x", "-1", "9" * 40])
def test_a_conversation_that_is_not_there_leaves_a_new_one(opened, number):
    at = opened(chat=number)
    assert at.button(key="example-0")


def test_a_source_opens_beside_the_answer_with_its_words_marked(asked):
    _click(asked, "source", 1)
    assert "<mark>" in html(asked) and asked.button(key="close")
    asked.button(key="close").click().run()
    assert "<mark>" not in html(sound(asked))


def test_how_an_answer_came_about_is_one_click_away(asked):
    _click(asked, "details")
    shown = html(asked)
    assert "Rank and score" in shown and "tokens" in shown and "Whole answer" in shown
    _click(asked, "details")  # the same link closes it
    assert "Rank and score" not in html(asked)


def test_a_bad_answer_gets_a_note_that_is_kept(asked):
    _click(asked, "down")
    asked.text_area[0].set_value("it forgot EPUB")
    next(button for button in asked.button if button.label == "Keep").click().run()
    (exchange,) = Conversations().voted()
    assert (exchange.vote, exchange.note) == ("down", "it forgot EPUB")
    _click(asked, "down")  # takes it back
    assert Conversations().voted() == []


def _click(at, what, number=0):
    """As the listener in the page does."""
    desk, mine = main.desk(), at.session_state["tab"]
    exchange = desk.conversations.exchanges(mine.conversation)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "query_params", {})
        clicked(desk, mine, what, exchange.id, number)
    sound(at.run())


def test_what_is_not_in_the_documents_shows_the_nearest_passages(opened):
    at = sound(opened().chat_input[0].set_value(FOREIGN).run())
    assert "Not in your documents." in html(at)
    assert "<details class=&quot;found&quot; open>" in html(at) or 'class="found" open' in html(at)


def test_documents_are_listed_with_status_passages_and_coverage(asked):
    at = drawn("documents")
    table = at.dataframe[0].value
    assert set(table["file"]) == {path.name for path in (CHECKOUT / "data").iterdir()}
    assert set(table["status"]) == {"read"} and min(table["passages"]) > 0 and min(table["coverage"]) > 0.9


def test_a_run_tells_how_far_it_is_and_what_failed():
    desk = main.desk()
    run = ReadingIn("default", ())
    run.tell(
        dataclasses.replace(run.progress, stage="reading", files=1, files_total=2, share=0.5, path="a.pdf")
    )
    desk.intakes._runs["default"] = run
    at = drawn("documents")
    assert at.button(key="stop-reading") and "a.pdf: read" in texts(at)
    run.files["b.pdf"] = "is encrypted"
    run.report = IngestReport("default", 2, True, 1, 0, 0, 0, {"b.pdf": "is encrypted"})
    at = drawn("documents")
    assert "b.pdf: is encrypted" in texts(at) and "1 failed" in texts(at)
    at.button(key="understood").click().run()
    assert "b.pdf" not in texts(at)


@pytest.mark.parametrize("path", ["", "papers", "/no/such/folder"])
def test_a_folder_that_is_not_there_is_told(path):
    at = drawn("documents")
    at.text_input[0].set_value(path)
    next(button for button in at.button if button.label == "Read the folder in").click().run()
    assert "There is no folder" in texts(sound(at))


def test_uploads_that_were_not_kept_are_all_named_until_they_were_seen(monkeypatch):
    def full(collection, name, data, limit):
        if name == "b.txt":
            raise OSError(28, "No space left on device")
        raise TooMuch(f"{name} is larger than 1 MB", "Split it.")

    monkeypatch.setattr("rag.page.uploads.keep", full)
    at = drawn("documents")
    at.file_uploader[0].set_value([("a.pdf", b"a", "application/pdf"), ("b.txt", b"b", "text/plain")]).run()
    sound(at.button(key="read").click().run())
    assert "a.pdf is larger than 1 MB. Split it." in texts(at)
    assert "b.txt could not be kept: No space left on device" in texts(at)
    at.button(key="understood-refused").click().run()
    assert "a.pdf" not in texts(sound(at))


def test_a_new_collection_is_empty_and_says_so():
    at = drawn("documents")
    at.text_input[1].set_value("letters")
    next(button for button in at.button if button.label == "Create").click().run()
    assert "Documents in “letters”" in at.header[0].value and "Nothing has been read" in texts(sound(at))


def test_the_model_that_answers_is_described():
    with main.desk().models.using() as model:
        assert model is not None
    at = drawn("model")
    assert "answers." in html(at) and "perplexity" in html(at)


def test_what_fits_is_told_with_the_reason():
    at = drawn("model")
    next(field for field in at.text_input if field.key == "model-memory").set_value("50MB").run()
    at.button(key="look").click().run()
    assert "does not fit" in html(sound(at)) and "✓ fits" not in html(at)


def test_a_model_that_is_loading_and_one_that_failed_are_told():
    models = main.desk().models
    load = Load(ModelSettings(model="huge"))
    load.take(
        {
            "event": "tensor",
            "tensor": "blk.3",
            "done_bytes": 60,
            "total_bytes": 100,
            "shard_number": 2,
            "shards": 3,
        }
    )
    load.take({"event": "memory", "resident_bytes": 95 << 20, "left_bytes": 5 << 20})
    load.take({"event": "rung_failed", "message": "killed at shard 2/3"})
    models.load = load
    shown = drawn("model")
    assert "shard 2/3" in shown.get("progress")[0].proto.text and "gauge near" in html(shown)
    assert "killed at shard 2/3" in texts(shown) and shown.button(key="use").disabled
    load.error = DoesNotFit("huge needs 28 GB, and 20 GB are free", "Shorten the context (--context).")
    models.load, models.failed = None, load
    shown = drawn("model")
    assert "Huge needs 28 GB" in texts(shown) and "Tried, and failed: killed" in texts(shown)
    assert "(“Context in tokens”)" in texts(shown)
    models.failed = None


def test_the_fields_say_how_a_model_is_loaded(monkeypatch):
    chosen = []
    monkeypatch.setattr(main.desk().models, "choose", lambda settings, room: chosen.append(settings))
    at = drawn("model")
    next(field for field in at.number_input if field.key == "model-context").set_value(2048)
    for key, value in {
        "model-dtype": "float16",
        "model-device": "disk",
        "model-engine": "transformers",
    }.items():
        next(field for field in at.selectbox if field.key == key).set_value(value)
    next(field for field in at.text_input if field.key == "model-quantization").set_value(" bnb-4bit ")
    sound(at.button(key="use").click().run())
    assert chosen == [
        ModelSettings(
            engine="transformers", quantization="bnb-4bit", context=2048, dtype="float16", device="disk"
        )
    ]


def test_a_setting_that_does_not_exist_is_told_with_its_fix(opened, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_RETRIEVAL_TOPK", "3")
    st.cache_resource.clear()
    at = opened()
    assert "FOOTNOTE_RETRIEVAL_TOPK" in texts(at) and "Did you mean" in texts(at) and not at.chat_input
    monkeypatch.undo()
    st.cache_resource.clear()


def test_damaged_conversations_are_told_and_kept(opened):
    file = data_root() / "conversations.sqlite"
    whole = file.read_bytes()
    file.write_bytes(b"not a database" * 100)
    st.cache_resource.clear()
    try:
        assert "conversations.sqlite" in texts(opened())
        assert file.read_bytes().startswith(b"not a database")
    finally:
        file.write_bytes(whole)
        st.cache_resource.clear()
