"""Finding files, in folders made on the spot."""

import os
import sys

import pytest

from rag.errors import InputNotFound
from rag.ingest.discover import discover


def names(found):
    return [candidate.name for candidate in found.candidates]


def fill(folder, *paths, content=b"some text\n"):
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def test_folders_are_walked_and_names_are_relative_with_slashes(tmp_path):
    fill(tmp_path, "b.txt", "a/deep/er.md", "a/x.py")
    found = discover(tmp_path, [])
    assert names(found) == ["b.txt", "a/x.py", "a/deep/er.md"]
    assert found.candidates[0].key == str((tmp_path / "b.txt").resolve())
    assert found.candidates[0].size == 10


def test_a_single_file_is_found_under_its_own_name(tmp_path):
    fill(tmp_path, "only.txt")
    assert names(discover(tmp_path / "only.txt", [])) == ["only.txt"]


def test_a_hidden_file_is_read_when_it_is_named_itself(tmp_path):
    fill(tmp_path, ".notes.txt")
    assert names(discover(tmp_path / ".notes.txt", [])) == [".notes.txt"]


def test_hidden_excluded_and_binary_files_are_counted(tmp_path):
    fill(tmp_path, "keep.txt", ".git/config", ".env", "build/out.txt", "logs/a.log", "logs/keep.log")
    fill(tmp_path, "picture.dat", content=bytes(range(256)) * 4)
    fill(tmp_path, "photo.jpg", content=b"\xff\xd8\xff\xe0" + bytes(100))
    found = discover(tmp_path, ["build/", "*.log", "!keep.log"])
    assert names(found) == ["keep.txt", "logs/keep.log"]
    assert (found.hidden, found.excluded, found.binary) == (2, 2, 2)


def test_archives_damaged_documents_and_empty_files_stay_so_that_they_can_be_named(tmp_path):
    fill(tmp_path, "a.zip", content=b"PK\x03\x04" + bytes(50))
    fill(tmp_path, "b.docx", content=bytes(range(256)))
    fill(tmp_path, "c.txt", content=b"")
    assert names(discover(tmp_path, [])) == ["a.zip", "b.docx", "c.txt"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "shift_jis", "cp1251"])
def test_text_in_any_encoding_is_no_binary_file(tmp_path, encoding):
    text = (
        "Straße\n"
        if encoding.startswith("utf")
        else {"shift_jis": "日本語の文書\n", "cp1251": "Привет\n"}[encoding]
    )
    fill(tmp_path, "text", content=(text * 20).encode(encoding))
    assert names(discover(tmp_path, [])) == ["text"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_loops_of_links_end_and_each_file_comes_once(tmp_path):
    fill(tmp_path, "a/one.txt")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "copy.txt").symlink_to(tmp_path / "a" / "one.txt")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nothing")
    found = discover(tmp_path, [])
    assert [candidate.key for candidate in found.candidates] == [str((tmp_path / "a/one.txt").resolve())]
    assert [reason for _, reason in found.failures] == ["cannot be read: No such file or directory"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_an_unreadable_folder_is_a_named_failure(tmp_path, monkeypatch):
    fill(tmp_path, "open.txt", "locked/secret.txt")
    real = os.scandir

    def scandir(path):  # as root nothing is unreadable, so the refusal is made here
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = discover(tmp_path, [])
    assert names(found) == ["open.txt"]
    assert found.failures == ((str(tmp_path / "locked"), "cannot be read: Permission denied"),)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_hang_the_search(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    fill(tmp_path, "a.txt")
    assert names(discover(tmp_path, [])) == ["a.txt"]


def test_a_missing_path_is_an_error(tmp_path):
    with pytest.raises(InputNotFound, match="does not exist"):
        discover(tmp_path / "nowhere", [])
