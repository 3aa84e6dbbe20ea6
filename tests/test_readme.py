"""The README's commands exist with every flag they are shown with, and its session is a real one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    .*\n?)+", README, re.MULTILINE)
SCRIPTS = [
    "rag_query.py",
    "scripts/ingest.py",
    "scripts/diagnose_load.py",
    "scripts/evaluate.py",
    "scripts/ablate.py",
    "scripts/peers.py",
    "scripts/benchmark.py",
    "scripts/run.py",
]


def help_of(script, *subcommand):
    command = [sys.executable, str(ROOT / script), *subcommand, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def usages(script):
    """The README's lines that call the script, with their continuation lines."""
    pattern = rf"    python {re.escape(script)}.*\n(?:     +[\[-].*\n)*"
    return "".join(match for block in BLOCKS for match in re.findall(pattern, block))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_shown_and_every_flag_exists(script):
    shown = set(re.findall(r"--[a-z-]+", usages(script)))
    known = help_of(script)
    if script == "scripts/benchmark.py":
        known += help_of(script, "ingest") + help_of(script, "page")
    assert usages(script)
    assert shown <= set(re.findall(r"--[a-z-]+", known))


@pytest.mark.parametrize(
    "script",
    [
        "rag_query.py",
        "scripts/ingest.py",
        "scripts/diagnose_load.py",
        "scripts/evaluate.py",
        "scripts/ablate.py",
    ],
)
def test_every_flag_is_in_the_readme(script):
    known = set(re.findall(r"--[a-z-]+", help_of(script))) - {"--help"}
    assert known - set(re.findall(r"--[a-z-]+", README)) == set()


def test_every_module_of_the_tree_exists():
    tree = next(block for block in BLOCKS if "    rag_query.py  " in block)
    names = re.findall(r"^    (  )?(\S+?)/? {2,}", tree, re.MULTILINE)
    for inside, name in names:
        assert (ROOT / ("rag" if inside else ".") / name).exists(), name


def test_the_session_shows_what_the_program_prints(tmp_path):
    """Questions, quotes and footnotes; the order of further sources may differ between processors."""
    shown = README.partition("    $ python")[2].partition("\n\nTwo commands")[0]
    sessions = [" ".join(part.split()) for part in shown.split("$ python ")]
    assert len(sessions) == 2
    for session in sessions:
        question = re.search(r'"(.+?)"', session).group(1)
        answer = re.search(r'("[^"]+" \[1\].*|Not in your documents\..*)', session).group(1)
        done = subprocess.run(
            [sys.executable, str(ROOT / "rag_query.py"), "--no-llm", question],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=ROOT,
            env={**os.environ, "FOOTNOTE_INDEX": str(tmp_path), "PYTHONUTF8": "1"},
        )
        assert answer in " ".join(done.stdout.split())
