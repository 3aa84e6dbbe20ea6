"""Documents: upload, a folder of one's own, what is in a collection, and the collections themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from rag.errors import IndexMissing, RagError
from rag.ingest.pipeline import remove
from rag.page import uploads
from rag.page.advice import told
from rag.page.desk import Desk
from rag.page.reading_in import ReadingIn
from rag.page.state import Tab, tab
from rag.render import near
from rag.settings import DEFAULT_COLLECTION
from rag.store.collections import DocumentRow, delete, documents, rename, unused

MB = 1 << 20
PREVIEW = 3000
"""Characters of a document that are shown."""
LAST = 12
"""Files of a run that are named while it goes on."""
STATUS = {"ok": "read", "failed": "failed", "duplicate": "same as another", "empty": "no text"}


def draw(desk: Desk) -> None:
    """The whole documents page."""
    mine = tab()
    st.header(f"Documents in “{mine.collection}”")
    _add(desk, mine)
    _progress(desk, mine)
    _list(desk, mine)
    _collections(desk, mine)


def _add(desk: Desk, mine: Tab) -> None:
    limit = desk.settings.ingest.max_file_mb
    files = st.file_uploader(
        "Drop files here. They are copied, on this machine only.",
        accept_multiple_files=True,
        key=f"upload-{mine.uploads}",
        max_upload_size=limit,
    )
    if files and st.button(f"Read {len(files)} file{'s' * (len(files) > 1)} in", key="read", type="primary"):
        _take(desk, mine, files)
        mine.uploads += 1  # an uploader of another key is empty
        st.rerun()
    with st.form("folder", border=False):
        path = st.text_input(
            "Or a folder on this machine, which is read where it is", placeholder="/home/me/papers"
        )
        if st.form_submit_button("Read the folder in"):
            _take_folder(desk, mine, path)


def _take(desk: Desk, mine: Tab, files: Sequence[Any]) -> None:
    kept = []
    for file in files:
        try:
            kept.append(uploads.keep(mine.collection, file.name, file, desk.settings.ingest.max_file_mb * MB))
        except RagError as error:
            mine.refused.append(told(error))
        except OSError as error:
            mine.refused.append(f"{file.name} could not be kept: {error.strerror}")
    if kept:
        desk.intakes.begin(mine.collection, kept)


def _take_folder(desk: Desk, mine: Tab, path: str) -> None:
    folder = Path(path.strip()).expanduser()
    if not path.strip() or not folder.is_absolute() or not folder.exists():
        st.text(f"There is no folder or file {path.strip() or 'without a name'}. Give its whole path.")
        return
    desk.intakes.begin(mine.collection, [folder])
    st.rerun()


@st.fragment(run_every=1)
def _progress(desk: Desk, mine: Tab) -> None:
    """How reading goes, file by file; once it is over, the page is drawn again with what is new."""
    if mine.refused:
        _refused(mine)
    run = desk.intakes.latest(mine.collection)
    if run is None:
        return
    over = run.over
    with st.container(border=True, key="progress"):
        if over:
            _outcome(run)
        else:
            _bar(run)
        remarks = run.report.remarks if run.report else {}
        done = [
            f"{Path(path).name}: {failure or remarks.get(path, 'read')}"
            for path, failure in list(run.files.items())
        ]
        st.text("\n".join(done[-LAST:]))
        if over:
            st.button("Understood", key="understood", on_click=desk.intakes.forget, args=(mine.collection,))
    watched = st.session_state.get("watched")
    if over and watched is run:
        st.session_state.watched = None
        st.rerun()
    if not over:
        st.session_state.watched = run


def _bar(run: ReadingIn) -> None:
    now, left = run.progress, run.seconds_left
    time_left = f", about {left:.0f} s left" if left is not None else ""
    counted = f": {now.files} of {now.files_total} files, {now.chunks} passages{time_left}"
    st.progress(min(1.0, now.share), now.stage.capitalize() + (counted if now.files_total else " …"))
    st.button("Stop, and keep what is complete", key="stop-reading", on_click=run.stop)


def _outcome(run: ReadingIn) -> None:
    if run.error:
        st.text(told(run.error))
    elif report := run.report:
        counts = (report.added, report.changed, report.unchanged, len(report.failures))
        counted = "{} new, {} changed, {} unchanged, {} failed".format(*counts)
        ended = "Stopped" if report.interrupted else "Done"
        st.text(f"{ended}: {counted}. Questions are answered from them now.")


def _refused(mine: Tab) -> None:
    """Uploads that were not even kept."""
    with st.container(border=True, key="error-refused"):
        st.text("\n".join(mine.refused))
        st.button("Understood", key="understood-refused", on_click=mine.refused.clear)


def _list(desk: Desk, mine: Tab) -> None:
    try:
        with desk.shelf.reading(mine.collection) as retriever:
            rows = documents(retriever.generation)
            texts = {row.path: row.document_id for row in retriever.generation.ledger()}
    except IndexMissing:
        st.text("Nothing has been read into this collection yet.")
        return
    chosen = st.dataframe(
        [_row(row) for row in rows],
        key=f"table-{mine.collection}",
        on_select="rerun",
        selection_mode="multi-row",
        hide_index=True,
        width="stretch",
        placeholder="",
        column_config={"coverage": st.column_config.ProgressColumn("coverage", min_value=0.0, max_value=1.0)},
    )
    picked = [rows[n] for n in chosen["selection"]["rows"] if n < len(rows)]
    if not picked:
        st.caption("Choose rows of the table to preview, read again or remove them.")
        return
    _manage(desk, mine, picked)
    if len(picked) == 1 and (document_id := texts.get(picked[0].path)):
        with desk.shelf.reading(mine.collection) as retriever:
            text = retriever.generation.document_text(document_id)
        st.subheader(Path(picked[0].path).name)
        st.text(text[:PREVIEW] + " …" * (len(text) > PREVIEW))


def _row(row: DocumentRow) -> dict[str, Any]:
    return {
        "file": Path(row.path).name,
        "status": STATUS[row.status],
        "why": row.reason,
        "pages": row.pages,
        "passages": row.chunks,
        "coverage": row.coverage,
        "KB": round(row.size_bytes / 1000),
        "folder": near(str(Path(row.path).parent)),
    }


def _manage(desk: Desk, mine: Tab, picked: Sequence[DocumentRow]) -> None:
    again, out, _ = st.columns([1, 1, 3])
    if again.button("Read again", key="again-in"):
        desk.intakes.begin(mine.collection, [Path(row.path) for row in picked], retry_failed=True)
        st.rerun()
    if out.button(f"Remove {len(picked)}", key="remove"):
        for row in picked:
            _, generation = remove(Path(row.path), desk.shelf.collection(mine.collection))
            generation.close()
            if Path(row.path).parent == uploads.folder_of(mine.collection):
                Path(row.path).unlink(missing_ok=True)  # our own copy; a file of the user's stays
        st.rerun()


def _collections(desk: Desk, mine: Tab) -> None:
    st.subheader("Collections")
    root = desk.shelf.root
    with st.form("create", border=False, clear_on_submit=True):
        name = st.text_input("A new collection", placeholder="letters, for example")
        if st.form_submit_button("Create") and name.strip():
            mine.collection = unused(root, name.strip()).name
            mine.open(None)
            st.rerun()
    if mine.collection == DEFAULT_COLLECTION or not desk.shelf.collection(mine.collection).exists():
        return
    with st.expander(f"Rename or delete “{mine.collection}”"):
        new = st.text_input("New name", mine.collection, key=f"rename-{mine.collection}").strip()
        if st.button("Rename it", key="rename-collection", disabled=new in ("", mine.collection)):
            _rename(desk, mine, new)
        sure = st.checkbox("Delete it with all that was read in", key="sure-collection")
        if st.button("Delete it", key="delete-collection", disabled=not sure):
            _delete(desk, mine)


def _rename(desk: Desk, mine: Tab, new: str) -> None:
    rename(desk.shelf.root, mine.collection, new)
    desk.shelf.put_away(mine.collection)
    uploads.move(mine.collection, new)
    desk.conversations.follow(mine.collection, new)
    mine.collection = new
    st.rerun()


def _delete(desk: Desk, mine: Tab) -> None:
    desk.shelf.put_away(mine.collection)
    delete(desk.shelf.root, mine.collection)
    uploads.discard(mine.collection)
    mine.collection = DEFAULT_COLLECTION
    mine.open(None)
    st.rerun()
