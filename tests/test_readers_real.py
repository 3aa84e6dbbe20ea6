"""Measured on a folder of real files that FOOTNOTE_TEST_DATA names; too large and too odd to be ours.

`chardet_encodings/` in it, at any depth, holds one folder per encoding, named after it.
"""

import os
from pathlib import Path

import pytest

from rag.ingest.readers import html, xmltree
from rag.ingest.readers.decoding import decode

DATA = os.environ.get("FOOTNOTE_TEST_DATA", "")
LANGUAGES = "bulgarian russian greek hungarian czech slovak slovene hebrew".split()

pytestmark = pytest.mark.skipif(not DATA, reason="FOOTNOTE_TEST_DATA names no folder of real files")


def true_encoding(folder):
    for language in LANGUAGES:
        folder = folder.removesuffix(f"-{language}")
    return folder


def declared(path, data):
    reader = {".xml": xmltree, ".html": html}.get(path.suffix)
    return reader.declared_encoding(data) if reader else None


def test_at_least_95_percent_of_the_files_are_decoded_right():
    files = [path for path in Path(DATA).rglob("chardet_encodings/*/*") if path.is_file()]
    assert files, f"no chardet_encodings below {DATA}"
    wrong = []
    for path in files:
        data = path.read_bytes()
        if decode(data, declared(path, data)) != data.decode(true_encoding(path.parent.name)):
            wrong.append(f"{path.parent.name}/{path.name}")
    assert len(wrong) <= 0.05 * len(files), wrong
