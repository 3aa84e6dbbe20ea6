"""The comparison with bare libraries: real processes, and what its record makes of their figures."""

import json

import pytest

from rag import bundled
from rag.errors import EvaluationError
from rag.evaluation import overhead
from tests.models import smollm2_folder  # noqa: F401  (a fixture)

NAMES = ("first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s")


def runs(*figures):
    return [dict(zip(NAMES, run)) for run in figures]


def test_ratios_are_of_medians_and_beside_the_better_bare_side():
    found = overhead.record(
        "llamacpp",
        "/models/m.gguf",
        {
            "ours": runs((2.0, 90, 40), (1.0, 100, 50), (9.0, 300, 60)),
            "bare": runs((1.0, 50, 80)),
            "bare, a core less": runs((0.5, 200, 40)),
            "ours, copied": runs((1.0, 150, 50)),
        },
    )
    assert found["ratio"] == {
        "first_token_s": 4.0,
        "prefill_tokens_per_s": 0.5,
        "decode_tokens_per_s": 0.625,
    }
    assert found["copied"]["prefill_tokens_per_s"] == 1.5
    text = overhead.table(found)
    assert "m.gguf through llamacpp, medians of 3 runs" in text
    assert "1.50 times as fast" in text
    assert json.loads(json.dumps(found)) == found


def test_llama_cpp_is_measured_on_every_side(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path))
    found = overhead.compare_engine(
        "llamacpp", str(bundled.path(bundled.SMOLLM2)), runs=1, threads=1, brief=True
    )
    assert all(figures[name] > 0 for figures in found["sides"].values() for name in NAMES)
    assert list(found["sides"]) == list(overhead.SIDES["llamacpp"])


def test_transformers_is_measured_by_its_prompts(smollm2_folder):  # noqa: F811
    found = overhead.compare_engine("transformers", str(smollm2_folder), runs=1, threads=1, brief=True)
    assert found["ratio"].keys() == {"prefill_tokens_per_s"}
    assert "copied" not in found and "times as fast" not in overhead.table(found)


def test_what_fails_is_told_with_its_last_line():
    with pytest.raises(EvaluationError, match=r"llamacpp, bare: the process ended with 1: .+"):
        overhead._run({"engine": "llamacpp", "side": "bare", "model": "/none", "threads": 1, "brief": True})
    with pytest.raises(EvaluationError, match="remote has no bare side"):
        overhead.compare_engine("remote", "http://127.0.0.1:1/v1")
