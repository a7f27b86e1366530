"""The number of a media node: given once, kept for ever, never given to another name."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import SignalboxError, WriteContentionError
from signalbox.store import codec, keys
from signalbox.store.base import Compare, CompareFailedError, Put

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

MAX_NUMBER = codec.MAX_MEDIA_ID
_TRIES = 100
_MAX_PAUSE_S = 0.05


class NumbersExhaustedError(SignalboxError):
    """Every number has been given to some node."""


async def allocate(store: Store, id: str) -> int:
    """The number of the node ``id``: the one it has, or the lowest that nobody has (1 and up).

    Of nodes that ask at the same time no two get the same one. Raises StoreUnavailableError, StoreFullError,
    NumbersExhaustedError, DamagedValueError if a stored number is none, and WriteContentionError if others were quicker
    every time.
    """
    key = keys.media_id(id)
    for _ in range(_TRIES):
        # The fence is read before the numbers: whoever takes one after that changes it, and our write fails.
        own, fence = await store.get_many([key, keys.MEDIA_FENCE])
        if own is not None:
            return codec.decode_media_id(own)
        taken = (await store.list(keys.MEDIA_IDS)).entries
        number = lowest_free(codec.decode_media_id(entry) for entry in taken)
        compares = [Compare(key, 0), Compare(keys.MEDIA_FENCE, fence.revision if fence else 0)]
        try:
            await store.commit(compares, [Put(key, codec.encode_media_id(number)), Put(keys.MEDIA_FENCE, b"")])
        except CompareFailedError:
            await asyncio.sleep(random.uniform(0, _MAX_PAUSE_S))
            continue
        logger.info("media_number_allocated", number=number)
        return number
    raise WriteContentionError(f"no number for media node {id} after {_TRIES} tries")


def lowest_free(taken: Iterable[int]) -> int:
    """The lowest number from 1 that is not taken. Raises NumbersExhaustedError above MAX_NUMBER."""
    used = set(taken)
    number = next(n for n in range(1, len(used) + 2) if n not in used)
    if number > MAX_NUMBER:
        raise NumbersExhaustedError(f"all {MAX_NUMBER} numbers of media nodes are taken")
    return number
