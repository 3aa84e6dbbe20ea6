"""What tests of the page's conversations put into them."""

from datetime import UTC, datetime, timedelta

START = datetime(2024, 5, 31, 12, tzinfo=UTC)


def record(text, **fields):
    return {"version": 1, "question": "?", "answer": text, "citations": [], **fields}


class Clock:
    """A minute later at every look."""

    def __init__(self):
        self.time = START

    def __call__(self):
        self.time += timedelta(minutes=1)
        return self.time


def bytes_of(path):
    """All that lies in the folder of the file, the file itself among it."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())
