"""scripts/ingest.py as a user runs it: exit codes, one JSON object, clear complaints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rag.places import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "ingest.py"


class Shell:
    """Runs the script from a folder of its own, with an index of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.docs = tmp_path / "docs"
        self.docs.mkdir()
        self.where = tmp_path
        self.index = tmp_path / "index"
        self.env = {**os.environ, "FOOTNOTE_INDEX": str(self.index), "FOOTNOTE_INGEST_WORKERS": "1"}

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, arguments)],
            cwd=self.where,
            env=self.env,
            text=True,
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def json(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        status, out, _ = self.run(*arguments, "--json")
        return status, json.loads(out)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_json_is_the_one_object(shell: Shell) -> None:
    (shell.docs / "cats.txt").write_text("Cats purr when they are content.")
    broken = shell.docs / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nno PDF\n")
    status, report = shell.json("docs", "--collection", "pets")
    seconds = report.pop("seconds")
    (failure,) = report.pop("failures")
    assert (status, failure["path"], bool(failure["reason"])) == (5, str(broken.resolve()), True)
    assert report == {
        "collection": "pets",
        "generation": 1,
        "files": {"added": 1, "changed": 0, "unchanged": 0, "removed": 0, "failed": 1},
        "chunks": 1,
    }
    assert seconds > 0


def test_a_life_of_an_index(shell: Shell) -> None:
    """Dry run, first and second run, status, verify, change, rollback, remove."""
    (shell.docs / "a.txt").write_text("Alpha is the first letter.")
    (shell.docs / "b.log").write_text("a log line")
    (shell.docs / ".hidden").write_text("hidden")
    status, out, _ = shell.run("docs", "--exclude", "*.log", "--dry-run")
    plan = "Would be: 1 added, 0 changed, 0 unchanged, 0 removed, 0 failed"
    assert (status, out) == (0, f"{plan} (passed over: 1 hidden, 1 excluded)\n")
    assert not shell.index.exists()
    status, out, _ = shell.run("docs", "--exclude", "*.log")
    assert status == 0
    assert "1 passages" in out and "Index 'default', generation 1." in out
    status, out, err = shell.run("docs", "--exclude", "*.log")
    assert (status, err) == (0, "")
    assert "1 unchanged" in out and "Index 'default' is as it was." in out
    (shell.docs / "a.txt").write_text("Alpha was changed.")
    assert shell.json("docs")[1]["files"] == {
        "added": 1, "changed": 1, "unchanged": 0, "removed": 0, "failed": 0
    }  # fmt: skip
    status, record = shell.json("--status")
    assert (status, record["documents"], record["chunks"], record["files"]) == (0, 2, 2, {"ok": 2})
    assert shell.json("--verify") == (
        0, {"collection": "default", "generation": 2, "ok": True, "problems": []}
    )  # fmt: skip
    assert shell.json("--rollback") == (0, {"collection": "default", "generation": 1})
    assert shell.json("--remove", "docs")[1]["removed"] == 1
    assert shell.json("--status")[1]["documents"] == 0


def test_a_damaged_index_is_exit_3(shell: Shell) -> None:
    (shell.docs / "a.txt").write_text("Alpha.")
    shell.run("docs")
    (database,) = shell.index.glob("*/gen-*/chunks.sqlite")
    content = bytearray(database.read_bytes())
    content[-1] ^= 1
    database.write_bytes(content)
    assert shell.json("--verify")[1]["ok"] is False
    status, report = shell.json("docs")
    assert (status, report["error"]["code"]) == (3, "index_damaged")
    status, report = shell.json("docs", "--rebuild")
    assert (status, report["files"]["added"]) == (0, 1)
    assert shell.json("--verify")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "code", "said"),
    [
        (["missing"], 2, "input_not_found", "missing does not exist"),
        (["empty"], 2, "usage", "no file to read in empty"),
        (["only-hidden"], 2, "usage", "1 hidden"),
        ([], 2, "usage", "which folder?"),
        (["docs", "--status"], 2, "usage", "makes no sense"),
        (["docs", "--wrong"], 2, "usage", "--wrong"),
        (["docs", "--watch"], 2, "usage", "--watch"),
        (["docs", "--collection", "../up"], 2, "usage", "cannot be the name"),
        (["--status"], 3, "index_missing", "no index 'default'"),
        (["--remove", "docs"], 3, "index_missing", "no index"),
        (["--rollback"], 3, "index_missing", "no index"),
    ],
)
def test_complaints_name_the_trouble(
    shell: Shell, arguments: list[str], status: int, code: str, said: str
) -> None:
    (shell.docs / "a.txt").write_text("Alpha.")
    (shell.where / "empty").mkdir()
    (shell.where / "only-hidden").mkdir()
    (shell.where / "only-hidden" / ".a").write_text("x")
    found, report = shell.json(*arguments)
    error = report["error"]
    assert (found, error["code"]) == (status, code)
    assert said in error["message"]
    assert error["fix"]


def test_a_file_is_a_root_too_and_odd_names_are_tamed(shell: Shell) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows allows no control characters in names")
    odd = shell.docs / "odd\x1b[31m\nname.pdf"
    odd.write_bytes(b"%PDF-1.7\nno PDF\n")
    status, out, _ = shell.run(odd)
    assert status == 5
    assert "odd[31m name.pdf: " in out
    assert "\x1b" not in out


def test_a_second_writer_is_told_who_writes(shell: Shell) -> None:
    from rag.store.lock import WriterLock

    (shell.docs / "a.txt").write_text("Alpha.")
    (shell.index / "default").mkdir(parents=True)
    lock = WriterLock(shell.index / "default", "ingest")
    try:
        status, report = shell.json("docs")
    finally:
        lock.release()
    assert (status, report["error"]["code"]) == (3, "index_locked")
    assert str(os.getpid()) in report["error"]["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C cannot be sent to one process there")
def test_watching_follows_changes_until_ctrl_c(shell: Shell) -> None:
    (shell.docs / "a.txt").write_text("Alpha.")
    process = shell.start("docs", "--watch")
    try:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[2].startswith("Watching docs; ")
        (shell.docs / "b.txt").write_text("Beta.")
        assert "1 added, 0 changed, 1 unchanged" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130


def test_a_second_run_loads_no_model(shell: Shell) -> None:
    (shell.docs / "a.txt").write_text("Alpha.")
    shell.run("docs")
    program = (
        "import runpy, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'torch', 'onnxruntime', 'tokenizers', 'transformers', 'langchain_text_splitters', 'rich'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(SCRIPT), "docs"],
        cwd=shell.where, env=shell.env, text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == "loaded: []\n"


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), "--help"],
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"pydantic", "numpy", "faiss", "tantivy", "torch", "onnxruntime", "rich"}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not known there")
def test_kill_at_any_moment_leaves_a_whole_index(shell: Shell) -> None:
    for n in range(12):
        (shell.docs / f"{n}.txt").write_text(
            "\n\n".join(f"Fact {k} of file {n} is noted." for k in range(30))
        )
    for delay in (0.5, 1.5, 3.0):
        process = shell.start("docs")
        time.sleep(delay)
        process.kill()
        process.communicate()
        status, report = shell.json("--verify")
        assert report.get("ok") or report["error"]["code"] == "index_missing"
    status, report = shell.json("docs")
    assert (status, report["files"]["added"] + report["files"]["unchanged"]) == (0, 12)
    assert shell.json("--verify")[1]["ok"] is True


RULES = "会员每年缴纳三百五十欧元的会费。\n\n猫一天睡十六个小时。\n\nCats sleep sixteen hours a day."


def multilingual_embedder(folder: Path) -> Path:
    """A model in the shape of sentence-transformers whose words are Chinese characters and Latin letters."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = sorted(set(RULES) - {" ", "\n"} | set("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    plain = folder / "plain"
    plain.mkdir(parents=True)
    (plain / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(vocab_file=str(plain / "vocab.txt"), model_max_length=128).save_pretrained(plain)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=128, **shape)).save_pretrained(
        plain
    )
    parts = [Transformer(str(plain), max_seq_length=128), Pooling(32)]
    SentenceTransformer(modules=parts, device="cpu").save(str(folder / "multi"))
    return folder / "multi"


@pytest.mark.slow
def test_another_embedder_is_one_setting_away_and_rebuilds_the_index(shell: Shell, tmp_path: Path) -> None:
    (shell.docs / "rules.txt").write_text(RULES, encoding="utf-8")
    assert shell.run(shell.docs)[0] == 0
    shell.env["FOOTNOTE_EMBEDDING_MODEL"] = str(multilingual_embedder(tmp_path / "models"))
    status, _, complaint = shell.run(shell.docs)
    assert status == 3 and "--rebuild" in complaint
    status, figures = shell.json(shell.docs, "--rebuild")
    assert status == 0 and figures["chunks"] > 0
    del shell.env["FOOTNOTE_EMBEDDING_MODEL"]  # the index knows what made it
    asked = [sys.executable, str(CHECKOUT / "rag_query.py"), "--no-llm", "--json", "会员的会费是多少?"]
    done = subprocess.run(asked, env=shell.env, capture_output=True, encoding="utf-8", check=True)
    hits = json.loads(done.stdout)["hits"]
    assert "三百五十" in hits[0]["text"] and "lexical" in hits[0]["stages"]
