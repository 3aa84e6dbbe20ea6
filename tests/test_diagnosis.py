"""What the diagnosis says, of recorded machines and of small files."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rag.diagnosis import report, sections
from rag.diagnosis.advice import advice
from rag.diagnosis.examine import anything_set, planned, request_of, with_problems
from rag.diagnosis.loading import load
from rag.diagnosis.recommend import READABLE, lines, offers
from rag.diagnosis.record import record
from rag.diagnosis.records import Diagnosis, Options
from rag.diagnosis.report import Scrubber, Target
from rag.diagnosis.text import Row, table
from rag.errors import DoesNotFit, EngineMissing, ModelDamaged, NotQuantized, UsageError
from rag.loader.hub.presets import presets
from rag.loader.records import EngineState, Limit, Machine, Probe, Request
from rag.loader.survey import find, nearest_way
from tests import tiny_checkpoints as tiny

GB = 10**9
ENGINES = {
    "llamacpp": EngineState("llamacpp", "2026.10", packages={"xllamacpp": "2026.10"}),
    "transformers": EngineState(
        "transformers",
        "5.19.0",
        packages={"transformers": "5.19.0", "torch": "2.13.0", "accelerate": "1", "bitsandbytes": "0.50.2"},
    ),
    "vllm": EngineState("vllm", None, "vllm is not installed", "Run `python -m pip install vllm`."),
}


def computer(memory=16 * GB, **changes):
    return replace(
        Machine(
            system="Linux",
            cpu="Recorded",
            cpu_features=frozenset({"avx2"}),
            cores=4,
            memory_total=memory,
            memory_available=memory,
            limits=(Limit("MemAvailable", memory, memory),),
            engines=ENGINES,
            probe=Probe(14e9, {"float32": 200e9, "bfloat16": 40e9, "float16": 40e9}),
            disk_free=100 * GB,
        ),
        **changes,
    )


def of_preset(name, form, machine, **asked):
    facts = (presets()[name].facts(form),)
    return planned(Diagnosis(name, Request(**asked), machine, facts))


def of_place(place, machine=None, **asked):
    return planned(Diagnosis(str(place), Request(**asked), machine or computer(), tuple(find(str(place)))))


def shown(diagnosis, columns=100):
    return "\n".join(line for _, text in sections.everything(diagnosis, columns) for line in text)


# --- what keeps a model from being used -----------------------------------------------------------


def test_a_way_that_was_asked_for_and_does_not_fit_names_the_nearest_that_does():
    asked = {"engine": "transformers", "quantization": "none", "dtype": "float32", "device": "cpu"}
    diagnosis = of_preset("qwen2.5-7b", "none", computer(12 * GB), **asked)
    assert isinstance(diagnosis.error, DoesNotFit)
    assert "Nearest that fits: --engine transformers --quantization bnb-" in diagnosis.error.fix
    found = nearest_way(list(diagnosis.facts), diagnosis.machine, diagnosis.request)
    assert found.verdict == "fits" and found.plan.engine == "transformers"
    assert found.need.peak < 12 * GB


def test_awq_that_no_engine_here_can_run_says_so_and_what_runs_instead():
    machine = computer(20 * GB)
    forms = ("none", "awq", "gguf")
    facts = tuple(presets()["qwen2.5-14b"].facts(form) for form in forms)
    diagnosis = planned(Diagnosis("qwen2.5-14b", Request(quantization="awq"), machine, facts))
    assert isinstance(diagnosis.error, EngineMissing)
    assert "gptqmodel" in diagnosis.error.fix and "Nearest that fits: --engine" in diagnosis.error.fix


def test_awq_asked_of_a_base_model_is_refused_with_the_machine_and_the_model_still_shown(tmp_path):
    diagnosis = of_place(tiny.plain_folder(tmp_path / "base"), quantization="awq")
    assert isinstance(diagnosis.error, NotQuantized)
    found = record(diagnosis)
    assert found["error"]["code"] == "not_quantized"
    assert (found["found"]["quantization"], found["plans"], found["loaded"]) == ("none", [], None)
    assert found["machine"]["cores"] == 4
    assert "No way to run it was left to plan." in shown(diagnosis)


def test_a_cut_file_is_named_among_the_contradictions(tmp_path):
    whole = tiny.gguf_bytes(tiny.gguf_metadata(), tiny.gguf_tensors("Q4_0"))
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) * 2 // 3])
    diagnosis = of_place(tmp_path / "cut.gguf")
    assert isinstance(diagnosis.error, ModelDamaged)
    text = " ".join(" ".join(sections.contradictions(diagnosis, 100)).split())
    assert "cut short" in text and "Download cut.gguf again" in text
    assert record(diagnosis)["found"]["problems"][0]["fix"]


def test_an_engine_that_does_not_import_is_closed_with_its_own_words():
    machine = with_problems(computer(), {"transformers": "ImportError: libtorch_cpu.so: no such file"})
    diagnosis = of_preset("qwen2.5-0.5b", "none", machine)
    assert isinstance(diagnosis.error, EngineMissing)
    reasons = {found.reason for found in diagnosis.candidates if found.plan.engine == "transformers"}
    assert any("libtorch_cpu.so: no such file" in reason for reason in reasons)
    assert "libtorch_cpu.so" in "\n".join(sections.this_machine(diagnosis, 100))


# --- records and text -----------------------------------------------------------------------------


def test_the_record_has_the_promised_keys_and_is_json():
    found = record(of_preset("qwen2.5-7b", "none", computer()))
    assert {"model", "found", "machine", "plans", "loaded"} <= set(found)
    assert {"quantization", "evidence", "contradictions", "architecture", "context_tokens"} <= set(
        found["found"]
    )
    promised = {"engine", "quantization", "dtype", "device", "verdict", "reason"}
    promised |= {"must_have_bytes", "peak_bytes", "tokens_per_s", "fix", "load_s", "notes"}
    assert all(promised <= set(plan) for plan in found["plans"])
    best = found["plans"][0]
    assert best["verdict"] == "fits" and 0 < best["must_have_bytes"] <= best["peak_bytes"]
    assert found["loaded"] is None and "error" not in found
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_every_line_fits_the_terminal(columns):
    diagnosis = of_preset("qwen2.5-7b", "none", computer())
    assert [name for name, _ in sections.everything(diagnosis, columns)] == [
        *("This machine", "This model", "Contradictions", "Plans", "Advice")
    ]
    assert max(map(len, shown(diagnosis, columns).splitlines())) <= columns
    assert max(map(len, lines(offers(presets().values(), computer(), Request()), columns))) <= columns


def test_all_ways_are_in_the_table_with_their_reasons():
    diagnosis = of_preset("qwen2.5-7b", "none", computer())
    text = " ".join("\n".join(sections.plans(diagnosis, 80)).split())
    for candidate in diagnosis.candidates:
        assert candidate.reason in text and candidate.verdict in text
    assert text.count("no NVIDIA GPU was found") == 1  # for five rows


def test_a_table_puts_remarks_beside_the_cells_where_there_is_room():
    rows = [
        Row(("one", "2"), "a remark that is longer than the room that is left for it here"),
        Row(("x", "")),
    ]
    wide = table(("name", "n"), rows, 50, "reason")
    assert wide[0] == "name  n  reason"
    assert wide[1].startswith("one   2  a remark") and wide[2].startswith("         ")
    narrow = table(("name", "n"), rows, 40)
    assert narrow[1] == "one   2" and narrow[2].startswith("    a remark")


def test_advice_names_what_more_memory_would_allow_and_how_to_install():
    diagnosis = of_preset("qwen2.5-0.5b", "none", computer(2 * GB), max_memory_bytes=None)
    told = " ".join(advice(diagnosis))
    assert "rag_query.py" in told and "--model qwen2.5-0.5b" in told
    assert "published as" in told and "AWQ: Qwen/Qwen2.5-0.5B-Instruct-AWQ" in told
    told = " ".join(advice(of_preset("qwen2.5-0.5b", "gguf", computer(GB // 4))))
    assert "of memory available, llamacpp Q4_K_M on cpu would fit." in told
    without = replace(computer(), probe=None)
    assert "No speed is predicted" in " ".join(advice(of_preset("qwen2.5-0.5b", "none", without)))


# --- what was asked -------------------------------------------------------------------------------


def test_flags_become_a_request_without_the_settings_unless_something_is_set():
    options = Options("x", engine="llamacpp", context=512, max_memory="8GB")
    expected = Request(engine="llamacpp", context_tokens=512, context_forced=True, max_memory_bytes=8 * GB)
    assert request_of(options, environ={"FOOTNOTE_CACHE": "/x"}) == expected
    assert not anything_set({"FOOTNOTE_CACHE": "/x", "PATH": "/bin"})
    told = request_of(options, environ={"FOOTNOTE_MODEL_THREADS": "3", "FOOTNOTE_MODEL_DTYPE": "float32"})
    assert (told.threads, told.dtype, told.engine) == (3, "float32", "llamacpp")


# --- recommendations ------------------------------------------------------------------------------


def test_the_largest_model_one_can_talk_with_comes_first_and_the_rest_has_its_reason():
    found = offers(presets().values(), computer(16 * GB), Request())
    names = [offer.preset.name for offer in found]
    assert sorted(names) == sorted([*presets(), "bundled"])
    good = [offer for offer in found if offer.good]
    assert good and found[: len(good)] == good
    sizes = [offer.preset.parameters for offer in good]
    assert sizes == sorted(sizes, reverse=True)
    assert all(offer.tokens_per_s >= READABLE and offer.memory_bytes <= 16 * GB for offer in good)
    closed = [offer for offer in offers(presets().values(), computer(GB), Request()) if not offer.fits]
    assert closed and all("needs" in offer.reason for offer in closed)
    assert "bundled" in [offer.preset.name for offer in good]


def test_less_memory_recommends_less():
    small = [o.preset.name for o in offers(presets().values(), computer(2 * GB), Request()) if o.fits]
    large = [o.preset.name for o in offers(presets().values(), computer(64 * GB), Request()) if o.fits]
    assert set(small) < set(large)


# --- the support report ---------------------------------------------------------------------------


def test_secrets_and_names_are_taken_out_of_texts_and_records():
    environ = {
        "HF_TOKEN": "plain-secret-value",
        "MY_SERVICE_PASSWORD": "pw-42-pw",
        "FOOTNOTE_API_KEY": "k-abcdef",
        "OMP_NUM_THREADS": "4",
    }
    scrub = Scrubber(environ, home=Path("/home/annabel"))
    text = scrub.text(
        "plain-secret-value pw-42-pw k-abcdef https://ann:hunter2@hub.example/x?token=tok123&a=1 "
        "hf_AbCdEfGhIjKlMn Authorization: Bearer abc.def.ghi api_key='zzz999' /home/annabel/models/x "
        "/tmp/annabel-7/x and 4 threads"
    )
    for secret in (
        "plain-secret",
        "pw-42",
        "k-abcdef",
        "hunter2",
        "tok123",
        "hf_Ab",
        "abc.def",
        "zzz999",
        "annabel",
    ):
        assert secret not in text
    assert "~/models/x" in text and "4 threads" in text and "hub.example" in text
    windows = Scrubber({}, home=Path("C:\\Users\\Bo")).record(
        {"place": "C:\\Users\\Bo\\m.gguf", "n": [1, None]}
    )
    assert windows == {"place": "~\\m.gguf", "n": [1, None]}


def test_a_home_that_is_the_root_folder_tears_no_path_apart():
    assert Scrubber({"HOME": "/"}, home=Path("/")).text("/usr/lib/x") == "/usr/lib/x"


def test_the_report_tells_all_and_replaces_only_reports(tmp_path, monkeypatch):
    home = tmp_path / "homes" / "annabel"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("HF_TOKEN", "hub-secret-1234")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "secret-device")
    place = tiny.plain_folder(home / "models" / "base", shards=3)
    diagnosis = of_place(place)
    diagnosis = replace(
        diagnosis,
        events=({"event": "note", "message": f"hub-secret-1234 in {home}"},),
        log="annabel: https://me:pw@x/",
    )
    file = tmp_path / "report.md"
    said = Target.checked(file).write(diagnosis)
    assert said.startswith("Report written to") and "Read it through" in said
    text = file.read_text(encoding="utf-8")
    for part in (
        "# Footnote support report",
        "## Plans",
        "## Versions",
        "torch 2",
        "CUDA_VISIBLE_DEVICES",
        "## Record",
    ):
        assert part in text
    for secret in ("hub-secret", "annabel", "HF_TOKEN", "me:pw", "secret-device"):
        assert secret not in text
    shortened = json.loads(text.partition("```json\n")[2].partition("\n```")[0])
    assert shortened["found"]["place"] == str(Path("~/models/base"))
    assert "replaces the report" in Target.checked(file).write(diagnosis)


def test_a_report_that_cannot_be_written_is_refused_beforehand(tmp_path):
    thesis = tmp_path / "thesis.md"
    thesis.write_text("years of work")
    with pytest.raises(UsageError, match="is there already"):
        Target.checked(thesis)
    assert thesis.read_text() == "years of work"
    with pytest.raises(UsageError, match=r"cannot be written"):
        Target.checked(thesis / "report.md")
    with pytest.raises(UsageError, match=r"cannot be written"):
        Target.checked(tmp_path / "nowhere" / "report.md")
    with pytest.raises(UsageError, match="is a folder"):
        Target.checked(tmp_path)
    Target.checked(tmp_path / "new.md")
    assert not (tmp_path / "new.md").exists()  # until there is something to say


# --- loading --------------------------------------------------------------------------------------


def test_a_way_that_fails_and_the_one_tried_after_it_are_both_told(monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    diagnosis = of_place("bundled")
    first = diagnosis.chosen
    capped = replace(first, plan=replace(first.plan, max_memory_bytes=60_000_000))
    done = load(replace(diagnosis, candidates=(capped, first)), on_terminal=False)
    assert done.error is None and len(done.outcome.failed) == 1
    assert "over the cap of 60 MB" in done.outcome.failed[0]["message"]
    text = "\n".join(sections.load(done, 200))
    assert "Tried in vain: SmolLM2-135M-Instruct used" in text and "llamacpp Q4_1 on cpu, ready after" in text
    assert "That way failed" in stderr.getvalue() and "Trying the next one." in stderr.getvalue()
    loaded = record(done)["loaded"]
    assert loaded["tokens_per_s"] > 1 and loaded["prefill_tokens_per_s"] > 1
    assert 50_000_000 < loaded["peak_bytes"] <= loaded["resident_bytes"]
    assert loaded["given_back"]["process_ended"] and loaded["sanity"]
    assert "Yes: the model was closed" in "\n".join(sections.given_back(done, 200))


def test_without_the_packages_loading_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("rag.diagnosis.loading.missing_to_load", lambda: ["psutil", "rich"])
    done = load(of_place("bundled"), on_terminal=False)
    assert isinstance(done.error, EngineMissing)
    assert "psutil and rich are not installed" in done.error.message and "run.py" in done.error.fix


def test_environment_variables_are_named_without_values(monkeypatch):
    monkeypatch.setattr(os, "environ", {"HF_HOME": "/secret/place", "HF_TOKEN": "x", "EDITOR": "vi"})
    assert list(report._variables()) == ["HF_HOME"]
