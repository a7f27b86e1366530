"""One rtpengine as a worker sees it: its health, its load, the calls that we have there and those to be freed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from signalbox.ivr.media.errors import MediaLostError
from signalbox.ivr.media.health import Health
from signalbox.ng import NgClient, NgError, NgRefusedError, NgUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.api.routing.v1.routing_pb2 import MediaNode
    from signalbox.bencode import Encodable
    from signalbox.ivr.media.keys import Key
    from signalbox.ng import Reply

logger = structlog.get_logger(__name__)

PING_TIMEOUT_S = 0.5
SAMPLE_S = 1.0
"""Time between two questions for one of our calls there."""
AT_ONCE = 16
"""Questions about calls, or calls freed, that are under way together: rtpengine has others to serve."""
OWED_MAX = 20_000
"""Calls that are remembered to be freed; of more, the oldest are left to the node's own time-outs."""


class Session(Protocol):
    """What a node must know of a call that is there."""

    @property
    def call_id(self) -> str:
        """As the node knows it."""

    def lose(self, error: MediaLostError) -> None:
        """Its media are lost."""

    def key(self, tag: str, key: Key) -> None:
        """A key was pressed there."""


class Node:
    """Made by :class:`~signalbox.ivr.media.nodes.MediaNodes`, which pings it."""

    def __init__(self, info: MediaNode, client: NgClient, silent_s: float) -> None:
        self.sessions: dict[str, Session] = {}
        """Calls that are there, by their ids."""
        self.players = 0
        """Files that are being played there, by us."""
        self._client = client
        self._info = info
        self._health = Health(time.monotonic(), trusted=info.healthy, silent_s=silent_s)
        self._had = 0
        self._sampled = time.monotonic()
        self._owed: dict[str, None] = {}
        self._freeing: set[asyncio.Task[None]] = set()

    @property
    def id(self) -> str:
        """Name of the node."""
        return self._info.id

    @property
    def number(self) -> int:
        """Number of the node."""
        return self._info.number

    @property
    def busy(self) -> bool:
        """We have calls there, or some are being freed."""
        return bool(self.sessions or self._freeing)

    @property
    def owes(self) -> bool:
        """Calls are to be freed there when it answers again."""
        return bool(self._owed)

    def told(self, info: MediaNode) -> None:
        """What the cluster knows of it now."""
        if info.calls != self._info.calls:
            # A new report. Of our own calls those are in it that were there before.
            self._had = len(self.sessions)
        self._info = info

    @property
    def load(self) -> float:
        """Calls and players by the calls that it may carry: 1 is full. A player sends as many packets as a party."""
        calls = max(len(self.sessions), self._info.calls + len(self.sessions) - self._had)
        return (calls + self.players) / max(1, self._info.capacity)

    def unusable(self, *, records: bool, doubtful: bool = False) -> str:
        """Why no call may begin there; "" if one may. ``records``: one that is to be recorded; ``doubtful``: one for
        which an unhealthy node is better than none."""
        if self._info.draining:
            return "is draining"
        if not doubtful and not self._info.healthy:
            return "is unhealthy, its sidecar says"
        if not doubtful and not self._health.usable:
            return "does not answer"
        if records and not self._info.records:
            return "does not record"
        if self.load >= 1:
            return "is full"
        return ""

    def joined(self, session: Session) -> None:
        """A call is there from now on."""
        self.sessions[session.call_id] = session

    def left(self, session: Session) -> None:
        """A call is no longer there; nothing if it never was, or another one has its id now."""
        if self._is_there(session):
            del self.sessions[session.call_id]

    async def request(
        self, command: str, arguments: Mapping[str, Encodable], *, attempts: int, timeout_s: float
    ) -> Reply:
        """As :meth:`NgClient.request`."""
        return await self._client.request(command, arguments, attempts=attempts, timeout_s=timeout_s)

    async def has(self, call_id: str) -> bool:
        """Whether it knows a call. Raises NgError if it does not say."""
        try:
            await self._client.request("query", {"call-id": call_id})
        except NgRefusedError:
            return False
        return True

    async def ping(self) -> None:
        """Ask it how it is, and draw the conclusions. Never fails."""
        try:
            await self._client.ping(PING_TIMEOUT_S)
        except NgError as error:
            usable = self._health.usable
            self._health.missed(refused=isinstance(error, NgUnreachableError))
            if usable and not self._health.usable:
                logger.error("media_node_silent", node=self.id, calls=len(self.sessions), error=str(error))
            if self.sessions and self._health.is_dead(time.monotonic()):
                self.lose_all(f"media node {self.id} is gone: {error}")
        else:
            usable = self._health.usable
            again = self._health.answered(time.monotonic())
            if self._health.usable and not usable:
                logger.info("media_node_answers", node=self.id)
            if again or await self._has_forgotten():
                await self._look_at_all()
            await self._pay()

    async def free(self, call_id: str) -> None:
        """Let it forget a call. What cannot be told now is told when it answers again. Never fails."""
        try:
            await self._client.request("delete", {"call-id": call_id, "delete-delay": 0}, attempts=2)
        except NgRefusedError:
            # It does not know the call.
            self._owed.pop(call_id, None)
        except NgError:
            self._owed[call_id] = None
            while len(self._owed) > OWED_MAX:
                del self._owed[next(iter(self._owed))]
        else:
            self._owed.pop(call_id, None)

    def free_soon(self, call_id: str, after: asyncio.Lock | None = None) -> asyncio.Task[None]:
        """As :meth:`free`, and done even if who asks does not wait for it. ``after``: held by what must end first."""
        task = asyncio.create_task(self._free_after(call_id, after), name=f"free {call_id}")
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)
        return task

    def lose_all(self, why: str) -> None:
        """All calls there are lost."""
        sessions, self.sessions = self.sessions, {}
        if sessions:
            logger.error("media_lost", node=self.id, calls=len(sessions), why=why)
        for session in sessions.values():
            session.lose(MediaLostError(why))

    async def close(self) -> None:
        """Wait for what is being freed, then close the socket."""
        if self._freeing:
            await asyncio.wait(set(self._freeing))
        self._client.close()

    async def _free_after(self, call_id: str, lock: asyncio.Lock | None) -> None:
        async with lock or contextlib.nullcontext():
            # An offer that is overtaken would make the call anew.
            await self._client.settle()
            await self.free(call_id)

    async def _has_forgotten(self) -> bool:
        """It may have been started anew between two pings: then it does not know any of our calls."""
        now = time.monotonic()
        if not self.sessions or now - self._sampled < SAMPLE_S:
            return False
        self._sampled = now
        session = random.choice(tuple(self.sessions.values()))
        return await self._look(session) and not self._is_there(session)

    async def _look_at_all(self) -> None:
        """Calls that it does not know any more are lost. If it falls silent, this comes again with its next answer."""
        for start in range(0, len(sessions := list(self.sessions.values())), AT_ONCE):
            if not all(await asyncio.gather(*map(self._look, sessions[start : start + AT_ONCE]))):
                return

    async def _pay(self) -> None:
        """Free what is owed; if it falls silent, the rest with its next answer."""
        for start in range(0, len(owed := list(self._owed)), AT_ONCE):
            batch = owed[start : start + AT_ONCE]
            await asyncio.gather(*map(self.free, batch))
            if any(call_id in self._owed for call_id in batch):
                return

    def _is_there(self, session: Session) -> bool:
        return self.sessions.get(session.call_id) is session

    async def _look(self, session: Session) -> bool:
        """False if it does not say whether it has the call."""
        try:
            lost = not await self.has(session.call_id)
        except NgError:
            return False
        if lost and self._is_there(session):
            self.left(session)
            session.lose(MediaLostError(f"media node {self.id} has lost the call"))
        return True
