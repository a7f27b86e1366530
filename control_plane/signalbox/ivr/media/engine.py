"""The commands of one call at its rtpengine, and what may go wrong with them.

They are those of docs/ng_control_protocol.md of rtpengine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.ivr.media.errors import MediaLostError, MediaRefusedError
from signalbox.ng import NgError, NgProtocolError, NgRefusedError

if TYPE_CHECKING:
    from signalbox.bencode import Encodable
    from signalbox.ivr.media.node import Node
    from signalbox.ng import Reply

CALLER = "caller"
LINE = "line"

ATTEMPTS = 16
"""Together nearly as long as a node may be silent without losing its calls; one that is gone is known at once."""
FIRST_ATTEMPTS = 3
"""Of the command that begins a call: another node can be asked."""
TIMEOUT_S = 0.3
"""For each attempt; rtpengine does nothing twice."""

DESCRIBED: dict[str, Encodable] = {
    # As the proxies have it: from the address in the description and from nowhere else.
    "flags": ["strict source", "asymmetric", "port latching"],
    "replace": ["origin", "session connection"],
    "ICE": "remove",
}
"""Of every offer and answer. ``port latching``: whoever the other side is, a party keeps the port that it has."""


class Engine:
    """Commands of the call ``call_id`` at ``node``. All raise MediaLostError and MediaRefusedError."""

    def __init__(self, node: Node, call_id: str) -> None:
        self.node = node
        self.call_id = call_id
        self.over: MediaLostError | None = None
        """Once it is set, commands raise it, those too that are under way: what comes of them does not count."""

    async def offer(self, sdp: str, *, sender: str, to: str, transcode: list[str], attempts: int = ATTEMPTS) -> str:
        """What the other side is to be offered. ``transcode``: codecs that are added."""
        arguments: dict[str, Encodable] = {"from-tag": sender, "to-tag": to, "sdp": sdp, **DESCRIBED}
        if transcode:
            arguments["codec"] = {"transcode": transcode}
        return _sdp(await self.ask("offer", arguments, attempts=attempts))

    async def answer(self, sdp: str, *, sender: str, to: str, attempts: int = ATTEMPTS) -> str:
        """What the side that offered, ``sender``, is to be answered, when ``to`` has answered ``sdp``."""
        arguments = {"from-tag": sender, "to-tag": to, "sdp": sdp, **DESCRIBED}
        return _sdp(await self.ask("answer", arguments, attempts=attempts))

    async def play(self, tag: str, path: str, repeat: int) -> float:
        """Seconds that the file takes once."""
        reply = await self.ask("play media", {"from-tag": tag, "file": path, "repeat-times": repeat})
        duration = reply.get("duration")
        if not isinstance(duration, int) or duration <= 0:
            raise MediaRefusedError(f"media node {self.node.id} does not tell how long {path} is")
        return duration / 1000

    async def ask(
        self, command: str, arguments: dict[str, Encodable] | None = None, *, attempts: int = ATTEMPTS
    ) -> Reply:
        """Any command."""
        if self.over is not None:
            raise self.over
        try:
            reply = await self.node.request(
                command, {"call-id": self.call_id, **(arguments or {})}, attempts=attempts, timeout_s=TIMEOUT_S
            )
        except (NgRefusedError, NgProtocolError) as error:
            if command != "offer" and not await self._is_known():
                raise MediaLostError(f"media node {self.node.id} has lost the call: {error}") from error
            raise MediaRefusedError(f"media node {self.node.id}: {error}") from error
        except NgError as error:
            raise MediaLostError(f"media node {self.node.id}: {error}") from error
        if self.over is not None:
            raise self.over
        return reply

    async def _is_known(self) -> bool:
        """Why it refused is told in words for people: ask whether it has the call."""
        try:
            return await self.node.has(self.call_id)
        except NgError:
            return False


def _sdp(reply: Reply) -> str:
    sdp = reply.get("sdp")
    if not isinstance(sdp, str):
        raise MediaRefusedError("the media node has written no session description")
    return sdp
