"""What is in force in a replica, as tests write and find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.domain.numbering import Caller, CallerKind
from signalbox.routing import convert_flows
from signalbox.store import codec
from signalbox.store.page import LAST

from support import routing

if TYPE_CHECKING:
    from signalbox.domain.flow import Flow
    from signalbox.routing.directory import LiveDirectory

PAGE = "rules/numbers/01/" + LAST


async def carry(live: LiveDirectory) -> None:
    """Write what changed into the map, and take it up."""
    assert live.writer is not None
    await live.writer.write(live.batch(), live.revision)
    assert live.renew()


def flow(id: str, number: int = 1, tenant: str = "acme") -> tuple[Flow, bytes]:
    """A flow, and how it is stored."""
    message = routing.flow(id, routing.dial_node("entry", "a"), number=number)
    message.tenant = tenant
    return convert_flows.flow(message), codec.encode(message)


def finds(live: LiveDirectory, number: str, list: str = "spam") -> str | None:
    """What a list says of a caller; None: there is no such list."""
    found = live.screening_list("acme", list)
    return None if found is None else found.find(Caller(CallerKind.MOBILE, number), None)
