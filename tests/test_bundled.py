"""The bundled model files: found, checked, and explained when they are not right."""

import dataclasses
import hashlib
import sys

import pytest

from rag import bundled
from rag.errors import BundledModelMissing


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A stand-in package whose import would fail, with one model file and one neighbour."""
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "site" / "toy_model_package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('its code must not run')")
    (folder / "toy.bin").write_bytes(b"weights")
    (folder / "words.json").write_bytes(b"{}")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


TOY = bundled.BundledModel(
    name="toy",
    package="toy-model",
    version="1.2",
    module="toy_model_package",
    file="toy.bin",
    size=7,
    sha256=hashlib.sha256(b"weights").hexdigest(),
    licence="MIT",
    beside=(("words.json", hashlib.sha256(b"{}").hexdigest()),),
)


@pytest.mark.parametrize("model", [bundled.BGE_SMALL, bundled.CROSS_ENCODER, bundled.SMOLLM2, bundled.MINILM])
def test_every_bundled_model_is_installed_and_whole(model):
    file = bundled.path(model)
    assert file.name == model.file.rpartition("/")[2]
    assert model.module not in sys.modules


def test_the_package_code_is_not_run(package):
    assert bundled.path(TOY) == package / "toy.bin"


def test_a_missing_package_comes_with_the_command_that_installs_it():
    absent = dataclasses.replace(TOY, module="no_such_package_at_all")
    with pytest.raises(BundledModelMissing, match="toy is not installed") as caught:
        bundled.path(absent)
    assert "toy-model==1.2" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "content"), [("toy.bin", b"weighs"), ("toy.bin", b"weighTs"), ("words.json", b"[]")]
)
def test_an_altered_file_is_refused(package, name, content):
    bundled.path(TOY)
    (package / name).write_bytes(content)
    with pytest.raises(BundledModelMissing, match=name):
        bundled.path(TOY)


def test_a_lost_neighbour_is_refused(package):
    (package / "words.json").unlink()
    with pytest.raises(BundledModelMissing, match="words"):
        bundled.path(TOY)


def test_a_checked_file_is_not_hashed_again(package, monkeypatch):
    bundled.path(TOY)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed twice"))
    assert bundled.path(TOY) == package / "toy.bin"


def test_a_cache_that_cannot_be_written_does_no_harm(package, tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("FOOTNOTE_CACHE", str(blocked))
    assert bundled.path(TOY) == package / "toy.bin"
