"""A tab without a browser: it speaks to the server as Streamlit's own does, and times the script alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

LIMIT_S = 120.0
EARLIER = "Show earlier answers"


@contextmanager
def script(address: str, query: str) -> Iterator[Script]:
    """The page at an address, opened with this query, such as `chat=1`."""
    from websockets.sync.client import connect

    stream = f"{address.replace('http', 'ws', 1)}/_stcore/stream"
    with connect(stream, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
        yield Script(socket, query)


class Script:
    """`earlier` is the button that shows more of a long conversation; "" where all is shown."""

    def __init__(self, socket: ClientConnection, query: str) -> None:
        self._socket, self._query = socket, query
        self.earlier = ""

    def run(self, pressed: str = "") -> float:
        """Seconds from a click until all that it changes has come; `pressed` is a button."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        message = BackMsg()
        message.rerun_script.query_string = self._query
        if pressed:
            message.rerun_script.widget_states.widgets.add(id=pressed, trigger_value=True)
        received: list[ForwardMsg] = []
        began = time.perf_counter()
        self._socket.send(message.SerializeToString())
        while not received or not received[-1].HasField("script_finished"):
            received.append(ForwardMsg.FromString(self._socket.recv(timeout=LIMIT_S, decode=False)))
        seconds = time.perf_counter() - began
        buttons = [each.delta.new_element.button for each in received]
        self.earlier = next((each.id for each in buttons if each.label.startswith(EARLIER)), "")
        return seconds
