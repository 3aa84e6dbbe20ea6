"""The benchmark of ingestion: its arithmetic, its watch on memory, and what our side does again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rag.errors import EvaluationError, InputNotFound
from rag.evaluation.corpus import add_cut, add_documents
from rag.evaluation.reingest import cut_documents
from rag.evaluation.throughput import Finished, _run, compare_ingestion, record, table
from rag.settings import Settings
from rag.store.generation import Collection
from rag.types import Document, Section
from tests.fakes import HashingEmbedder


def finished(chunks: int, inner: float, outer: float, rss: int = 1_000_000) -> Finished:
    return Finished({"chunks": chunks, "seconds": inner, "files": {"added": 2}}, outer, rss, None)


def test_rates_are_medians_and_ratios_are_ours_to_plain() -> None:
    ours = [finished(60, 2.0, 3.0), finished(60, 1.0, 2.0), finished(60, 6.0, 10.0, rss=5_000_000)]
    plain = [finished(60, 3.0, 12.0)]
    figures = record(Path("docs"), 60, finished(60, 4.0, 5.0, rss=200_000_000), ours, plain)
    assert (figures["ours"]["chunks_per_s"], figures["ours"]["chunks_per_s_with_load"]) == (30.0, 20.0)
    assert (figures["ratio"], figures["ratio_with_load"]) == (1.5, 4.0)
    assert figures["ours"]["peak_rss_bytes"] == 5_000_000
    assert figures["whole_run"]["chunks_per_s"] == 12.0
    assert "peak memory of all its processes: 200 MB\n" in table(figures)


def test_the_memory_of_children_counts() -> None:
    grandchild = "x = bytearray(80_000_000); import time; time.sleep(1.5)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}]); print('{{}}')"
    alone = _run([sys.executable, "-c", "import time; time.sleep(0.3); print('{}')"])
    family = _run([sys.executable, "-c", child])
    assert family.peak_rss - alone.peak_rss > 80_000_000
    if sys.platform == "linux":
        assert family.peak_pss is not None
        assert 80_000_000 < family.peak_pss < family.peak_rss


def test_a_command_that_fails_is_named_with_its_last_word() -> None:
    with pytest.raises(EvaluationError, match="ended with 3: out of ink"):
        _run([sys.executable, "-c", "import sys; print('out of ink', file=sys.stderr); sys.exit(3)"])


def test_what_is_ingested_again_is_the_same(tmp_path: Path) -> None:
    embedder, settings = HashingEmbedder(), Settings()
    text = "Cats purr at night. " * 60
    document = Document("d" * 64, "cats.txt", "Cats", "text/plain", (Section(text),))
    with Collection(tmp_path, "first").writer(embedder, settings.chunk) as writer:
        add_documents(writer, [document], embedder, settings.chunk)
        first = writer.publish()
    with first, Collection(tmp_path, "second").writer(embedder, settings.chunk) as writer:
        add_cut(writer, cut_documents(first), embedder)
        with writer.publish() as second:
            before, after = first.rows.document_chunks("d" * 64), second.rows.document_chunks("d" * 64)
            assert len(before) > 1
            assert list(after.values()) == list(before.values())
            assert second.document_text("d" * 64) == text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound):
        compare_ingestion(tmp_path / "nowhere", 1)


def test_the_command_names_what_it_can_measure() -> None:
    script = Path(__file__).parent.parent / "scripts" / "benchmark.py"
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "ingest" in done.stdout) == (0, True)
