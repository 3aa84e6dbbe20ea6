"""Runs pytest with no network but the loopback device.

All tests of the page: `unshare --map-root-user --net python -m tests.browser.offline tests/browser`.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys

import pytest

IFREQ = struct.Struct("16sh14x")
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def loopback_up() -> None:
    """What `ip link set lo up` does, on machines without it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, IFREQ.pack(b"lo", IFF_UP))


if __name__ == "__main__":
    loopback_up()
    sys.exit(pytest.main(sys.argv[1:]))
