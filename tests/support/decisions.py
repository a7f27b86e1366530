"""Decisions sent to the second proxy of a cluster by a test instead of its sidecar, which is paused meanwhile."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from signalbox.address import split

from support.sidecar_fake import route_request
from support.site import eventually

if TYPE_CHECKING:
    from support.site import Site


PROXY = 2


def open_questions(site: Site) -> list[tuple[int, int]]:
    """Index and label of the questions that the proxy waits for."""
    slots = site.rpc(PROXY, "htable.dump", "ask")
    entries = [item for bucket in slots for item in bucket["slot"] if int(item["value"]) == 1]
    return [tuple(map(int, entry["name"].split(":"))) for entry in entries]


async def open_question(site: Site) -> tuple[int, int]:
    """The one question that the proxy waits for, as soon as it does: it says 100 before it asks."""
    await eventually(lambda: bool(open_questions(site)), "a question is open")
    (question,) = open_questions(site)
    return question


def decide(
    site: Site,
    question: tuple[int, int],
    decision: dict[str, Any] | bytes,
    *,
    token: str | None = None,
    to: tuple[str, int] | None = None,
    source: str = "127.0.0.1",
) -> None:
    """Send a ROUTE request to the proxy: by default as its sidecar would."""
    cluster = site.cluster
    route, ask = split(cluster.address(f"kamailio-{PROXY}", "route")), split(cluster.address(f"edge-{PROXY}", "ask"))
    secret = (cluster.directory / f"edge-{PROXY}" / "token").read_text().strip()
    ports = SimpleNamespace(route_port=route[1], ask_port=ask[1])
    data = route_request(*question, decision, ports, token=token or secret)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        sender.sendto(data, to or route)
