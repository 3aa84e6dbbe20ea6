"""The page works on a machine without a network: server and browser in a namespace that has none."""

import shutil
import subprocess
import sys

import pytest

from rag.evaluation.page_browser import chromium
from rag.places import CHECKOUT

ALONE = ["unshare", "--map-root-user", "--net", sys.executable]
FIRST_RUN = "tests/browser/test_first_run.py"


def permitted():
    """Whether a process may have a network namespace of its own here."""
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run([*ALONE, "-c", ""], capture_output=True).returncode
    )


@pytest.mark.skipif(not chromium(), reason="no Chromium on this machine")
@pytest.mark.skipif(not permitted(), reason="no network namespace can be made here")
def test_the_first_run_needs_no_network():
    command = [*ALONE, "-m", "tests.browser.offline", "-p", "no:cacheprovider", FIRST_RUN]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=280)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "Network is unreachable" in unreachable()


def unreachable():
    """What a process in there hears when it calls another machine."""
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    return subprocess.run([*ALONE, "-c", code], capture_output=True, text=True).stderr
