"""rag_query.py as a user runs it: real index, real small models, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "Which quantization should I use for a model that was not quantized beforehand?"


def query(*arguments, index, stdin="", **kwargs):
    env = {**os.environ, "FOOTNOTE_INDEX": str(index), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, str(ROOT / "rag_query.py"), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=env,
        cwd=kwargs.pop("cwd", ROOT),
        **kwargs,
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The index that the first question builds from the guide."""
    folder = tmp_path_factory.mktemp("index")
    done = query("--no-llm", QUESTION, index=folder)
    assert done.returncode == 0, done.stderr
    assert "guide" in done.stderr.splitlines()[0]
    assert "[1]" in done.stdout and "bnb-4bit" in done.stdout
    return folder


def test_the_json_has_exactly_the_promised_keys(index):
    done = query("--json", QUESTION, index=index)
    record = json.loads(done.stdout)
    assert list(record) == ["question", "answer", "abstained", "citations", "hits", "model", "timings"]
    assert {"number", "path", "page", "quote", "exact", "verified"} <= set(record["citations"][0])
    assert {"path", "page", "score", "text"} <= set(record["hits"][0])
    assert record["model"] == {"name": "SmolLM2-135M-Instruct", "engine": "llamacpp", "quantization": "Q4_1"}
    assert set(record["timings"]) == {
        "retrieval_s",
        "first_token_s",
        "total_s",
        "prompt_tokens",
        "answer_tokens",
    }
    assert "bnb-4bit" in record["answer"] and not record["abstained"]
    assert record["timings"]["answer_tokens"] > 0
    assert all(Path(citation["path"]).exists() for citation in record["citations"])


def test_a_question_about_something_else_is_refused_with_status_0(index):
    done = query("--json", "Who won the football world cup in 1998?", index=index)
    record = json.loads(done.stdout)
    assert done.returncode == 0
    assert record["abstained"] and record["citations"] == [] and record["hits"]


def test_explain_shows_every_stage(index):
    done = query("--explain", "--no-llm", QUESTION, index=index)
    assert all(stage in done.stdout for stage in ("dense", "lexical", "fused", "rerank"))


def test_explain_and_why_not_add_their_keys(index):
    flags = ["--explain", "--why-not", "choosing-a-model.md", "--in", "*.md", "--in", "errors.html"]
    record = json.loads(query("--json", *flags, "--since", "10y", QUESTION, index=index).stdout)
    promised = ["question", "answer", "abstained", "citations", "hits", "model", "timings"]
    assert list(record) == [*promised, "filters", "dropped", "confidence", "context", "why_not"]
    assert record["filters"]["in"] == ["*.md", "errors.html"] and record["filters"]["type"] == []
    assert {Path(hit["path"]).suffix for hit in record["hits"]} == {".md", ".html"}
    assert all(each["reason"] for each in record["dropped"])
    assert record["context"]["used"] and record["context"]["tokens"] <= record["context"]["budget_tokens"]
    assert record["why_not"]["fell_at"] is None and record["why_not"]["stages"][-1]["stage"] == "answer"


def test_the_way_of_a_passage_is_told_in_words(index):
    done = query("--no-llm", QUESTION, "--why-not", "tuning-and-memory.pdf:3", index=index)
    way = done.stdout.partition("Why not tuning-and-memory.pdf:3")[2].splitlines()
    assert [line.split()[1] for line in way if line.startswith(("ok ", "out"))][:4] == [
        "index",
        "dense",
        "lexical",
        "fused",
    ]
    assert way[-1].startswith("out")


def test_filters_hold_for_every_question_of_a_chat(index):
    done = query("--no-llm", "--type", "pdf", index=index, stdin=f"{QUESTION}\nWhat is AWQ?\n")
    sources = [line for line in done.stdout.splitlines() if line.startswith(" [")]
    assert len(sources) == 10 and all("tuning-and-memory.pdf p." in line for line in sources)


def test_a_chat_that_no_document_may_answer_does_not_begin(index):
    done = query("--no-llm", "--type", "pptx", index=index, stdin=f"{QUESTION}\n")
    assert done.returncode == 2 and done.stdout == ""
    assert "no document matches --type pptx" in done.stderr and "docx (1)" in done.stderr


def test_a_chat_answers_line_by_line_and_ends_with_its_input(index):
    done = query("--no-llm", index=index, stdin=f"{QUESTION}\n\n/nonsense\n/quit\nnever asked\n")
    assert done.returncode == 0
    assert done.stdout.count("Sources") == 1
    assert "no command /nonsense" in done.stdout


def test_an_empty_question_is_no_chat(index):
    done = query("", index=index)
    assert done.returncode == 2 and "the question is empty" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["--collection", "nowhere", "q"], 3, "index_missing"),
        (["--model", "no/such/model", "q"], 4, "model_not_found"),
        (["--model", "bundled", "--quantization", "awq", "q"], 4, "model_refused"),
        (["--max-memory", "lots", "q"], 2, "usage"),
        (["--top-k", "0", "q"], 2, "settings"),
        (["--no-such-flag", "q"], 2, "usage"),
        (["--since", "yesteryear", "q"], 2, "usage"),
        (["--in", "nowhere/*.txt", "q"], 2, "usage"),
        (["--why-not", "errors.html"], 2, "usage"),
        ([], 2, "usage"),
        ([" "], 2, "usage"),
    ],
)
def test_each_mistake_has_its_exit_status_and_one_json_error(index, arguments, status, code):
    done = query("--json", *arguments, index=index)
    assert done.returncode == status
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code and error["message"] and error["fix"]


def test_an_error_for_people_goes_to_standard_error(index):
    done = query("--collection", "nowhere", "q", index=index)
    assert done.returncode == 3 and done.stdout == ""
    assert "scripts/ingest.py" in done.stderr


def test_no_colour_and_no_control_characters_reach_a_pipe(index):
    done = query("--no-llm", QUESTION, index=index)
    assert "\x1b" not in done.stdout


def test_help_loads_no_heavy_library():
    heavy = "torch transformers faiss tantivy onnxruntime tokenizers numpy pydantic rich".split()
    script = (
        "import runpy, sys; sys.argv = ['rag_query.py', '--help']\n"
        "try: runpy.run_path('rag_query.py', run_name='__main__')\n"
        f"except SystemExit: print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_an_answer_with_the_default_model_needs_no_torch(index):
    script = (
        "import runpy, sys; sys.argv = ['rag_query.py', '--json', 'What is AWQ?']\n"
        "try: runpy.run_path('rag_query.py', run_name='__main__')\n"
        "except SystemExit: print('torch' in sys.modules, file=sys.stderr)"
    )
    env = {**os.environ, "FOOTNOTE_INDEX": str(index)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.stderr.splitlines()[-1] == "False"


def test_it_works_from_any_folder(index, tmp_path):
    done = query("--no-llm", "What is AWQ?", index=index, cwd=tmp_path)
    assert done.returncode == 0 and "[1]" in done.stdout
