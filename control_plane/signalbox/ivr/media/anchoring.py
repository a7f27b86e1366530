"""How a call comes to its media node: the first that takes it, of those that are well and have room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from signalbox.ivr.media import parties
from signalbox.ivr.media.engine import CALLER, FIRST_ATTEMPTS, LINE, Engine
from signalbox.ivr.media.errors import MediaLostError, MediaRefusedError, NoMediaNodeError
from signalbox.ivr.media.session import MediaSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from signalbox.ivr.media.node import Node
    from signalbox.ivr.media.nodes import MediaNodes

logger = structlog.get_logger(__name__)


async def anchor(
    nodes: MediaNodes,
    call_id: str,
    offer: bytes | str,
    *,
    records: bool = False,
    doubtful: bool = False,
    failed: dict[str, str] | None = None,
) -> tuple[MediaSession, str]:
    """A session for the caller that made this offer, and the answer for it.

    ``call_id``: ``<worker id>.<whatever is unique>``, so that keys find their worker. ``records``: the call, or a part
    of it, is to be recorded; ``doubtful``: as :meth:`Node.unusable`. ``failed``: nodes that have failed this
    call, by id, and why; they are not asked again, for they are told to forget it, and those that fail now are added.
    Takes 6 s at most. Raises UnusableDescriptionError, NoMediaNodeError.
    """
    caller = parties.read(offer)

    async def begin(node: Node) -> tuple[MediaSession, str]:
        engine = Engine(node, call_id)
        told, transcode = parties.told_of(caller), parties.transcoded(caller, None)
        await engine.offer(told, sender=CALLER, to=LINE, transcode=transcode, attempts=FIRST_ATTEMPTS)
        session = MediaSession(engine, caller=caller)
        return session, await session.anchor()

    failed = {} if failed is None else failed
    return await _first(call_id, nodes.candidates(records=records, doubtful=doubtful, failed=failed), begin, failed)


async def anchor_late(
    nodes: MediaNodes,
    call_id: str,
    *,
    records: bool = False,
    doubtful: bool = False,
    failed: dict[str, str] | None = None,
) -> tuple[MediaSession, str]:
    """As :func:`anchor` for an INVITE without a description: a session, and our offer for the 200.

    (RFC 3261 section 13.2.1)
    What the caller answers, in ACK, is for :meth:`MediaSession.caller_answer`.
    """

    async def begin(node: Node) -> tuple[MediaSession, str]:
        session = MediaSession(Engine(node, call_id), caller=None)
        return session, await session.offer()

    failed = {} if failed is None else failed
    return await _first(call_id, nodes.candidates(records=records, doubtful=doubtful, failed=failed), begin, failed)


async def _first(
    call_id: str,
    candidates: Iterable[Node],
    begin: Callable[[Node], Awaitable[tuple[MediaSession, str]]],
    failed: dict[str, str],
) -> tuple[MediaSession, str]:
    for node in candidates:
        try:
            return await begin(node)
        except (MediaRefusedError, MediaLostError) as error:
            logger.warning("media_node_passed_over", call_id=call_id, node=node.id, error=str(error))
            failed[node.id] = str(error)
            _free(node, call_id)
        except BaseException:
            _free(node, call_id)
            raise
    raise NoMediaNodeError(dict(failed))


def _free(node: Node, call_id: str) -> None:
    """What was asked for and not told may have been done."""
    node.sessions.pop(call_id, None)
    node.free_soon(call_id)
