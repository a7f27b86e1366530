"""What recorders do with captures: claim, read, confirm, give back."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import ClaimLostError, DrainingError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.media.capture_metrics import CaptureMetrics
    from signalbox.media.captures import Capture
    from signalbox.media.capturing import Capturing
    from signalbox.media.claims import Claim

logger = structlog.get_logger(__name__)

PIECE_BYTES = 1 << 20
TAKEN_POLL_S = 0.1


class Offers:
    """Times are seconds."""

    def __init__(self, capturing: Capturing, metrics: CaptureMetrics) -> None:
        self._capturing = capturing
        self._captures = capturing.captures
        self._claims = capturing.claims
        self._metrics = metrics
        self._closed = False

    def close(self) -> None:
        """Nothing is given out any more, and who waits for something is told so."""
        self._closed = True
        self._capturing.wake()

    async def taken(self, within_s: float) -> bool:
        """Wait until recorders have all that was captured, at most so long; False if they have not."""
        await self._capturing.everything()
        try:
            async with asyncio.timeout(within_s):
                while len(self._captures):  # noqa: ASYNC110, nobody tells
                    await asyncio.sleep(TAKEN_POLL_S)
        except TimeoutError:
            logger.warning("captures_left", captures=len(self._captures))
            return False
        return True

    async def claim(self, recorder: str, lease_s: float, wait_s: float) -> tuple[Capture, Claim] | None:
        """The oldest capture that is ready and free, or None if there is none for so long. Raises DrainingError."""
        deadline = time.monotonic() + wait_s
        while True:
            if self._closed:
                raise DrainingError("the media node's sidecar is stopping")
            now = time.monotonic()
            self._lapse(now)
            capture = self._captures.take(self._free)
            if capture is not None:
                claim = self._claims.grant(capture.call_id, recorder, lease_s, now)
                logger.info("capture_claimed", call_id=capture.call_id, recorder=recorder)
                return capture, claim
            if now >= deadline:
                return None
            change = self._claims.next_change()
            await self._capturing.woken(min(deadline, change or deadline) - now)

    def renew(self, token: str, lease_s: float) -> None:
        """Hold a claim for another while. Raises ClaimLostError."""
        self._claims.renew(token, lease_s, time.monotonic())

    def release(self, token: str, not_before_s: float, reason: str) -> None:
        """Give a claim back. Raises ClaimLostError."""
        claim = self._claims.release(token, not_before_s, time.monotonic())
        logger.warning("capture_released", call_id=claim.call_id, recorder=claim.recorder, reason=reason)
        self._offer(claim.call_id)
        self._capturing.wake()

    async def confirm(self, token: str, call_id: str) -> None:
        """Delete a capture that is stored; one that is not there is deleted already.

        Raises ClaimLostError, SpoolError.
        """
        if await self._capturing.changes.make(lambda: self._delete(token, call_id)):
            self._metrics.confirmed()
            logger.info("capture_deleted", call_id=call_id)

    async def _delete(self, token: str, call_id: str) -> bool:
        capture = self._captures.get(call_id)
        if capture is None:
            self._capturing.require_taken_in(call_id)
            return False
        # Not one that turned out to go on.
        await self._capturing.take_in()
        self._capturing.require_taken_in(call_id)
        if self._claims.of(token, time.monotonic()).call_id != call_id:
            raise ClaimLostError
        await self._capturing.on_disk(self._capturing.spool.delete, capture.folder)
        self._captures.remove(capture)
        self._claims.drop(call_id)
        return True

    async def read(self, token: str, name: str, offset: int) -> AsyncIterator[bytes]:
        """What a segment of the claimed capture has from a byte on, in pieces.

        Raises ClaimLostError, also in the midst of it, NotFoundError, SpoolError.
        """
        capture = self._captures.get(self._claims.of(token, time.monotonic()).call_id)
        segment = capture.find(name) if capture is not None else None
        if capture is None or segment is None:
            raise NotFoundError("segment", name)
        path = self._capturing.spool.path(capture.folder, segment)
        while True:
            try:
                piece = await self._capturing.on_disk(_read, path, offset)
            finally:
                # Whoever has lost the claim is told that alone: the file may be gone.
                self._claims.of(token, time.monotonic())
            if not piece:
                return
            yield piece
            offset += len(piece)

    def _free(self, call_id: str) -> bool:
        return self._claims.free(call_id, time.monotonic())

    def _lapse(self, now: float) -> None:
        for claim in self._claims.lapsed(now):
            self._metrics.lapsed()
            logger.warning("claim_lapsed", call_id=claim.call_id, recorder=claim.recorder)
            self._offer(claim.call_id)

    def _offer(self, call_id: str) -> None:
        capture = self._captures.get(call_id)
        if capture is not None and capture.ready_since is not None:
            self._captures.offer(capture)


def _read(path: Path, offset: int) -> bytes:
    """A piece. The file is open no longer than that: nobody could close it who was cancelled while it was opened."""
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), PIECE_BYTES, offset)
