"""What a user sees while a model loads: on a terminal, in a log, and when it is quick."""

import io
import re

from rag.loader.progress import shown

LOAD = [
    {"event": "trying", "engine": "transformers", "quantization": "bnb-4bit"},
    {"event": "loading", "engine": "transformers", "name": "Qwen2.5-14B", "total_bytes": 28_000_000_000},
    {"event": "memory", "resident_bytes": 6_900_000_000, "left_bytes": 400_000_000},
    {
        "event": "tensor",
        "tensor": "model.layers.18.mlp.up_proj.weight",
        "shard_number": 2,
        "shards": 3,
        "done_bytes": 7_000_000_000,
        "total_bytes": 28_000_000_000,
    },
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(events, on_terminal=False, **options):
    stream = Terminal() if on_terminal else io.StringIO()
    with shown(stream, on_terminal, **options) as tell:
        for event in events:
            tell(event)
    return stream.getvalue()


def test_a_log_gets_a_line_when_something_begins_and_none_for_each_tensor(monkeypatch):
    text = told([*LOAD, *LOAD[-1:] * 50])
    assert text.splitlines() == [
        "Starting transformers bnb-4bit",
        "Loading Qwen2.5-14B",
    ]
    monkeypatch.setattr("rag.loader.progress.LINE_EVERY_S", 0.0)
    assert told(LOAD).splitlines()[-1] == (
        "Loading Qwen2.5-14B: 7.0 GB of 28.0 GB, shard 2/3, 6.9 GB resident, 400 MB left, "
        "model.layers.18.mlp.up_proj.weight"
    )


def test_a_terminal_gets_a_bar_with_shard_and_memory(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told(LOAD, on_terminal=True))
    assert "Loading Qwen2.5-14B" in text
    assert "7.0 GB of 28.0 GB, shard 2/3, 6.9 GB resident, 400 MB left" in text


def test_quick_loads_are_silent_but_failures_and_notes_are_told():
    failed = {"event": "rung_failed", "message": "was killed\nat shard 2/3", "fix": ""}
    note = {"event": "note", "message": "converted once"}
    for on_terminal in (False, True):
        text = told([*LOAD, failed, note, {"event": "ready"}], on_terminal, delay_s=60.0)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)
        said = [line.strip() for line in text.splitlines() if line.strip()]
        assert said == ["That way failed: was killed at shard 2/3", "Trying the next one.", "converted once"]


def test_a_download_names_the_file_its_share_and_its_pace():
    event = {
        "event": "downloading",
        "file": "model-00001-of-00003.safetensors",
        "done_bytes": 1_500_000_000,
        "total_bytes": 28_000_000_000,
        "bytes_per_s": 12_000_000.0,
    }
    retry = {"event": "retrying", "file": "x", "reason": "the hub is busy", "seconds": 2}
    assert told([event, retry]).splitlines() == [
        "Downloading model-00001-of-00003.safetensors: 1.5 GB of 28.0 GB, 12 MB/s",
        "the hub is busy; again in 2 s",
    ]


def test_a_download_s_total_is_not_taken_for_the_load_s():
    download = {"event": "downloading", "file": "a.gguf", "done_bytes": 5, "total_bytes": 99_000_000}
    load = {"event": "loading", "name": "a"}
    tensor = {"event": "tensor", "tensor": "t", "done_bytes": 1_000_000}
    assert "99 MB" not in told([download, load, tensor]).splitlines()[-1]


def test_events_after_the_end_and_hostile_names_change_nothing():
    stream = io.StringIO()
    with shown(stream, False) as tell:
        tell({"event": "loading", "name": "evil\x1b[2J\nname"})
    tell({"event": "note", "message": "too late"})
    assert stream.getvalue() == "Loading evil[2J name\n"
