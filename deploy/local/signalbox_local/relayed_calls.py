"""Calls at an rtpengine without SIP: made, recorded and ended by its ng protocol, as a proxy does it."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox_local.rtp_load import CALLER, LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.ng import NgClient

    from signalbox_local.rtp_load import Address, Parties

AT_ONCE = 16
PATIENCE_S = 2.0
"""Thousands of calls are made at once: an answer may take its time."""
TENANT, NUMBER, CALLER_NUMBER, LINE_ID = "bench", "4001234567", "13800001234", "desk"
_ANCHORED = {"flags": ["strict source", "asymmetric"], "ICE": "remove"}


@dataclass(frozen=True, slots=True)
class RelayedCall:
    """A call at the rtpengine."""

    id: str
    targets: tuple[Address, Address]
    """Where the caller and the line send to."""
    answered_ms: int
    """UTC, milliseconds since 1970."""

    @property
    def tags(self) -> tuple[str, str]:
        """Of the caller and the line."""
        return tags(self.id)


def tags(id: str) -> tuple[str, str]:
    """Tags of the caller and the line of a call."""
    return f"{id}-caller", f"{id}-line"


class Relay:
    """One rtpengine, in which all calls are between the same parties."""

    def __init__(self, client: NgClient, parties: Parties, node: int) -> None:
        """``node``: number of the media node, as its captures are to say."""
        self._client = client
        self._parties = parties
        self._node = node

    async def make(self, ids: Sequence[str], *, recorded: bool) -> list[RelayedCall]:
        """Calls by these ids, answered, and recorded from then on. Raises NgError."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(n: int, id: str) -> RelayedCall:
            async with limit:
                call = await self._make(n, id)
                if recorded:
                    await self._ask("start recording", {"call-id": id, "metadata": self._facts(n, call)})
                return call

        return list(await asyncio.gather(*(one(n, id) for n, id in enumerate(ids))))

    async def end(self, calls: Sequence[RelayedCall]) -> None:
        """End them; what was captured is on the disk then. Raises NgError."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(call: RelayedCall) -> None:
            async with limit:
                await self._ask("delete", {"call-id": call.id, "delete-delay": 0})

        await asyncio.gather(*map(one, calls))

    async def _make(self, n: int, id: str) -> RelayedCall:
        caller, line = tags(id)
        asked = {"call-id": id, "from-tag": caller, **_ANCHORED}
        offer = await self._ask("offer", {**asked, "sdp": _sdp(self._parties.address(n, CALLER))})
        answer = await self._ask("answer", {**asked, "to-tag": line, "sdp": _sdp(self._parties.address(n, LINE))})
        return RelayedCall(id, (_media(str(answer["sdp"])), _media(str(offer["sdp"]))), time.time_ns() // 1_000_000)

    def _facts(self, n: int, call: RelayedCall) -> str:
        """What the proxy gives along (``kamailio/README.md``)."""
        media = [f"{host}:{port}" for host, port in (self._parties.address(n, side) for side in (CALLER, LINE))]
        caller = base64.urlsafe_b64encode(CALLER_NUMBER.encode()).decode().rstrip("=")
        answered = f"{call.answered_ms // 1000}.{call.answered_ms % 1000:03d}"
        return ",".join(("sb1", answered, LINE_ID, str(self._node), TENANT, NUMBER, *call.tags, *media, caller))

    async def _ask(self, command: str, arguments: dict[str, object]) -> dict[str, object]:
        return dict(await self._client.request(command, arguments, timeout_s=PATIENCE_S))  # type: ignore[arg-type]


def _sdp(address: Address) -> str:
    """An offer or answer (RFC 3264) of one A-law stream."""
    host, port = address
    about = ("v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0")
    return "\r\n".join((*about, f"m=audio {port} RTP/AVP 8", "a=ptime:20", ""))


def _media(sdp: str) -> Address:
    address = re.search(r"^c=IN IP4 (\S+)", sdp, re.MULTILINE)
    port = re.search(r"^m=audio (\d+) ", sdp, re.MULTILINE)
    assert address is not None
    assert port is not None
    return address[1], int(port[1])
