"""Thoughts are no part of an answer, however they come in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.families import TAGS, Family, family_of, without_thoughts


def shown(said, size, **more):
    return "".join(without_thoughts([said[n : n + size] for n in range(0, len(said), size)], **more))


@pytest.mark.parametrize("size", [1, 3, 200])
@pytest.mark.parametrize(("opens", "closes"), TAGS)
def test_a_thought_is_not_shown(opens, closes, size):
    assert shown(f"{opens}Hm. a < b?{closes}\n\nThe rent is due.", size) == "The rent is due."
    assert shown(f"Well: {opens}hm{closes}the rent.", size) == "Well: the rent."


@pytest.mark.parametrize("size", [1, 3, 200])
def test_a_thought_that_the_template_has_opened_ends_with_its_tag(size):
    assert shown("Hm.\n</think>\nThe rent is due.", size, begins_thinking=True) == "The rent is due."


def test_a_thought_without_an_end_is_no_answer():
    assert shown("<think>Hm, and so on", 3) == ""
    assert shown("Hm, and so on", 3, begins_thinking=True) == ""


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Qwen/Qwen3-8B", Family("qwen-?3", 2048)),
        ("Qwen3-4B-Thinking-2507-Q4_K_M.gguf", Family("qwen-?3.*thinking", 4096, True)),
        ("Qwen/Qwen3-4B-Instruct-2507", Family("qwen-?3.*(?:instruct|coder|embedding)", 0)),
        ("/models/DeepSeek-R1-Distill-Qwen-7B", Family("deepseek-?r1|r1-distill", 4096, True)),
        ("SmolLM2-135M-Instruct", Family("")),
    ],
)
def test_a_family_is_told_by_the_models_name(name, family):
    assert family_of(name) == family


@given(st.text(alphabet="<think/>a ", max_size=30), st.integers(1, 4))
def test_pieces_make_no_difference(said, size):
    assert shown(said, size) == shown(said, len(said) or 1)
