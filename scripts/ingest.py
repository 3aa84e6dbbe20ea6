"""Read folders into an index: python scripts/ingest.py docs/"""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rag import console
from rag.console import clean_line, print_json
from rag.errors import RagError, StoreError, UsageError

if TYPE_CHECKING:
    from rag.ingest.pipeline import IngestReport
    from rag.settings import Settings
    from rag.store.generation import Collection

WATCH_EVERY_S = 3.0
SHOWN = 20
"""Lines of failures, or of remarks, in a summary."""


def main(arguments: Sequence[str]) -> int:
    chosen = _parse(arguments)
    from rag.places import index_root
    from rag.store.generation import Collection

    settings = _settings(chosen)
    collection = Collection(index_root(), chosen.collection)
    if chosen.status:
        return _status(collection, chosen.json)
    if chosen.verify:
        return _verify(collection, chosen.json)
    if chosen.rollback:
        return _rollback(collection, chosen.json)
    if chosen.remove:
        return _remove(collection, chosen.remove, chosen.json)
    if chosen.watch:
        return _watch(chosen, collection, settings)
    return _ingest(chosen, collection, settings)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = console.Arguments(
        prog="ingest.py", description="Bring an index in line with the files in one or more folders."
    )
    parser.add_argument("roots", nargs="*", type=Path, metavar="FOLDER", help="folder or file to read")
    parser.add_argument(
        "--collection", default="default", metavar="NAME", help="which index (default: default)"
    )
    parser.add_argument("--rebuild", action="store_true", help="read everything again, beside the old index")
    parser.add_argument("--retry-failed", action="store_true", help="try files again that failed before")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--watch", action="store_true", help="go on, and follow changes until Ctrl-C")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="as in .gitignore; may be repeated"
    )
    parser.add_argument("--ocr", choices=["auto", "off"], help="read scanned pages with Tesseract")
    parser.add_argument("--embedder", metavar="NAME", help="'bundled' or a sentence-transformers model")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    instead = parser.add_argument_group("instead of reading").add_mutually_exclusive_group()
    instead.add_argument("--status", action="store_true", help="what the index holds and what failed")
    instead.add_argument("--verify", action="store_true", help="compare the whole index with itself")
    instead.add_argument("--rollback", action="store_true", help="return to the index before the last change")
    instead.add_argument("--remove", type=Path, metavar="PATH", help="take a file or folder out of the index")
    chosen = parser.parse_args(arguments)
    other = chosen.status or chosen.verify or chosen.rollback or chosen.remove
    if bool(other) == bool(chosen.roots):
        wrong = "a folder makes no sense there" if other else "which folder?"
        raise UsageError(wrong, "As in: python scripts/ingest.py docs/")
    if chosen.watch and (chosen.dry_run or chosen.json):
        raise UsageError("--watch goes with neither --dry-run nor --json", "Leave one of them out.")
    return chosen


def _settings(chosen: Namespace) -> Settings:
    from rag.settings import load_settings

    flags = {"ingest.ocr": chosen.ocr, "embedding.model": chosen.embedder}
    settings = load_settings(flags)
    if not chosen.exclude:
        return settings
    return load_settings({**flags, "ingest.exclude": (*settings.ingest.exclude, *chosen.exclude)})


def _ingest(chosen: Namespace, collection: Collection, settings: Settings) -> int:
    report = _run(chosen, collection, settings)
    if chosen.json:
        print_json(_record(report))
    else:
        _summarize(report, chosen.dry_run)
    if report.interrupted:
        return console.INTERRUPTED
    return console.FILES_FAILED if report.failures else console.OK


def _run(chosen: Namespace, collection: Collection, settings: Settings) -> IngestReport:
    from rag.embedding import load_embedder
    from rag.ingest.pipeline import ingest
    from rag.ingest.progress import shown
    from rag.ingest.stop import Stop

    options = {name: getattr(chosen, name) for name in ("rebuild", "dry_run", "retry_failed")}
    with (
        Stop(_stopping).listening() as stop,
        shown(sys.stderr, console.is_terminal(sys.stderr)) as tell,
    ):
        same = settings.embedding if chosen.rebuild else collection.embedding(settings.embedding)
        embedder = load_embedder(same)
        return ingest(chosen.roots, collection, embedder, settings, tell, **options, stop=stop)


def _stopping() -> None:
    # straight to the descriptor: Ctrl-C may come while a print is under way
    os.write(2, b"\nStopping: what is complete is kept. Ctrl-C again stops at once.\n")


def _watch(chosen: Namespace, collection: Collection, settings: Settings) -> int:
    status = _ingest(chosen, collection, settings)
    chosen.rebuild = chosen.retry_failed = False
    print(f"Watching {', '.join(clean_line(str(root)) for root in chosen.roots)}; Ctrl-C ends it.")
    complaint = ""
    while status != console.INTERRUPTED:
        time.sleep(WATCH_EVERY_S)
        try:
            report = _run(chosen, collection, settings)
        except RagError as error:  # a folder that is emptied, or an index in use: the next look may differ
            if error.message != complaint:
                console.print_error(error, False)
            complaint = error.message
            continue
        complaint = ""
        if report.published or report.interrupted:
            print(time.strftime("%H:%M:%S"), end=" ")
            _summarize(report, dry_run=False)
        status = console.INTERRUPTED if report.interrupted else console.OK
    return status


def _record(report: IngestReport) -> dict[str, Any]:
    return {
        "collection": report.collection,
        "generation": report.generation,
        "files": {
            "added": report.added,
            "changed": report.changed,
            "unchanged": report.unchanged,
            "removed": report.removed,
            "failed": len(report.failures),
        },
        "chunks": report.chunks,
        "seconds": round(report.seconds, 3),
        "failures": _pairs(report.failures),
    }


def _summarize(report: IngestReport, dry_run: bool) -> None:
    counts = f"{report.added} added, {report.changed} changed, {report.unchanged} unchanged, "
    counts += f"{report.removed} removed, {len(report.failures)} failed"
    skipped = [f"{getattr(report, kind)} {kind}" for kind in ("hidden", "excluded", "binary")]
    skipped = [each for each in skipped if not each.startswith("0 ")]
    passed_over = f" (passed over: {', '.join(skipped)})" if skipped else ""
    print(f"{'Would be' if dry_run else 'Files'}: {counts}{passed_over}")
    if report.interrupted:
        print("Stopped early; run the same command again for the rest.")
    if report.published:
        pace = f", {report.chunks / report.seconds:.0f} a second" if report.chunks else ""
        print(
            f"{report.chunks} passages in {report.seconds:.1f} s{pace}; {report.embedded} were embedded. "
            f"Index '{report.collection}', generation {report.generation}."
        )
    elif report.generation is None and not dry_run:
        print(f"No file was complete; there is no index '{report.collection}' yet.")
    elif not dry_run:
        print(f"Index '{report.collection}' is as it was.")
    _list("Not read:", report.failures, report.collection)
    _list("Remarks:", report.remarks, report.collection)


def _list(title: str, reasons: Mapping[str, str], collection: str) -> None:
    """Paths with their reasons, the same reasons together, in at most SHOWN lines."""
    if not reasons:
        return
    print(title)
    often = Counter(reasons.values())
    ordered = sorted(reasons, key=lambda path: (-often[reasons[path]], reasons[path], path))
    for path in ordered[:SHOWN]:
        print(f"  {clean_line(path)}: {clean_line(reasons[path])}")
    if len(ordered) > SHOWN:
        named = "" if collection == "default" else f" --collection {collection}"
        print(f"  ... and {len(ordered) - SHOWN} more: python scripts/ingest.py --status{named}")


def _pairs(reasons: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"path": path, "reason": reason} for path, reason in sorted(reasons.items())]


def _status(collection: Collection, as_json: bool) -> int:
    status = collection.status()
    with collection.open() as live:
        ledger = live.ledger()
    failures = {row.path: row.reason for row in ledger if row.status == "failed"}
    if as_json:
        record = {
            "collection": status.collection,
            "generation": status.generation,
            "created": status.created,
            "documents": status.documents,
            "chunks": status.chunks,
            "size_bytes": status.size_bytes,
            "embedder": status.embedder.name,
            "files": dict(status.files),
            "failures": _pairs(failures),
        }
        print_json(record)
        return console.OK
    print(f"Index '{status.collection}', generation {status.generation} of {status.created}")
    print(f"{status.documents} documents, {status.chunks} passages, {status.size_bytes / 2**20:.1f} MiB")
    print(f"Embedder: {status.embedder}")
    print("Files: " + ", ".join(f"{count} {kind}" for kind, count in sorted(status.files.items())))
    for path, reason in failures.items():
        print(f"  failed: {clean_line(path)}: {clean_line(reason)}")
    for row in ledger:
        if row.status != "failed" and row.reason:
            print(f"  {row.status}: {clean_line(row.path)}: {clean_line(row.reason)}")
    return console.OK


def _verify(collection: Collection, as_json: bool) -> int:
    report = collection.verify()
    if as_json:
        record = {"collection": collection.name, "generation": report.generation, "ok": report.ok}
        print_json({**record, "problems": list(report.problems)})
    elif report.ok:
        print(
            f"Index '{collection.name}', generation {report.generation}: {report.files} files, "
            f"{report.documents} documents and {report.chunks} passages agree."
        )
    else:
        for problem in report.problems:
            print(clean_line(problem))
        print("Return to the index before with --rollback, or read everything again with --rebuild.")
    return console.OK if report.ok else StoreError.exit_code


def _rollback(collection: Collection, as_json: bool) -> int:
    with collection.rollback() as live:
        if as_json:
            print_json({"collection": collection.name, "generation": live.number})
        else:
            print(f"Index '{collection.name}' is back at generation {live.number}.")
    return console.OK


def _remove(collection: Collection, path: Path, as_json: bool) -> int:
    from rag.ingest.pipeline import remove

    count, live = remove(path, collection)
    with live:
        if as_json:
            print_json({"collection": collection.name, "generation": live.number, "removed": count})
        else:
            print(f"Removed {count} files from index '{collection.name}', now generation {live.number}.")
            print("Reading their folder again brings them back, unless --exclude keeps them out.")
    return console.OK


if __name__ == "__main__":
    sys.exit(console.run(main))
