"""A load that is killed, starved, capped or cancelled: where it was is said, and the next way is tried."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rag.child import ChildGone
from rag.errors import DoesNotFit, ModelDied
from rag.loader.base import Sampling
from rag.loader.load import bundled_plan, start_all
from rag.loader.model.inspect import inspect_local
from rag.loader.planning.plan import best, make_plans
from rag.loader.process.death import Kills, Reached, explain
from rag.loader.records import Candidate, Plan, Request
from rag.types import Message
from tests.cgroups import memory_group
from tests.machines import GB, laptop
from tests.models import smollm2_folder  # noqa: F401  (a fixture)
from tests.sparse import sparse_folder

ROOT = Path(__file__).resolve().parent.parent
QUESTION = [Message("system", "Answer in one sentence."), Message("user", "What is the capital of France?")]
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits as Linux has them")


def folder_plan(folder, **changes):
    """A float16 folder in float32, so that each tensor becomes memory that nothing can take back."""
    facts = inspect_local(folder)
    plan = Plan(
        str(folder), facts.name, "transformers", "none", "float32", 512, 2, parameters=facts.parameters
    )
    return dataclasses.replace(plan, weight_bytes=facts.weight_bytes, **changes)


def rungs(*plans):
    return [Candidate(plan, "fits", "") for plan in plans]


def says(model):
    return "".join(model.stream(QUESTION, Sampling(12)))


@on_linux
@pytest.mark.parametrize(
    ("share", "shard"), [(0.0, "shard [1-6]/6"), (0.5, "shard [3-6]/6"), (1.0, "shard 6/6")]
)
def test_a_kill_at_any_point_is_located_and_the_next_way_answers(smollm2_folder, share, shard):  # noqa: F811
    events = []

    def kill_there(event):
        events.append(event)
        there = event["event"] == "tensor" and event["done_bytes"] >= share * event["total_bytes"]
        if there and not any(earlier["event"] == "rung_failed" for earlier in events):
            os.kill(model.pid, signal.SIGKILL)

    plan = folder_plan(smollm2_folder)
    with start_all(rungs(plan, bundled_plan(Request())), kill_there) as model:
        assert model.wait_ready(120).engine == "llamacpp"
        assert "Paris" in says(model)
    failed = next(event for event in events if event["event"] == "rung_failed")
    before = events[: events.index(failed)]
    reached = [event for event in before if event["event"] == "tensor"][-1]
    assert "was killed (SIGKILL)" in failed["message"]

    assert re.search(shard, failed["message"])
    assert reached["tensor"] in failed["message"]
    assert re.search(r"[\d.]+ [MG]B resident, [\d.]+ GB left", failed["message"])


@on_linux
def test_a_forced_way_that_dies_is_not_replaced(smollm2_folder):  # noqa: F811
    def kill(event):
        if event["event"] == "tensor":
            os.kill(model.pid, signal.SIGKILL)

    place = r"killed \(SIGKILL\).*while loading at shard \d/6, \S+\.weight"
    with (
        start_all(rungs(folder_plan(smollm2_folder)), kill) as model,
        pytest.raises(ModelDied, match=place),
    ):
        model.wait_ready(120)


@on_linux
def test_closing_in_the_middle_of_a_load_leaves_nothing_behind(smollm2_folder):  # noqa: F811
    reached = []
    model = start_all(
        rungs(folder_plan(smollm2_folder), bundled_plan(Request())),
        lambda event: reached.append(event["event"]),
    )
    deadline = time.monotonic() + 120
    while "tensor" not in reached and time.monotonic() < deadline:
        time.sleep(0.01)
    pid = model.pid
    model.close()
    assert "tensor" in reached
    assert not psutil.pid_exists(pid)
    assert "rung_failed" not in reached  # closing is no failure: no other way is begun


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory):
    """A float16 model of 7.6 GB in three shards."""
    return sparse_folder(tmp_path_factory.mktemp("large") / "Large-3.8B")


def test_a_model_over_the_cap_is_said_not_to_fit_before_it_is_loaded(large_folder):
    facts = inspect_local(large_folder)
    request = Request(quantization="none", dtype="float16", device="cpu", max_memory_bytes=4 * GB)
    with pytest.raises(DoesNotFit) as caught:
        best(make_plans(facts, laptop(64 * GB), request))
    assert "Large-3.8B does not fit" in caught.value.message
    assert "4.0 GB are allowed by --max-memory" in caught.value.message


def test_the_command_line_says_so_too(large_folder, tmp_path):
    command = [sys.executable, str(ROOT / "rag_query.py"), "--json", "--model", str(large_folder)]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--max-memory", "2GB", "--quantization", "none", "--device", "cpu", "What is Marlin?"],
        capture_output=True,
        text=True,
        env={**os.environ, "FOOTNOTE_INDEX": str(tmp_path)},
        timeout=120,
    )
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (4, "does_not_fit")
    assert "needs" in error["message"] and "Raise --max-memory" in error["fix"]
    assert time.monotonic() - began < 120


STARVED = """
import sys
{enter}
from pathlib import Path
from rag.loader.load import bundled_plan, start_all
from rag.loader.base import Sampling
from rag.loader.records import Candidate, Plan, Request
from rag.types import Message
folder, name = sys.argv[1:]
plan = Plan(folder, name, "transformers", "none", "float32", 512, 2, parameters=3_821_079_552)
rungs = [Candidate(each, "fits", "") for each in (plan, bundled_plan(Request()))]
failed = []
note = lambda event: failed.append(event["message"]) if event["event"] == "rung_failed" else None
with start_all(rungs, note) as model:
    asked = [Message("system", "Answer in one sentence."), Message("user", "What is the capital of France?")]
    answer = "".join(model.stream(asked, Sampling(12)))
print(failed[0])
print(answer)
"""


def starved(enter, folder, tmp_path):
    """What a parent prints that loads the large model within a limit, and then the bundled one."""
    script = tmp_path / "starved.py"
    script.write_text(STARVED.format(enter=enter))
    done = subprocess.run(
        [sys.executable, str(script), str(folder), folder.name],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    why, _, answer = done.stdout.partition("\n")
    assert "Paris" in answer
    return why


@on_linux
def test_a_control_group_s_limit_ends_the_worker_and_never_the_parent(large_folder, tmp_path):
    with memory_group(1_400_000_000) as group:
        if group is None:
            pytest.skip("no memory control group can be made here: it takes root, or a delegated group")
        why = starved(group.join, large_folder, tmp_path)
    limit = rf"\d+ MB were left at the limit of cgroup /{group.folder.name}, 1\.4 GB"
    assert re.search(rf"Large-3\.8B ran out of memory while loading: {limit}, at shard 1/3, model\.", why)
    assert "GB resident" in why and "left" in why


@on_linux
def test_a_kill_by_the_kernel_is_told_from_any_other():
    with memory_group(60_000_000) as group:
        if group is None:
            pytest.skip("no memory control group can be made here: it takes root, or a delegated group")
        enter = f"{group.join}; print(flush=True); input(); held = bytearray(200_000_000)"
        with subprocess.Popen(
            [sys.executable, "-c", enter], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            kills = Kills(child.pid)
            assert kills.since() == []
            child.communicate(b"\n")
        plan, nowhere = bundled_plan(Request()), Reached()
        why = explain(plan, ChildGone("", child.returncode), None, nowhere, True, "", kills)
    limit = f"at the memory limit of cgroup /{group.folder.name} while loading"
    assert f"was killed by the kernel's OOM killer {limit}" in why.message


@on_linux
@pytest.mark.parametrize("limit", ["RLIMIT_DATA", "RLIMIT_AS"])
def test_a_process_limit_is_named_and_the_next_way_answers(large_folder, tmp_path, limit):
    amount = 2_500_000_000 if limit == "RLIMIT_DATA" else 14_000_000_000
    enter = f"import resource; resource.setrlimit(resource.{limit}, ({amount}, {amount}))"
    why = starved(enter, large_folder, tmp_path)
    assert "memory ran out while Large-3.8B was loading" in why or "ran out of memory" in why
    assert f"{limit} is {amount / 1e9:.1f} GB" in why
    assert "shard 1/3, model." in why or "Large-3.8B/model-00001-of-00003.safetensors" in why


@on_linux
def test_the_watchdog_ends_a_load_that_goes_over_the_cap_and_names_the_tensor(large_folder):
    plan = folder_plan(large_folder, max_memory_bytes=1_000_000_000)
    with (
        start_all(rungs(plan)) as model,
        pytest.raises(DoesNotFit, match=r"used 1,\d\d\d MB of memory, over the cap of 1,000 MB") as caught,
    ):
        model.wait_ready(120)
    assert "at shard 1/3, model." in caught.value.message
