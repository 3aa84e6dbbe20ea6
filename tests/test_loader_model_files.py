"""Which model a path means, and how little of its files is read to know it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rag import bundled
from rag.errors import ModelNotFound
from rag.loader.model.files import LocalFiles, amount
from rag.loader.model.inspect import inspect_files, inspect_local
from tests import tiny_checkpoints as tiny
from tests.tiny_damage import LFS

# --- which model is meant -------------------------------------------------------------------------


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(ModelNotFound, match="there is no file or folder") as caught:
        inspect_local(tmp_path / "nowhere")
    assert caught.value.fix.startswith("Correct the path")


def test_a_file_of_a_model_folder_leads_to_the_folder(tmp_path):
    folder = tiny.plain_folder(tmp_path)
    with pytest.raises(ModelNotFound, match="not a model that can be read") as caught:
        inspect_local(folder / "model.safetensors")
    assert caught.value.fix == f"Name the folder that holds it: {folder}"


def test_a_folder_without_a_model_names_the_folders_that_have_one(tmp_path):
    tiny.plain_folder(tmp_path / "inner")
    with pytest.raises(ModelNotFound) as caught:
        inspect_local(tmp_path)
    assert caught.value.message == f"{tmp_path} holds no config.json and no GGUF file"
    assert caught.value.fix == "Name the folder that does: inner"


def test_a_folder_of_several_gguf_files_names_them(tmp_path):
    tiny.gguf_file(tmp_path, "a.Q4_K_M.gguf")
    tiny.gguf_file(tmp_path, "b.Q8_0.gguf")
    with pytest.raises(ModelNotFound, match="holds 2 GGUF files") as caught:
        inspect_local(tmp_path)
    assert caught.value.fix == "Name one of them: a.Q4_K_M.gguf, b.Q8_0.gguf"


def test_a_folder_with_one_gguf_model_is_that_model(tmp_path):
    file = tiny.gguf_file(tmp_path)
    tiny.gguf_file(tmp_path, "mmproj-tiny.gguf")
    facts = inspect_local(tmp_path)
    assert (facts.kind, facts.place, facts.name) == ("gguf", file, "tiny.Q4_K_M")
    parts = tiny.gguf_parts(tmp_path / "parts")
    assert inspect_local(parts.parent).place == parts


def test_a_revision_in_the_hub_cache_is_called_by_its_models_name(tmp_path):
    folder = tiny.plain_folder(tmp_path / "models--Qwen--Tiny-Instruct" / "snapshots" / "0a1b2c")
    assert inspect_local(folder).name == "Tiny-Instruct"


def test_a_linked_gguf_file_of_the_hub_cache_is_read_under_its_own_name(tmp_path):
    blob = tiny.gguf_file(tmp_path / "blobs").rename(tmp_path / "blobs" / "4d5e6f")
    (tmp_path / "snapshots").mkdir()
    link = tmp_path / "snapshots" / "tiny.gguf"
    link.symlink_to(blob)
    facts = inspect_local(link)
    assert (facts.name, facts.place, facts.problems) == ("tiny", link, ())


def test_a_model_elsewhere_gives_the_same_facts_without_a_place(tmp_path):
    folder = tiny.FORMS["gptq"].build(tmp_path)
    facts = inspect_files(LocalFiles(folder), "someone/Tiny-GPTQ", "Tiny-GPTQ", repo="someone/Tiny-GPTQ")
    local = inspect_local(folder)
    assert (facts.place, facts.repo) == (None, "someone/Tiny-GPTQ")
    same = replace(local, target=facts.target, name=facts.name, place=None, repo=facts.repo)
    assert facts == same


# --- how little it takes --------------------------------------------------------------------------


class Counting(LocalFiles):
    """Local files that count the bytes that are read of them."""

    def __init__(self, folder):
        super().__init__(folder)
        self.total = 0

    def read(self, name, start=0, length=None):
        data = super().read(name, start, length)
        self.total += len(data)
        return data


def big_folder(folder, shards=8, size=50_000_000):
    """Shards of which only the headers are written: the weights are a hole in the file."""
    tiny.plain_folder(folder)
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number in range(1, shards + 1):
        name = f"model-{number:05}-of-{shards:05}.safetensors"
        file = tiny.safetensors(folder / name, {})
        head = json.dumps(
            {f"layer{number}.weight": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}
        )
        with file.open("wb") as out:
            out.write(len(head).to_bytes(8, "little") + head.encode())
            out.truncate(8 + len(head) + size)
        weight_map[f"layer{number}.weight"] = name
    tiny.write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    return folder


def test_only_headers_are_read_of_large_shards(tmp_path):
    files = Counting(big_folder(tmp_path))
    facts = inspect_files(files, "big", "big")
    assert facts.weight_bytes == 400_000_000 and facts.problems == ()
    assert files.total < 2_000_000


def test_only_the_head_of_a_gguf_file_is_read():
    file = bundled.path(bundled.SMOLLM2)
    files = Counting(file.parent)
    assert inspect_files(files, "bundled", "bundled", gguf=file.name).weight_bytes > 90_000_000
    assert files.total < 3_000_000


def test_a_header_beyond_the_first_read_is_read_whole(tmp_path):
    tensors = {
        f"model.layers.{number}.a_rather_long_name.weight": tiny.numbers("F16", 2) for number in range(4000)
    }
    facts = inspect_local(tiny.folder_of(tmp_path, tensors))
    assert (len(facts.tensors), facts.parameters, facts.problems) == (4000, 8000, ())


def test_nothing_but_the_standard_library_is_imported(tmp_path):
    folder = tiny.FORMS["awq"].build(tmp_path / "a")
    file = tiny.gguf_file(tmp_path / "b")
    program = (
        "import sys; from pathlib import Path; from rag.loader.model.inspect import inspect_local\n"
        "for path in sys.argv[1:]: inspect_local(Path(path))\n"
        "packages = {name.partition('.')[0] for name, module in sys.modules.items()"
        " if 'site-packages' in (getattr(module, '__file__', '') or '')}\n"
        "print(sorted(packages))"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", program, str(folder), str(file)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (9_999, "9,999 bytes"),
        (12_345, "12.3 kB"),
        (4_976_698_672, "4.98 GB"),
        (1_500_000, "1.50 MB"),
    ],
)
def test_amounts_of_bytes(count, text):
    assert amount(count) == text


def test_a_pointer_where_config_json_should_be(tmp_path):
    folder = tiny.plain_folder(tmp_path)
    (folder / "config.json").write_bytes(LFS)
    assert inspect_local(folder).problems[0].kind == "lfs_pointer"
