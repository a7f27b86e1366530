"""``signalbox calls hangup``, against an edge's socket."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, ClassVar

import pytest

from .test_connection import cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.commands import Shell


class Edge(BaseHTTPRequestHandler):
    """Answers as ``edge/door.py`` does."""

    replies: ClassVar = {
        "/calls/known/hangup": (200, {"caller": 200, "line": 481}),
        "/calls/slow/hangup": (202, {}),
        "/calls/unknown/hangup": (404, {"error": "no such call is known"}),
        "/calls/a%2Fb/hangup": (200, {"caller": 200, "line": 200}),
        "/calls/without-redis/hangup": (503, {"error": "redis: away"}),
    }

    def do_POST(self) -> None:
        """Any of the replies."""
        code, body = self.replies[self.path]
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        """A UNIX socket has no address."""
        return "edge"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def door(elsewhere: Path) -> Iterator[Path]:
    path = elsewhere / "edge.sock"
    with socketserver.UnixStreamServer(str(path), Edge) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join(10)


def test_a_call_is_ended(bare: Shell, door: Path) -> None:
    told = bare("calls hangup known --door edge.sock").stdout
    assert told == "known is ended: the caller said 200, the line 481\n"
    assert "the caller said nothing yet" in bare("calls hangup slow --door edge.sock").stdout
    assert "a/b is ended" in bare("calls hangup a/b --door edge.sock").stdout


def test_a_call_that_is_not_known(bare: Shell, door: Path) -> None:
    assert "no call unknown is known" in bare("calls hangup unknown --door edge.sock", code=1).stderr


def test_an_edge_that_cannot_end_calls_is_told_and_another_is_asked(bare: Shell, door: Path, elsewhere: Path) -> None:
    (elsewhere / "dead.sock").touch()
    told = bare("calls hangup known --door dead.sock --door edge.sock")
    assert "dead.sock: " in told.stderr
    assert "known is ended" in told.stdout
    assert "redis: away" in bare("calls hangup without-redis --door edge.sock", code=3).stderr


def test_the_edges_of_the_cluster_are_asked(bare: Shell, door: Path, elsewhere: Path) -> None:
    (elsewhere / "var").mkdir()
    file = elsewhere / "var/cluster.json"
    file.write_text(json.dumps(cluster(processes=[{"name": "edge-1", "kind": "edge", "door": str(door)}])))
    assert "known is ended" in bare("calls hangup known").stdout
    file.write_text(json.dumps(cluster(processes=[])))
    assert "names no socket" in bare("calls hangup known", code=2).stderr
    file.unlink()
    assert "which edge?" in bare("calls hangup known", code=2).stderr
