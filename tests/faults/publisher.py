"""A process that changes an index and meets a fault on the way: `publisher.py FOLDER FAULT`.

FAULT is `none`, `kill:N` (die without warning at step N), `size:N` (no file may grow past N bytes),
`hold` (take the lock, say so, and wait), `loop` (publish until somebody ends it) or
`read` (open the index without the right to write there, and print what it holds).
It prints the steps that it took, or the code of the error that it met, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import psutil

from rag.errors import RagError
from rag.store.generation import Collection
from tests.store_samples import document, put, texts, writer_of

KEPT = document("This one stays.\nIt has two parts.", "", "/docs/kept.txt")
GONE = document("This one will be deleted.", "", "/docs/gone.txt")
BEFORE = document("First version of a file.", "", "/docs/changing.txt")
AFTER = document("Second version of a file.\nLonger now.", "", "/docs/changing.txt")
NEW = document(
    "A new file about otters.\n" + "\n".join(f"otter {n} " * 40 for n in range(40)), "", "/docs/new.txt"
)

OLD_STATE = (KEPT, GONE, BEFORE)
NEW_STATE = (KEPT, AFTER, NEW)


def update(collection):
    """From OLD_STATE, or from nothing, to NEW_STATE, as a run of ingest would do it."""
    with writer_of(collection, task="update") as writer:
        stored = {each.id for each in writer.base.documents()} if writer.base else set()
        for each in NEW_STATE:
            if each.id not in stored:
                put(writer, each)
        writer.remove_document(GONE.id)
        writer.publish().close()


def read_without_rights(collection):
    import mmap  # noqa: F401 - while they can still be read

    import faiss  # noqa: F401
    import numpy  # noqa: F401
    import tantivy  # noqa: F401

    if os.geteuid() == 0:
        os.setuid(65534)
    with collection.open() as generation:
        found = [id for id, _ in generation.lexical.search("deleted", 5)]
        print(json.dumps([texts(generation), [chunk.text for chunk in generation.chunks(found).values()]]))


def main(folder, fault):
    kind, _, number = fault.partition(":")
    steps = []

    def step(name):
        if kind == "kill" and len(steps) == int(number):
            psutil.Process().kill()
        steps.append(name)

    collection = Collection(Path(folder), "faults", step)
    if kind == "size":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), int(number)))
    if kind == "read":
        read_without_rights(collection)
        return
    if kind == "hold":
        with writer_of(collection, task="holding"):
            print("held", flush=True)
            time.sleep(600)
    while kind == "loop":
        update(collection)
        with writer_of(collection) as writer:
            writer.remove_document(NEW.id)
            writer.remove_document(AFTER.id)
            put(writer, GONE)
            put(writer, BEFORE)
            writer.publish().close()
        print("published", flush=True)
    try:
        update(collection)
        print(json.dumps(steps))
    except RagError as error:
        print(json.dumps(error.code))


if __name__ == "__main__":
    main(*sys.argv[1:])
