"""What a person writes after txtai's RAG quick start: the yardstick for our answers.

    python txtai_qa.py ingest EMBEDDER_FOLDER PARAGRAPHS.json INDEX_FOLDER
    python txtai_qa.py ask EMBEDDER_FOLDER INDEX_FOLDER MODEL_FOLDER QUESTIONS.json

Follows examples/rag_quickstart.py of neuml/txtai: an embeddings database with content, searched by vectors,
its system and user prompts, and the three passages that a RAG pipeline takes by default. The quick start's
step that reads files and cuts them into sections is left out, as paragraphs are given. Words are drawn at
random, as transformers' pipelines do unless told otherwise.

Stands on its own. PARAGRAPHS are [{"id", "text"}], QUESTIONS {"search": [{"key", "text"}], "answer": [...]}.
Prints a JSON object a line: what was ingested, in how many seconds without imports and loading the model;
when the first search has found something; then the passages of every search, and every answer.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from txtai import RAG, Embeddings

DEPTH = 10
# The quick start's words.
SYSTEM = "You are a friendly assistant"
TEMPLATE = """
  Answer the following question using the provided context.

  Question:
  {question}

  Context:
  {context}
"""


def ingest(embedder: str, paragraphs_file: str, index_folder: str) -> None:
    paragraphs = json.loads(Path(paragraphs_file).read_text(encoding="utf-8"))
    embeddings = Embeddings(content=True, path=embedder)
    embeddings.transform("warm up")
    start = time.perf_counter()
    embeddings.index([(each["id"], each["text"]) for each in paragraphs])
    embeddings.save(index_folder)
    tell(chunks=embeddings.count(), seconds=time.perf_counter() - start)


def ask(embedder: str, index_folder: str, model_folder: str, questions_file: str) -> None:
    questions = json.loads(Path(questions_file).read_text(encoding="utf-8"))
    embeddings = Embeddings()
    embeddings.load(index_folder)  # with the embedder that it was made with
    tell(first_hit=len(embeddings.search(questions["search"][0]["text"])))
    for question in questions["search"]:
        start = time.perf_counter()
        embeddings.search(question["text"])
        seconds = time.perf_counter() - start
        hits = [[each["id"], each["text"]] for each in embeddings.search(question["text"], DEPTH)]
        tell(searched=question["key"], hits=hits, seconds=seconds)
    rag = RAG(embeddings, model_folder, system=SYSTEM, template=TEMPLATE, output="flatten")
    for question in questions["answer"]:
        start = time.perf_counter()
        text = rag(question["text"], maxlength=2048, stripthink=True)
        tell(answered=question["key"], text=text, seconds=time.perf_counter() - start)


def tell(**record: Any) -> None:
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    (ingest if sys.argv[1] == "ingest" else ask)(*sys.argv[2:])
