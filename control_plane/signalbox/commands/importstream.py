"""The stream of an import as its client has it: rows go out from one thread while results come in at another.

A stream that fails for a reason that may pass is followed by another one, which begins with the rows that have no
result yet: they may have been written, and then they are unchanged.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalbox.api.provisioning.v1 import bulk_pb2, bulk_pb2_grpc
from signalbox.commands.failure import UnreachableError
from signalbox.commands.retrying import streamed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import grpc

    from signalbox.commands.connection import Connection
    from signalbox.commands.importfile import Row

REQUEST_ROWS = 500
WINDOW_ROWS = 5_000
"""Rows that are under way at once."""
SILENCE_S = 120.0
"""Longest time without a response: rows at the slowest pace take about as long."""


@dataclass(frozen=True)
class Sent:
    """A row of the file, and what is sent of it.

    One that could not be understood is sent as an empty one, so that there is one order for all; ``reason`` says why.
    """

    row: Row
    message: bulk_pb2.NumberRow
    reason: str = ""


class Rows:
    """The rows of an import, those under way and those to come. Used by two threads."""

    def __init__(self, rows: Iterator[Sent]) -> None:
        self._rows = rows
        self._waiting: deque[Sent] = deque()
        """Under way, in order."""
        self._all = False
        """None is to come."""
        self._room = threading.Condition()
        self._stream = 0

    def stream(self) -> Iterator[Sent]:
        """For a new stream, which the ones before make way for: all rows that have no result."""
        with self._room:
            self._stream += 1
            again = list(self._waiting)
            self._room.notify_all()
            return self._of(self._stream, again)

    def _of(self, number: int, again: Sequence[Sent]) -> Iterator[Sent]:
        yield from again
        while True:
            with self._room:
                self._room.wait_for(lambda: len(self._waiting) < WINDOW_ROWS or self._stream != number)
                if self._stream != number:
                    return
                sent = next(self._rows, None)
                if sent is None:
                    self._all = True
                    return
                self._waiting.append(sent)
            yield sent

    def answered(self) -> Sent:
        """Take the first one out: it has its result."""
        with self._room:
            self._room.notify_all()
            return self._waiting.popleft()

    @property
    def done(self) -> bool:
        """True if every row has its result."""
        return self._all and not self._waiting

    def close(self) -> None:
        """No stream goes on."""
        with self._room:
            self._stream += 1
            self._room.notify_all()


def results(
    connection: Connection, options: bulk_pb2.ImportOptions, rows: Rows, retry_s: float
) -> Iterator[tuple[Sent, bulk_pb2.ImportResult] | bulk_pb2.ImportPause.ValueType]:
    """Every row with its result, in order; and what the service waits for, when it does.

    Raises RpcError and UnreachableError once streams have failed for ``retry_s`` without any result.
    """

    def stream(channel: grpc.Channel) -> Iterator[Any]:
        return _stream(bulk_pb2_grpc.BulkServiceStub(channel), options, rows)

    try:
        yield from streamed(connection, stream, retry_s)
    finally:
        rows.close()


def _stream(stub: Any, options: bulk_pb2.ImportOptions, rows: Rows) -> Iterator[Any]:
    call = stub.ImportNumbers(_requests(options, rows.stream()))
    heard, ended = [time.monotonic()], threading.Event()
    threading.Thread(target=_end_silence, args=(call, heard, ended), name="import-silence", daemon=True).start()
    try:
        for response in call:
            heard[0] = time.monotonic()
            if response.pause:
                yield response.pause
            for result in response.results:
                yield rows.answered(), result
    finally:
        ended.set()
        call.cancel()
    if not rows.done:
        raise UnreachableError("the service ended the import before all rows had a result")


def _end_silence(call: Any, heard: Sequence[float], ended: threading.Event) -> None:
    """End a call of which nothing was heard for long: its peer may have gone without a word."""
    while not ended.wait(1.0):
        if time.monotonic() - heard[0] > SILENCE_S:
            call.cancel()
            return


def _requests(options: bulk_pb2.ImportOptions, rows: Iterator[Sent]) -> Iterator[bulk_pb2.ImportNumbersRequest]:
    yield bulk_pb2.ImportNumbersRequest(options=options)
    while some := list(itertools.islice(rows, REQUEST_ROWS)):
        yield bulk_pb2.ImportNumbersRequest(rows=[sent.message for sent in some])
