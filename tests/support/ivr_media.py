"""rtpengines for the media of voice workers: with an ear for keys, and as nodes that a worker knows."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from signalbox.api.routing.v1.routing_pb2 import MediaNode
from signalbox.g711 import A_LAW, Law
from signalbox.ivr.media import anchoring
from signalbox.ivr.media.errors import NoMediaNodeError
from signalbox.ivr.media.keys import Key
from signalbox.ivr.media.nodes import MediaNodes
from signalbox.ivr.media.session import MediaSession
from signalbox_local.rtp_party import RtpParty, tone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.rtpengine import Rtpengine

CALLER_TONE = 300
LINE_TONE = 700
PROMPT_TONE = 1000


def media_node(control: str, number: int = 1, **differences: object) -> MediaNode:
    """A node as routing tells of it: well, and with room for 100 calls."""
    told = {"id": f"media-{number}", "number": number, "capacity": 100, "healthy": True, **differences}
    return MediaNode(control_address=f"udp:{control}", **told)


class KeyEar(asyncio.DatagramProtocol):
    """Passes keys that rtpengine hears (``--dtmf-log-dest``) to their sessions, as sidecar and worker do."""

    def __init__(self) -> None:
        self.sessions: dict[str, MediaSession] = {}
        self.nodes: MediaNodes | None = None
        """Whose sessions hear keys as well."""

    def datagram_received(self, data: bytes, addr: object) -> None:
        told = json.loads(data)
        session = self.sessions.get(told["callid"]) or self._found(told["callid"])
        if session is not None:
            session.key(told["source_tag"], Key("0123456789*#ABCD"[told["event"]], told["duration"]))

    def _found(self, call_id: str) -> MediaSession | None:
        found = self.nodes.session(call_id) if self.nodes is not None else None
        return found if isinstance(found, MediaSession) else None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator[KeyEar]:
        """Listen on loopback."""
        loop = asyncio.get_running_loop()
        transport, ear = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", port))
        try:
            yield ear
        finally:
            transport.close()


@contextlib.asynccontextmanager
async def worker(*infos: MediaNode, interval_s: float = 0.1, silent_s: float = 60.0) -> AsyncIterator[MediaNodes]:
    """The nodes of a worker, pinged until the end; one that stalls with the whole machine keeps its calls."""
    nodes = MediaNodes(interval_s=interval_s, silent_s=silent_s)
    await nodes.update(infos)
    pinging = asyncio.create_task(nodes.run())
    try:
        yield nodes
    finally:
        pinging.cancel()
        await asyncio.wait([pinging])
        await nodes.close()


async def anchored(
    nodes: MediaNodes, call_id: str, offer: str, *, records: bool = False, timeout_s: float = 20.0
) -> tuple[MediaSession, str]:
    """As ``anchoring.anchor``; again and again for a while if no node answers: the machine may stall."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            return await anchoring.anchor(nodes, call_id, offer, records=records)
        except NoMediaNodeError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)


class Desk:
    """One worker with one rtpengine, its files and its ear for keys."""

    def __init__(self, server: Rtpengine, nodes: MediaNodes, ear: KeyEar, directory: Path) -> None:
        self.server = server
        self.nodes = nodes
        self._ear = ear
        self._directory = directory
        self._calls = 0

    def file(self, codes: bytes, law: Law = A_LAW) -> str:
        """A file of these codes on the node's disk."""
        path = self._directory / f"{abs(hash(codes))}.{law.ending}"
        path.write_bytes(law.wav(law.decode(codes)))
        return str(path)

    def prompt(self, seconds: float = 1.0) -> str:
        """A file of PROMPT_TONE."""
        return self.file(tone(PROMPT_TONE, seconds))

    def next_id(self) -> str:
        """Of the next call."""
        self._calls += 1
        return f"w1.{self._calls}"

    async def anchor(self, caller: RtpParty, *formats: str, events: bool = True) -> MediaSession:
        """A session for a caller, who talks from now on."""
        offer = caller.description(*formats, events=events)
        session, answer = await anchored(self.nodes, self.next_id(), offer)
        self.listen(session)
        caller.talk_to(sent_to(answer), tone(CALLER_TONE, law=caller.law))
        return session

    async def line(self, session: MediaSession, line: RtpParty, hertz: float = LINE_TONE) -> None:
        """Call a line, which answers and talks; the parties are apart."""
        offer = await session.offer_line()
        await session.answer_line(line.description())
        line.talk_to(sent_to(offer), tone(hertz, law=line.law))

    def listen(self, session: MediaSession) -> None:
        """Pass the keys of a session to it."""
        self._ear.sessions[session.call_id] = session

    def listen_to_all(self) -> None:
        """Pass the keys of all sessions to them, of those too that are yet to come."""
        self._ear.nodes = self.nodes


def sent_to(description: str) -> tuple[str, int]:
    """Where RTP goes, of a session description."""
    lines = description.splitlines()
    host = next(one.split()[-1] for one in lines if one.startswith("c="))
    return host, int(next(one.split()[1] for one in lines if one.startswith("m=audio")))
