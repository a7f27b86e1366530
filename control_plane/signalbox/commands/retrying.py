"""Streams that begin again after a failure that may pass: what imports and exports go on with."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

import click
import grpc

from signalbox.commands.failure import UnreachableError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from signalbox.commands.connection import Connection

RETRY_S = 1.0
PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})

Response = TypeVar("Response")

retries = click.option(
    "--retry-for",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to try while the service, or what it needs, is away.",
)


def streamed(
    connection: Connection, open: Callable[[grpc.Channel], Iterable[Response]], retry_s: float
) -> Iterator[Response]:
    """What a stream gives; one that fails is opened again, until one ends by itself.

    Raises RpcError and UnreachableError for what does not pass, or once streams have failed for ``retry_s`` seconds
    without giving anything.
    """
    failing_since: float | None = None
    while True:
        try:
            with connection.channel() as channel:
                for one in open(channel):
                    failing_since = None
                    yield one
            return
        except (grpc.RpcError, UnreachableError) as error:
            failing_since = failing_since or time.monotonic()
            if not _passes(error) or time.monotonic() - failing_since > retry_s - RETRY_S:
                raise
        time.sleep(RETRY_S)


def _passes(error: Exception) -> bool:
    """True for what may be otherwise in a moment."""
    if not isinstance(error, grpc.RpcError):
        return True
    with contextlib.suppress(AttributeError):
        return error.code() in PASSING or reason_of(error) == "WRITE_CONTENTION"
    return False
