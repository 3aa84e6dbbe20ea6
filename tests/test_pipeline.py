"""Files to index: what a second and a third run costs and leaves behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rag.errors import IndexMismatch, InputNotFound, UsageError
from rag.ingest.books import coverage
from rag.ingest.pipeline import ingest, remove
from rag.settings import ChunkSettings
from rag.store.generation import Collection
from rag.types import Chunk
from tests.desks import SETTINGS, Desk, WordEmbedder, counts, furnished


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return furnished(tmp_path)


def test_files_become_searchable(desk: Desk) -> None:
    report = desk.run()
    assert counts(report) == (2, 0, 0, 0, 0)
    assert (report.published, report.generation, report.chunks, report.embedded) == (True, 1, 2, 2)
    with desk.collection.open() as live:
        ids, _ = live.vectors.search(desk.embedder.embed_query("cats purr"), 1)
        (chunk,) = live.chunks(ids).values()
        assert chunk.text == "Cats purr when they are content."
        assert chunk.path == str((desk.docs / "cats.txt").resolve())
        assert {row.coverage for row in live.ledger()} == {1.0}
    desk.sound()


def test_a_second_run_publishes_and_embeds_nothing(desk: Desk) -> None:
    desk.run()
    report = desk.run()
    assert counts(report) == (0, 0, 2, 0, 0)
    assert (report.published, report.generation, report.chunks, desk.embedder.seen) == (False, 1, 0, [])
    assert desk.collection.generations() == [1]


def test_files_of_the_same_size_and_time_are_not_read(desk: Desk) -> None:
    desk.run()
    before = (desk.docs / "cats.txt").stat()
    desk.write("cats.txt", "Cats yawn when they are content.\n")
    os.utime(desk.docs / "cats.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(desk.run()) == (0, 0, 2, 0, 0)


def test_a_new_time_of_change_alone_costs_one_hash(desk: Desk) -> None:
    desk.run()
    os.utime(desk.docs / "cats.txt", (1, 1))
    report = desk.run()
    assert (counts(report), report.published) == ((0, 0, 2, 0, 0), False)
    desk.write("new.txt", "Something new.")
    desk.run()
    with desk.collection.open() as live:
        assert {row.mtime_ns for row in live.ledger() if row.path.endswith("cats.txt")} == {10**9}


def test_a_changed_file_is_replaced(desk: Desk) -> None:
    desk.run()
    desk.write("cats.txt", "Cats hiss at vacuum cleaners.\n")
    report = desk.run()
    assert counts(report) == (0, 1, 1, 0, 0)
    assert desk.embedder.seen == ["cats.txt\nCats hiss at vacuum cleaners."]
    assert set(desk.holds()) == {"Cats hiss at vacuum cleaners.", "Dogs bark at strangers."}
    with desk.collection.open() as live:
        assert live.lexical.search("purr", 5) == []
    desk.sound()


def test_a_change_of_the_same_size_is_seen(desk: Desk) -> None:
    desk.run()
    before = (desk.docs / "cats.txt").stat()
    desk.write("cats.txt", "Cats yawn when they are content.\n")
    os.utime(desk.docs / "cats.txt", ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert (desk.docs / "cats.txt").stat().st_size == before.st_size
    assert counts(desk.run()) == (0, 1, 1, 0, 0)


def test_vanished_files_leave_everything(desk: Desk) -> None:
    desk.run()
    shutil.rmtree(desk.docs / "deep")
    report = desk.run()
    assert (counts(report), desk.embedder.seen) == ((0, 0, 1, 1, 0), [])
    assert list(desk.holds().values()) == [("cats.txt",)]
    with desk.collection.open() as live:
        assert live.lexical.search("bark", 5) == []
        assert len(live.vectors) == 1
    desk.sound()


def test_duplicates_are_stored_once_and_outlive_their_first_path(desk: Desk) -> None:
    copy = desk.write("zz-copy.txt", "Cats purr when they are content.\n")
    report = desk.run()
    assert (counts(report), report.chunks) == ((3, 0, 0, 0, 0), 2)
    assert desk.holds()["Cats purr when they are content."] == ("cats.txt", "zz-copy.txt")
    assert desk.ledger()["zz-copy.txt"][0] == "duplicate"
    (desk.docs / "cats.txt").unlink()
    report = desk.run()
    assert (counts(report), desk.embedder.seen) == ((0, 0, 2, 1, 0), [])
    assert desk.holds()["Cats purr when they are content."] == ("zz-copy.txt",)
    assert desk.ledger() == {"zz-copy.txt": ("ok", ""), "dogs.md": ("ok", "")}
    with desk.collection.open() as live:
        assert {chunk.path for chunk in live.chunks(live.chunk_ids()).values()} >= {str(copy.resolve())}
    desk.sound()


def test_a_later_duplicate_and_a_renamed_file_are_not_read(desk: Desk) -> None:
    desk.run()
    desk.write("again.txt", "Cats purr when they are content.\n")
    (desk.docs / "deep/dogs.md").rename(desk.docs / "hounds.md")
    report = desk.run()
    assert (counts(report), report.chunks, desk.embedder.seen) == ((2, 0, 1, 1, 0), 0, [])
    assert sorted(desk.holds().values()) == [("again.txt", "cats.txt"), ("hounds.md",)]
    desk.sound()


def test_two_files_that_swap_contents(desk: Desk) -> None:
    one, two = desk.write("a.txt", "The first text."), desk.write("b.txt", "The second text, longer.")
    desk.run()
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    assert counts(desk.run()) == (0, 2, 2, 0, 0)
    holds = desk.holds()
    assert (holds["The first text."], holds["The second text, longer."]) == (("b.txt",), ("a.txt",))
    desk.sound()


def test_failures_are_named_and_tried_again_only_when_they_change(desk: Desk) -> None:
    broken = desk.write("broken.pdf", b"%PDF-1.7\nnothing of a PDF follows\n")
    report = desk.run()
    assert counts(report) == (2, 0, 0, 0, 1)
    reason = report.failures[str(broken.resolve())]
    assert desk.ledger()["broken.pdf"] == ("failed", reason)
    again = desk.run()
    assert (again.published, again.failures) == (False, report.failures)
    retried = desk.run(retry_failed=True)
    assert (retried.published, retried.failures) == (False, report.failures)
    broken.write_bytes(b"%PDF-1.7\nstill nothing, but other bytes\n")
    assert desk.run().published
    broken.unlink()
    assert counts(desk.run()) == (0, 0, 2, 1, 0)
    assert set(desk.ledger()) == {"cats.txt", "dogs.md"}


def test_a_file_that_becomes_unreadable_loses_its_old_text(desk: Desk) -> None:
    desk.write("report.html", "<p>Quarterly figures rose.</p>")
    desk.run()
    desk.write("report.html", b"%PDF-1.7\nnow it is a broken PDF\n")
    report = desk.run()
    assert [Path(path).name for path in report.failures] == ["report.html"]
    assert "Quarterly figures rose." not in desk.holds()
    desk.sound()


def test_a_file_without_text_is_remarked_not_failed(desk: Desk) -> None:
    desk.write("blank.txt", "  \n\n ")
    report = desk.run()
    assert counts(report) == (3, 0, 0, 0, 0)
    assert desk.ledger()["blank.txt"][0] == "empty"
    assert [Path(path).name for path in report.remarks] == ["blank.txt"]
    assert counts(desk.run()) == (0, 0, 3, 0, 0)


def test_other_roots_are_left_alone(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "docs-two"  # its name begins like the other root's
    other.mkdir()
    (other / "birds.txt").write_text("Birds sing at dawn.")
    desk.run()
    assert counts(desk.run(other)) == (1, 0, 0, 0, 0)
    assert len(desk.holds()) == 3
    (desk.docs / "cats.txt").unlink()
    assert counts(desk.run(other)) == (0, 0, 1, 0, 0)
    assert len(desk.holds()) == 3
    assert counts(desk.run(desk.docs, other)) == (0, 0, 2, 1, 0)
    (desk.docs / "more.txt").write_text("More.")
    assert desk.run(other, rebuild=True).unchanged == 0
    assert sorted(desk.holds().values()) == [("birds.txt",), ("dogs.md",)]


def test_a_folder_that_cannot_be_looked_into_keeps_what_was_read(desk: Desk) -> None:
    from rag.ingest.changes import Found, compare

    desk.run()
    folder = str((desk.docs / "deep").resolve())
    found = Found((desk.docs.resolve(),), (), {folder: "cannot be read: Permission denied"}, 0, 0, 0)
    with desk.collection.open() as live:
        changes = compare(found, live.ledger())
    assert changes.gone == (str((desk.docs / "cats.txt").resolve()),)
    assert changes.unreadable == {folder: "cannot be read: Permission denied"}


def test_identical_passages_are_embedded_once(desk: Desk) -> None:
    same = "A clause that all contracts share, word for word, without any change. "
    desk.write("one/contract.txt", same * 6)
    desk.write("two/contract.txt", same * 6 + "Signed.")
    desk.run()
    assert len(desk.embedder.seen) == len(set(desk.embedder.seen))
    desk.write("three/contract.txt", same * 6 + "Unsigned.")
    report = desk.run()
    assert 0 < report.embedded < report.chunks


def test_other_settings_need_a_rebuild_which_reuses_vectors(desk: Desk) -> None:
    desk.write("long.txt", "\n\n".join(f"Paragraph {n} tells a story of its own." for n in range(40)))
    desk.run()
    wider = SETTINGS.model_copy(update={"chunk": ChunkSettings(tokens=60, overlap=8)})
    with pytest.raises(IndexMismatch) as refused:
        desk.run(settings=wider)
    assert "--rebuild" in refused.value.fix
    report = desk.run(settings=wider, rebuild=True)
    assert counts(report) == (3, 0, 0, 0, 0)
    assert report.embedded == len(desk.embedder.seen) < report.chunks
    assert [text for text in desk.embedder.seen if not text.startswith("long.txt")] == []
    with desk.collection.open() as live:
        assert (live.number, live.manifest.chunking) == (2, wider.chunk)
    desk.embedder.revision = "2"
    with pytest.raises(IndexMismatch):
        desk.run(settings=wider)
    report = desk.run(settings=wider, rebuild=True)
    assert report.embedded == report.chunks
    desk.sound()


def test_an_update_gives_the_chunks_of_a_clean_run(desk: Desk, tmp_path: Path) -> None:
    desk.run()
    desk.write("cats.txt", "Cats sleep.\n")
    desk.write("more.csv", "name,age\nAnn,3\nBob,4\n")
    (desk.docs / "deep/dogs.md").unlink()
    desk.run()
    clean = Collection(tmp_path / "clean")
    ingest(desk.docs, clean, WordEmbedder(), SETTINGS)

    def chunks(collection: Collection) -> set[Chunk]:
        with collection.open() as live:
            return set(live.chunks(live.chunk_ids()).values())

    assert chunks(desk.collection) == chunks(clean)


def test_a_dry_run_touches_nothing(desk: Desk) -> None:
    assert counts(desk.run(dry_run=True)) == (2, 0, 0, 0, 0)
    assert not desk.collection.folder.exists()
    desk.run()
    desk.write("cats.txt", "Changed.")
    (desk.docs / "deep/dogs.md").unlink()
    report = desk.run(dry_run=True)
    assert (counts(report), desk.embedder.seen) == ((0, 1, 0, 1, 0), [])
    assert desk.collection.generations() == [1]


def test_an_emptied_folder_does_not_empty_the_index(desk: Desk) -> None:
    desk.run()
    shutil.rmtree(desk.docs)
    with pytest.raises(InputNotFound):
        desk.run()
    desk.docs.mkdir()
    with pytest.raises(UsageError) as refused:
        desk.run()
    assert "--remove" in refused.value.fix
    assert len(desk.holds()) == 2


def test_remove_takes_a_folder_out(desk: Desk) -> None:
    desk.run()
    with pytest.raises(InputNotFound):
        remove(desk.docs / "nothing", desk.collection)
    count, live = remove(desk.docs / "deep", desk.collection)
    live.close()
    assert (count, list(desk.holds().values())) == (1, [("cats.txt",)])
    desk.sound()


def test_what_is_read_back_is_what_was_embedded(desk: Desk) -> None:
    desk.write("long name " * 20 + ".txt", "A file with a long name.")
    desk.write("page.html", f"<title>{'endless ' * 80}</title><h1>{'deep ' * 80}</h1><p>Below it all.</p>")
    desk.run()
    with desk.collection.open() as live:
        read = [chunk.searchable for chunk in live.chunks(live.chunk_ids()).values()]
    assert sorted(read) == sorted(desk.embedder.seen)
    desk.sound()


def test_coverage_counts_characters_that_reached_a_chunk() -> None:
    def chunk(start: int, end: int) -> Chunk:
        return Chunk("", "", "", start, end, "", "")

    assert coverage("abcd efgh", [chunk(0, 4), chunk(2, 4)]) == 0.5
    assert coverage("abcd efgh", [chunk(5, 9), chunk(0, 6)]) == 1.0
    assert coverage(" \n", []) == 1.0
