"""Every way to store weights, every contradiction and every damage: what is planned for it, and what is said.

No wrongly read weights may come to speak: whatever is not what its settings say has no way that fits through
an engine that would believe them.
"""

import pytest

from rag.errors import ModelDamaged, ModelRefused, RagError
from rag.loader.machine.installed import how_to_install
from rag.loader.model.inspect import inspect_local
from rag.loader.planning.plan import make_plans, refuse_damaged
from rag.loader.records import Request
from tests.machines import laptop, workstation
from tests.tiny_checkpoints import FORMS, gguf_file
from tests.tiny_damage import CONTRADICTIONS, DAMAGES

FITS, CLOSED, REFUSED = "fits", "unavailable", "refused"
NO_GPU = "no NVIDIA GPU was found"
GARBAGE = "transformers would read these weights without an error and answer nonsense"
UNNAMED = (
    "config.json does not name the quantization: transformers would take {} weights for unquantized ones"
)
SIDE_FILE = "Use vLLM, which is told what the side file says."
OTHER = "Take another version of the model: a GGUF file, or unquantized safetensors."


def missing(package, method):
    return (
        CLOSED,
        f"transformers needs the package {package} for {method} weights, which is not installed",
        how_to_install(package),
    )


def elsewhere(reason):
    return (REFUSED, reason, OTHER), (REFUSED, reason, OTHER)


def unnamed(method):
    return REFUSED, UNNAMED.format(method), SIDE_FILE


FIT = (FITS, None, None)
EXPECTED = {
    "none": (FIT, FIT),
    "awq": (FIT, missing("gptqmodel", "awq")),
    "awq-legacy": (FIT, unnamed("awq")),
    "gptq": (FIT, missing("optimum", "gptq")),
    "gptq-legacy": (FIT, unnamed("gptq")),
    "bnb-4bit": (
        (
            CLOSED,
            "vllm needs the package vllm-bnb-plugin for bnb-4bit weights, which is not installed",
            how_to_install("vllm-bnb-plugin"),
        ),
        FIT,
    ),
    "bnb-8bit": (
        (
            CLOSED,
            "vllm needs the package vllm-bnb-plugin for bnb-8bit weights, which is not installed",
            how_to_install("vllm-bnb-plugin"),
        ),
        FIT,
    ),
    "fp8": (FIT, FIT),
    "ct": (FIT, missing("compressed-tensors", "compressed-tensors")),
    "ct-legacy": (FIT, unnamed("compressed-tensors")),
    "modelopt": (FIT, (REFUSED, GARBAGE, OTHER)),
    "mxfp4": (FIT, FIT),
    "torchao": (FIT, missing("torchao", "torchao")),
    "auto-round": (FIT, missing("auto-round", "auto-round")),
    "quark": (FIT, missing("amd-quark", "quark")),
    "hqq": (FIT, missing("hqq", "hqq")),
    "squeezellm": elsewhere("no engine reads SqueezeLLM any more (vLLM dropped it)"),
    "exl2": elsewhere("EXL2 weights run in ExLlamaV2 (TabbyAPI) only"),
    "exl3": elsewhere("EXL3 weights run in ExLlamaV3 (TabbyAPI) only"),
    "mlx": elsewhere("MLX weights run in mlx-lm on Apple computers only"),
}
"""By the beginning of a form's name: (verdict, reason, fix) on a GPU through vLLM, and transformers."""


def expected(name):
    return EXPECTED[max((key for key in EXPECTED if name.startswith(key)), key=len)]


def verdict(candidates, engine, device, quantization):
    found = [
        candidate
        for candidate in candidates
        if (candidate.plan.engine, candidate.plan.device) == (engine, device)
        and candidate.plan.quantization == quantization
    ]
    assert len(found) == 1
    first = found[0]
    return (FITS, None, None) if first.verdict == FITS else (first.verdict, first.reason, first.fix)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_on_a_gpu(tmp_path, name):
    facts = inspect_local(FORMS[name].build(tmp_path / name))
    candidates = make_plans(facts, workstation(), Request())
    method = facts.quantization.method
    for engine, wanted in zip(("vllm", "transformers"), expected(name)):
        assert verdict(candidates, engine, "cuda", method) == wanted, engine


@pytest.mark.parametrize("name", FORMS)
def test_every_form_on_a_processor_alone(tmp_path, name):
    """No way goes through a GPU; through transformers it is open, closed or refused as it is there."""
    facts = inspect_local(FORMS[name].build(tmp_path / name))
    candidates = make_plans(facts, laptop(), Request())
    assert {c.verdict for c in candidates if c.plan.device == "cuda"} <= {CLOSED, REFUSED}
    assert {c.reason for c in candidates if c.plan.device == "cuda" and c.verdict == CLOSED} <= {NO_GPU}
    through = [c for c in candidates if c.plan.engine == "transformers" and c.plan.device == "cpu"]
    wanted = expected(name)[1]
    if facts.quantization.method == "quark":
        wanted = (CLOSED, "transformers runs quark weights on a GPU only", "Use a GGUF file of the model.")
    for candidate in through:
        assert candidate.verdict == wanted[0]
        assert wanted[1] in (None, candidate.reason) and wanted[2] in (None, candidate.fix)


def test_what_is_unpacked_to_16_bits_on_a_processor_says_so(tmp_path):
    facts = inspect_local(FORMS["fp8-block"].build(tmp_path / "fp8"))
    plan = make_plans(facts, laptop(), Request())[0].plan
    assert (plan.quantization, plan.dtype, plan.device) == ("fp8", "bfloat16", "cpu")
    assert "fp8 weights are unpacked to bfloat16 on a CPU" in plan.notes


@pytest.mark.parametrize("machine", [workstation(), laptop()], ids=["gpu", "processor"])
def test_gguf_is_llama_cpp_s(tmp_path, machine):
    facts = inspect_local(gguf_file(tmp_path / "tiny.gguf"))
    candidates = make_plans(facts, machine, Request())
    assert candidates[0].plan.engine == "llamacpp" and candidates[0].verdict == FITS
    through = [c for c in candidates if c.plan.engine == "transformers"]
    assert [c.verdict for c in through] == [REFUSED]
    assert "expands every weight of a GGUF file to 32 bits" in through[0].reason


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_no_engine_gets_weights_that_it_would_misread(tmp_path, name):
    case = CONTRADICTIONS[name]
    facts = inspect_local(case.build(tmp_path / "model"))
    stored = facts.quantization
    assert any(case.sentence in sentence for sentence in facts.contradictions)
    try:
        refuse_damaged(facts, Request())
        candidates = make_plans(facts, workstation(), Request())
    except RagError as error:
        assert error.message and error.fix
        return
    if facts.kind == "folder" and stored.declared != stored.method:
        wrong = [
            c for c in candidates if c.verdict == FITS and not (stored.legacy and c.plan.engine == "vllm")
        ]
        assert not wrong
        assert all(c.reason and c.fix for c in candidates)


@pytest.mark.parametrize("name", DAMAGES)
def test_no_damaged_model_is_planned_for(tmp_path, name):
    case = DAMAGES[name]
    try:
        facts = inspect_local(case.build(tmp_path / "model"))
        refuse_damaged(facts, Request())
    except RagError as error:
        assert error.exit_code == 4
        assert error.message and error.fix
    else:
        pytest.fail("it was let pass")


@pytest.mark.parametrize(
    ("kind", "error"),
    [("pickle_only", ModelRefused), ("remote_code", ModelRefused), ("shard_truncated", ModelDamaged)],
)
def test_what_would_run_programs_is_refused_and_what_is_broken_is_damaged(tmp_path, kind, error):
    case = next(case for case in DAMAGES.values() if case.kind == kind)
    with pytest.raises(error):
        refuse_damaged(inspect_local(case.build(tmp_path / "model")), Request())


def test_remote_code_runs_only_when_it_is_trusted(tmp_path):
    case = next(case for case in DAMAGES.values() if case.kind == "remote_code")
    facts = inspect_local(case.build(tmp_path / "model"))
    refuse_damaged(facts, Request(trust_remote_code=True))
    with pytest.raises(ModelRefused):
        refuse_damaged(facts, Request())
