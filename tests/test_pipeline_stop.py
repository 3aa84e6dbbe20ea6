"""Ctrl-C at any moment of an ingestion, and the progress that is told until then."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rag.errors import IndexMissing
from rag.ingest.progress import Progress
from rag.ingest.stop import Stop
from tests.desks import Desk, WordEmbedder, counts, furnished


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return furnished(tmp_path)


def interrupting(times: int) -> Callable[[], None]:
    """Press Ctrl-C while the third batch is being embedded."""
    calls = 0

    def press() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return press


def many(desk: Desk) -> None:
    for name in "abcdef":
        paragraphs = (
            f"Paragraph {n} of file {name} has words of its own, enough for a passage. " for n in range(90)
        )
        desk.write(f"{name}.txt", "\n\n".join(p * 3 for p in paragraphs))


def test_ctrl_c_keeps_what_is_complete(desk: Desk) -> None:
    many(desk)
    desk.embedder = WordEmbedder(interrupting(1))
    with Stop().listening() as stop:
        report = desk.run(stop=stop)
    assert (report.interrupted, report.published) == (True, True)
    assert 0 < report.added < 8
    assert report.added == len(desk.holds())
    desk.sound()
    desk.embedder = WordEmbedder()
    rest = desk.run()
    assert counts(rest) == (8 - report.added, 0, report.added, 0, 0)
    desk.sound()


def test_ctrl_c_twice_publishes_nothing(desk: Desk) -> None:
    many(desk)
    desk.embedder = WordEmbedder(interrupting(2))
    with Stop().listening() as stop, pytest.raises(KeyboardInterrupt):
        desk.run(stop=stop)
    with pytest.raises(IndexMissing):
        desk.collection.open()


def test_a_stopped_rebuild_leaves_the_old_index(desk: Desk) -> None:
    desk.run()
    many(desk)
    desk.embedder = WordEmbedder(interrupting(1))
    with Stop().listening() as stop:
        report = desk.run(stop=stop, rebuild=True)
    assert (report.interrupted, report.published, report.generation, report.added) == (True, False, 1, 0)
    assert len(desk.holds()) == 2


def test_ctrl_c_while_looking_ends_at_once(desk: Desk) -> None:
    def press(now: Progress) -> None:
        signal.raise_signal(signal.SIGINT)

    with Stop().listening() as stop, pytest.raises(KeyboardInterrupt):
        desk.run(progress=press, stop=stop)
    assert not desk.collection.exists()


def test_progress_rises_to_the_end(desk: Desk) -> None:
    many(desk)
    told: list[Progress] = []
    report = desk.run(progress=told.append)
    reading = [now for now in told if now.stage == "reading"]
    assert [now.share for now in reading] == sorted(now.share for now in reading)
    last = reading[-1]
    assert (last.files, last.files_total, last.chunks, last.share) == (8, 8, report.chunks, 1.0)
    assert [now.stage for now in told][-1] == "publishing"
