"""What all uploads have in common: places in turn, a limit of time, an end that is told, refusals that are heard."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakValueDictionary

from signalbox.errors import FieldViolation, InvalidFieldError, SignalboxError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

UPLOAD_S = 300.0
"""An upload that takes longer, its wait for a place included, is given up."""
DRAIN_S = 2.0
"""How long what still comes of an upload that is refused is read and thrown away."""
CHUNK_MAX = 1024 * 1024
"""Bytes of content in one request."""

MadeT = TypeVar("MadeT")


class Places:
    """So many uploads are taken in at once, and so many of one tenant: however slow its are, there is room for others'.

    Further ones wait.
    """

    def __init__(self, at_once: int, at_once_tenant: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._at_once_tenant = at_once_tenant
        # Those of tenants that are uploading.
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def taken(self, tenant: str) -> AsyncIterator[None]:
        """Within, an upload of the tenant has a place. Raises InvalidFieldError if all of it takes too long."""
        limit_s = UPLOAD_S
        own_room = self._rooms.setdefault(tenant, asyncio.Semaphore(self._at_once_tenant))
        try:
            async with asyncio.timeout(limit_s), own_room, self._room:
                yield
        except TimeoutError as error:
            raise InvalidFieldError(FieldViolation("content", f"was not taken in within {limit_s:.0f} s")) from error


async def heard(made: Awaitable[MadeT], requests: AsyncIterator[object]) -> MadeT:
    """What is made of an upload. A refusal goes out when no more comes, or after a time: a client that is told while it
    still sends may see that as an error of its own."""
    try:
        return await made
    except SignalboxError:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                async for _ in requests:
                    pass
        raise


def check_piece(content: bytes) -> None:
    """Raise InvalidFieldError for more content than one request may have."""
    if len(content) > CHUNK_MAX:
        raise InvalidFieldError(FieldViolation("content", f"must be at most {CHUNK_MAX} bytes in one request"))


class Described(Protocol):
    """What an upload says of its content; 0 and b"" say nothing."""

    @property
    def size_bytes(self) -> int:
        """Its length."""

    @property
    def sha256(self) -> bytes:
        """Its SHA-256."""


def described(given: Described, most: int, path: str) -> Iterator[FieldViolation]:
    """What is wrong with what an upload says of its content, of which it may have ``most`` bytes."""
    if given.size_bytes > most:
        yield FieldViolation(f"{path}.size_bytes", f"must be at most {most}")
    if len(given.sha256) not in (0, 32):
        yield FieldViolation(f"{path}.sha256", "must be 32 bytes")
    elif not given.size_bytes and not given.sha256:
        # To a server a client that goes away can look like one that has sent all.
        yield FieldViolation(f"{path}.size_bytes", f"is required without {path}.sha256: one of them tells the end")


def contradicted(given: Described, size: int, digest: bytes, path: str) -> Iterator[FieldViolation]:
    """Where the content is not as the upload said."""
    if given.size_bytes not in (0, size):
        yield FieldViolation(f"{path}.size_bytes", f"the content has {size} bytes")
    if given.sha256 not in (b"", digest):
        yield FieldViolation(f"{path}.sha256", f"the content's is {digest.hex()}")
