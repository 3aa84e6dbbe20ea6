"""Advice in the words of the page."""

import pytest

import rag_query
from rag.errors import DoesNotFit
from rag.page.advice import FIELDS, SETTINGS, in_fields, told
from rag.settings import load_settings


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("Raise --max-memory, shorten the context (--context).", "Raise “At most so much memory”, shorten"),
        ("Use --context 4096.", "Use “Context in tokens” 4096."),
        ("fewer bits (--quantization bnb-4bit)", "fewer bits (“Quantization” bnb-4bit)"),
        ("Ask with fewer passages (--top-k).", "Ask with fewer passages (retrieval.top_k in footnote.toml)."),
        ("/models/x--model.gguf is damaged", "/models/x--model.gguf is damaged"),
        ("Run `rag_query.py --engine vllm` --deep.", "Run `rag_query.py --engine vllm` --deep."),
    ],
)
def test_options_become_fields_and_settings_and_commands_stay(option, field):
    assert in_fields(option).startswith(field)


def test_an_error_is_told_in_sentences():
    assert told(DoesNotFit("Done.", "Try.")) == "Done. Try."
    assert told(DoesNotFit("it is too large", "Use --engine llamacpp.")) == (
        "It is too large. Use “Engine” llamacpp."
    )
    assert told(DoesNotFit("llama-7b.gguf is too large")) == "llama-7b.gguf is too large"


def test_fields_and_settings_are_there(capsys):
    with pytest.raises(SystemExit):
        rag_query.main(["--help"])
    known = capsys.readouterr().out
    assert [option for option in FIELDS if f"--{option}" not in known] == []
    sections = load_settings(environ={}).model_dump()
    for setting in SETTINGS.values():
        section, name = setting.split(".")
        assert name in sections[section]
