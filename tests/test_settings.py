"""Settings: layers, unknown names, values out of range."""

import pytest

from rag.errors import SettingsError
from rag.settings import known_names, load_settings


def test_each_layer_overrules_the_one_before(tmp_path):
    file = tmp_path / "footnote.toml"
    file.write_text("[retrieval]\ntop_k = 7\nrerank_pairs = 3\ndense_depth = 9\n")
    environ = {"FOOTNOTE_RETRIEVAL_TOP_K": "8", "FOOTNOTE_RETRIEVAL_RERANK_PAIRS": "4"}
    settings = load_settings({"retrieval.top_k": 9, "model.model": None}, environ, file)
    assert settings.retrieval.top_k == 9
    assert settings.retrieval.rerank_pairs == 4
    assert settings.retrieval.dense_depth == 9
    assert settings.model.model == "bundled"


@pytest.mark.parametrize(
    ("flags", "environ", "toml", "message", "fix"),
    [
        ({"retrieval.top_K": 3}, {}, "", "no setting 'retrieval.top_K'", "'retrieval.top_k'"),
        ({}, {"FOOTNOTE_RETRIEVAL_TOPK": "3"}, "", "FOOTNOTE_RETRIEVAL_TOPK", "FOOTNOTE_RETRIEVAL_TOP_K"),
        ({}, {}, "top_K = 3", "no setting 'top_K'", "'retrieval.top_k'"),
        ({}, {}, "[retrieval]\ntop_k = 0", "retrieval.top_k = 0", "FOOTNOTE_RETRIEVAL_TOP_K"),
        ({}, {}, "[retrieval\n", "cannot be read", "Correct the file"),
    ],
)
def test_a_mistake_is_named_with_its_mend(tmp_path, flags, environ, toml, message, fix):
    file = tmp_path / "footnote.toml"
    file.write_text(toml)
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, environ, file)
    assert message in caught.value.message
    assert fix in caught.value.fix


def test_a_named_settings_file_must_exist(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings({}, {}, tmp_path / "nowhere.toml")


def test_every_setting_has_a_default_and_a_dotted_name():
    assert "retrieval.top_k" in known_names()
    assert all(name.count(".") == 1 for name in known_names())
