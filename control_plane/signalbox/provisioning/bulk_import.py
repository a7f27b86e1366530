"""Imports: a stream of rows in, their results out, written in batches at the pace that the cluster bears."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog
from prometheus_client import Counter as Metric

from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.errors import AuditFullError, FieldViolation, InvalidFieldError, StoreFullError
from signalbox.provisioning.audit.outbox import origin
from signalbox.provisioning.bulk_rows import CREATED, REFUSED, UPDATED, Batch, Options, refusal
from signalbox.provisioning.draft import StepTooLargeError, Transactions
from signalbox.store import keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from signalbox.errors import SignalboxError
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.bulk_pace import Pace
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.draft import Draft
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

REQUEST_ROWS_MAX = 1_000
FULL_LOOK_S = 2.0
"""Time between two looks at whether a store that was too full has room again."""
AUDIT_WAIT_S = 60.0
"""How long an import waits for an audit log that has too much to write."""

ROWS = Metric("signalbox_provisioning_imported_rows_total", "Rows of imports by outcome.", ["outcome"])


class Room(Protocol):
    """Knows whether the store has room for more."""

    async def lacking(self) -> str:
        """Why nothing more should be written, for people; "" if there is room."""
        ...


class Roomy:
    """Where nobody knows how much room there is."""

    async def lacking(self) -> str:
        """See Room."""
        return ""


@dataclass
class _Import:
    """One stream."""

    options: Options
    done: int = 0


class Import:
    """The handler of ImportNumbers. Imports of one process take turns, batch by batch."""

    def __init__(self, store: Store, pace: Pace, clock: Clock, room: Room, full_wait_s: float) -> None:
        """``full_wait_s``: how long an import waits for a store that is too full."""
        self._store = store
        self._transactions = Transactions(store)
        self._pace = pace
        self._clock = clock
        self._room = room
        self._full_wait_s = full_wait_s
        self._turn = asyncio.Lock()
        self._resume_at = 0.0

    async def __call__(
        self, principal: Principal, requests: AsyncIterator[bulk_pb2.ImportNumbersRequest]
    ) -> AsyncGenerator[bulk_pb2.ImportNumbersResponse, None]:
        """Write rows and tell their results.

        Raises InvalidFieldError for a request that is none, StoreFullError, and what the store raises. Then what has no
        result may have been written.
        """
        stream: _Import | None = None
        async for request in requests:
            if stream is None:
                if not request.HasField("options"):
                    raise InvalidFieldError(FieldViolation("options", "is required in the first request"))
                stream = _Import(Options.of(principal, request.options))
            elif request.HasField("options"):
                raise InvalidFieldError(FieldViolation("options", "must be in the first request only"))
            if len(request.rows) > REQUEST_ROWS_MAX:
                raise InvalidFieldError(FieldViolation("rows", f"must have at most {REQUEST_ROWS_MAX} entries"))
            left = list(request.rows)
            while left:
                async for response in self._wait_for_room(stream):
                    yield response
                results = await self._next(left, stream.options)
                del left[: len(results)]
                stream.done += len(results)
                yield bulk_pb2.ImportNumbersResponse(rows_done=stream.done, results=results)

    async def _wait_for_room(self, stream: _Import) -> AsyncGenerator[bulk_pb2.ImportNumbersResponse, None]:
        """Tell that nothing is written while the store is too full. Raises StoreFullError if it stays so."""
        if stream.options.validate_only:
            return
        end = time.monotonic() + self._full_wait_s
        while reason := await self._room.lacking():
            if time.monotonic() >= end:
                raise StoreFullError(reason)
            logger.warning("import_waits", reason=reason)
            yield bulk_pb2.ImportNumbersResponse(rows_done=stream.done, pause=bulk_pb2.IMPORT_PAUSE_STORE_FULL)
            await asyncio.sleep(min(FULL_LOOK_S, self._full_wait_s))
            # Compaction makes room that etcd counts when next it writes.
            with contextlib.suppress(StoreFullError):
                await self._store.commit([], [Put(keys.IMPORT_FENCE, b"")])

    async def _next(self, rows: Sequence[bulk_pb2.NumberRow], options: Options) -> Sequence[bulk_pb2.ImportResult]:
        """The results of the first rows, as many as are written at once."""
        async with self._turn:
            await asyncio.sleep(self._resume_at - time.monotonic())
            began = time.monotonic()
            while True:
                some = rows[: self._pace.rows]
                try:
                    results, commit_s = await self._write(some, options)
                except StepTooLargeError as error:
                    if len(some) == 1:
                        results, commit_s = [refusal(error)], 0.0
                    else:
                        self._pace.refused(len(some))
                        continue
                except AuditFullError:
                    # The log may be written slower than rows are.
                    if time.monotonic() - began > AUDIT_WAIT_S:
                        raise
                    await asyncio.sleep(FULL_LOOK_S)
                    continue
                self._resume_at = time.monotonic() + self._pace.committed(len(some), commit_s, options.rows_per_second)
                return results

    async def _write(
        self, rows: Sequence[bulk_pb2.NumberRow], options: Options
    ) -> tuple[list[bulk_pb2.ImportResult], float]:
        """The results of rows, and how long the commit took, seconds."""
        planned_at = 0.0
        refused: Sequence[tuple[bulk_pb2.NumberRow, SignalboxError]] = ()

        async def work(draft: Draft) -> list[bulk_pb2.ImportResult]:
            nonlocal planned_at, refused
            batch = Batch(draft, options, self._clock())
            results, refused = await batch.plan(rows), batch.refused
            if draft.changes:
                counts = Counter(result.outcome for result in results)
                facts = {
                    "created": counts[CREATED],
                    "updated": counts[UPDATED],
                    "refused": counts[REFUSED],
                }
                first, last = rows[0].number.number, rows[-1].number.number
                draft.log("numbers_imported", 0, first=first, last=last, **{k: str(v) for k, v in facts.items()})
            planned_at = time.monotonic()
            return results

        keep = not options.validate_only
        results, revision = await self._transactions.run(work, keep=keep)
        for row, error in refused:
            origin().refused(error, row)
        if keep:
            for result in results:
                ROWS.labels(bulk_pb2.ImportOutcome.Name(result.outcome).removeprefix("IMPORT_OUTCOME_").lower()).inc()
        return results, time.monotonic() - planned_at if revision else 0.0
