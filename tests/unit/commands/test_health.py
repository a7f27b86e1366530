"""``signalbox health``: what the side door of a process says, as an exit code."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.commands import Shell

LIVES, NOT_READY = {"heartbeat_age_s": 0.2}, {"ready": False, "rules": 0}


class _Door(BaseHTTPRequestHandler):
    """One that lives and is not ready."""

    def do_GET(self) -> None:
        status, told = (200, LIVES) if self.path == "/healthz" else (503, NOT_READY)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def door() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_one_that_lives(bare: Shell, door: str) -> None:
    assert json.loads(bare(f"health {door}").stdout) == LIVES


def test_one_that_cannot_do_its_work_yet(bare: Shell, door: str) -> None:
    assert json.loads(bare(f"health --ready {door}", code=1).stdout) == NOT_READY


def test_nobody_there(bare: Shell) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    assert nobody in bare(f"health {nobody}", code=1).stderr


def test_no_address(bare: Shell) -> None:
    assert "'nowhere'" in bare("health nowhere", code=2).stderr
