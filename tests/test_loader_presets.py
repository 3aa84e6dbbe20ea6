"""Presets: the published figures add up, users add their own, and mistakes are explained."""

import json
import subprocess
import sys

import pytest

from rag.errors import ModelNotFound, SettingsError
from rag.loader.hub.hub import REPO
from rag.loader.hub.presets import find_preset, nearest, presets, siblings_of, user_presets
from rag.loader.hub.sketch import GGUF_MIXES
from rag.loader.model.architecture import shape_of
from rag.loader.records import METHODS

PUBLISHED = presets()
NAMES = sorted(PUBLISHED)


def test_the_models_that_people_ask_for_are_there():
    wanted = """smollm2-135m qwen2.5-0.5b qwen2.5-7b qwen2.5-14b qwen2.5-14b-fast qwen2.5-14b-small
        qwen2.5-14b-balanced qwen2.5-32b qwq-32b qwen3-8b qwen3-30b-a3b llama-3.2-1b llama-3.2-3b llama-3.1-8b
        gemma-3-1b phi-4 phi-4-mini mistral-7b gpt-oss-20b"""
    assert set(wanted.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_complete(name):
    preset = PUBLISHED[name]
    assert preset.variants == ("none", *preset.siblings)
    assert preset.licence and preset.family and preset.context
    assert all(REPO.fullmatch(repo) and "/" in repo for repo in (preset.repo, *preset.siblings.values()))
    assert any(mix.lower() in preset.gguf_file.lower() for mix in GGUF_MIXES)
    assert set(preset.prefer) <= set(preset.siblings)


@pytest.mark.parametrize("name", NAMES)
def test_the_figures_add_up_to_the_parameters(name):
    """What the matrices do not hold is norms and biases: under a thousandth, and never less than nothing."""
    preset = PUBLISHED[name]
    rest = sum(tensor.elements for tensor in preset.facts().tensors if tensor.name == "other.weight")
    assert 0 < rest < preset.parameters / 1000


@pytest.mark.parametrize("name", NAMES)
def test_the_config_is_understood(name):
    preset = PUBLISHED[name]
    facts = preset.facts()
    shape = shape_of(facts.config)
    assert facts.model_type and not shape.unknown
    assert len(shape.kinds) == preset.layers
    assert (shape.kv_heads, shape.head_dim, shape.experts or 0) == (
        preset.kv_heads,
        preset.head_dim,
        preset.experts,
    )
    assert shape.tied is preset.tied


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_has_facts(name):
    preset = PUBLISHED[name]
    sizes = {}
    for variant in preset.variants:
        facts = preset.facts(variant)
        assert facts.quantization.method in METHODS
        assert facts.repo == preset.repo_of(variant)
        assert facts.parameters == preset.parameters
        assert facts.kind == ("gguf" if variant == "gguf" else "folder")
        sizes[variant] = facts.weight_bytes
    assert all(sizes[variant] <= sizes["none"] for variant in sizes)
    with pytest.raises(KeyError):
        preset.facts("exl2")


@pytest.mark.parametrize(
    ("name", "variant", "gigabytes"),
    [  # the sizes that the models' pages show
        ("qwen2.5-14b", "none", 29.54),
        ("qwen2.5-14b", "awq", 9.98),
        ("qwen2.5-14b", "gptq", 9.99),
        ("qwen2.5-14b-balanced", "gptq", 16.6),
        ("qwen2.5-14b", "fp8", 16.33),
        ("qwen2.5-14b", "gguf", 8.99),
        ("qwen2.5-14b-fast", "gguf", 8.52),
        ("qwen2.5-14b-balanced", "gguf", 12.12),
        ("qwen2.5-7b", "gguf", 4.68),
        ("qwen2.5-0.5b", "gguf", 0.398),
        ("qwen3-30b-a3b", "gguf", 18.56),
        ("qwen3-14b", "gguf", 9.00),
        ("llama-3.1-8b", "gguf", 4.92),
        ("gemma-2-9b", "gguf", 5.76),
        ("phi-4", "gguf", 9.05),
        ("gpt-oss-20b", "none", 13.76),
        ("gpt-oss-20b", "gguf", 12.11),
        ("qwen3.5-9b", "none", 19.31),
        ("qwen3.5-9b", "gguf", 5.68),
    ],
)
def test_weights_come_out_at_their_published_size(name, variant, gigabytes):
    assert PUBLISHED[name].facts(variant).weight_bytes / 1e9 == pytest.approx(gigabytes, rel=0.03)


def test_the_bundled_models_parameters_agree_with_the_planner():
    from rag import bundled

    preset = find_preset("smollm2-135m")
    assert preset.parameters == 134_515_008
    assert preset.repo.endswith(bundled.SMOLLM2.name)


def test_the_three_ways_of_one_14b_model_differ_where_they_should():
    fast, small, balanced = (find_preset(f"qwen2.5-14b-{way}") for way in ("fast", "small", "balanced"))
    assert len({fast.repo, small.repo, balanced.repo}) == 1
    assert (fast.prefer[0], small.prefer[0], balanced.prefer[0]) == ("fp8", "awq", "gptq")
    sizes = [preset.facts("gguf").weight_bytes for preset in (fast, small, balanced)]
    assert sizes == sorted(sizes)
    assert small.facts("awq").weight_bytes < balanced.facts("gptq").weight_bytes
    assert balanced.facts("gptq").quantization.bits == 8


def test_fp8_is_named_after_the_method_its_files_carry():
    assert find_preset("qwen3-8b").facts("fp8").quantization.method == "fp8"
    assert find_preset("qwen2.5-14b").facts("fp8").quantization.method == "compressed-tensors"


def test_a_name_is_found_in_any_case():
    assert find_preset("Qwen2.5-14B").repo == "Qwen/Qwen2.5-14B-Instruct"


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("qwen2.5-14", "Did you mean qwen2.5-14b or qwen2.5-14b-fast or qwen2.5-14b-small?"),
        ("lama-3.2-1b", "Did you mean llama-3.2-1b or"),
        ("zzz", "Known names: smollm2-135m, smollm2-360m,"),
    ],
)
def test_an_unknown_name_comes_with_near_ones(name, fix):
    with pytest.raises(ModelNotFound, match=f"there is no preset '{name}'") as caught:
        find_preset(name)
    assert caught.value.fix.startswith(fix)


def own(tmp_path, text):
    file = tmp_path / "footnote.toml"
    file.write_text(text)
    return user_presets({}, file)


def test_users_add_their_own(tmp_path):
    found = own(tmp_path, '[retrieval]\ntop_k = 3\n[presets.mine]\nrepo = "me/my-model"\n')
    assert (found["mine"].repo, found["mine"].own, found["mine"].variants) == ("me/my-model", True, ())
    assert find_preset("mine", found) is found["mine"]
    assert next(iter(presets(found))) == "mine"


def test_a_table_of_ones_own_may_be_like_another(tmp_path):
    found = own(tmp_path, '[presets."tuned-7b"]\nlike = "qwen2.5-7b"\nrepo = "me/tuned"\nawq = ""\n')
    facts = found["tuned-7b"].facts()
    assert (facts.repo, facts.parameters) == ("me/tuned", PUBLISHED["qwen2.5-7b"].parameters)
    assert "awq" not in found["tuned-7b"].siblings


def test_ones_own_stands_before_a_published_one_of_that_name(tmp_path):
    assert find_preset("phi-4", own(tmp_path, '[presets.phi-4]\nrepo = "me/phi"\n')).repo == "me/phi"


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ('[presets.a]\nrepoo = "x/y"', "[presets.a]: no key 'repoo'", "Did you mean 'repo'?"),
        ('[presets.a]\nAWQ = "x/y"', "no key 'AWQ'", "Did you mean 'awq'?"),
        ("[presets.a]\nlayers = 3", "[presets.a]: it names no model", 'Add repo = "owner/name".'),
        ('[presets.a]\nrepo = "x/y"\nlayers = "3"', "layers = '3' is no whole number", "Known keys: like,"),
        ('[presets.a]\nrepo = "x/y"\nlayers = true', "layers = True is no whole number", "Known keys"),
        ('[presets.a]\nrepo = "x/y"\nlayers = -3', "layers = -3 is below zero", "Known keys"),
        ("[presets.a]\nrepo = 3", "repo = 3 is no text", "Known keys"),
        ('[presets.a]\nlike = "qwen2.5-14"', "like = 'qwen2.5-14' names no preset", "mean 'qwen2.5-14b'?"),
        ('[presets.a]\nrepo = "x/y"\nprefer = ["exl2"]', "unknown form 'exl2'", "Forms: none, awq, gptq,"),
        ('[presets.my-1.5b]\nrepo = "x/y"', "[presets.my-1]: no table '5b'",
         'A name with a dot needs quotes: [presets."my-1.5b"].'),
        ("presets = 3", "presets must be tables", "Write [presets.my-model]"),
        ('[presets]\nrepo = "x/y"', "presets must be tables", "Write [presets.my-model]"),
        ("[presets", "cannot be read", "Correct the file"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_mend(tmp_path, text, message, fix):
    with pytest.raises(SettingsError) as caught:
        own(tmp_path, text)
    assert message in caught.value.message
    assert "footnote.toml" in caught.value.message
    assert fix in caught.value.fix


def test_the_file_is_the_settings_file(tmp_path):
    (tmp_path / "mine.toml").write_text('[presets.mine]\nrepo = "x/y"\n')
    assert "mine" in user_presets({"FOOTNOTE_CONFIG": str(tmp_path / "mine.toml")})
    assert user_presets({}, tmp_path / "absent.toml") == {}


def test_siblings_of_a_preset_are_known():
    siblings, known = siblings_of("Qwen/Qwen2.5-14B-Instruct")
    assert known
    assert siblings["awq"] == "Qwen/Qwen2.5-14B-Instruct-AWQ"
    assert set(siblings) == {"awq", "gptq", "fp8", "gguf"}
    from_awq, known = siblings_of("Qwen/Qwen2.5-14B-Instruct-AWQ")
    assert known and "awq" not in from_awq and from_awq["gguf"] == siblings["gguf"]


def test_siblings_of_other_models_are_guesses():
    assert siblings_of("me/model") == (
        {"awq": "me/model-AWQ", "gptq": "me/model-GPTQ-Int4", "fp8": "me/model-FP8", "gguf": "me/model-GGUF"},
        False,
    )
    assert siblings_of("me/model-AWQ")[0] == {
        "gptq": "me/model-GPTQ-Int4",
        "fp8": "me/model-FP8",
        "gguf": "me/model-GGUF",
    }


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("qwen/qwen2.5-14b-instruct-awk", "Qwen/Qwen2.5-14B-Instruct-AWQ"),
        ("Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-14B-Instruct"),
        ("microsoft/phi4", "microsoft/phi-4"),
    ],
)
def test_repositories_with_a_name_like_it(typed, first):
    assert nearest(typed)[0] == first
    assert nearest("zzzzz") == []


def test_the_diagnosis_can_have_them_with_the_standard_library_alone():
    script = (
        "import sys, json; from rag.loader.hub.presets import presets\n"
        "[p.facts(v) for p in presets().values() for v in p.variants]\n"
        "files = {name: getattr(module, '__file__', None) or '' for name, module in sys.modules.items()}\n"
        "print(json.dumps([name for name, file in files.items() if 'site-packages' in file]))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [m for m in json.loads(run.stdout) if not m.startswith(("_", "sitecustomize"))] == []
