"""One attempt to bring one capture into the object store.

The capture is confirmed, and so deleted, when audio, metadata and row are there and have all of it. Whatever fails or
dies before leaves at most objects with the attempt in their names, which the next attempt deletes.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox.api.recording.v1.recording_pb2 import CallFacts
from signalbox.catalog import names
from signalbox.errors import MediaNodeUnavailableError, SignalboxError
from signalbox.recorder import description, facts
from signalbox.recorder.leftovers import Leftovers
from signalbox.recorder.policy import policy_of
from signalbox.recorder.pull import pull
from signalbox.store.objectstore import once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import BinaryIO

    from signalbox.api.types.v1.recordings_pb2 import Recording
    from signalbox.catalog.catalog import Begun, Catalog
    from signalbox.recorder.captures import Claim
    from signalbox.recorder.keeping.notices import Notices
    from signalbox.recorder.metrics import RecorderMetrics
    from signalbox.recorder.pool import Pool
    from signalbox.recorder.render import Rendered, SegmentFile
    from signalbox.recorder.slots import Slot
    from signalbox.store.base import Store
    from signalbox.store.envelope import Vault

logger = structlog.get_logger(__name__)

PIECE = 256 * 1024
LEND_AFTER_S = 10.0
"""A pull that takes longer lets another job have its place meanwhile."""
CAPTURED_LATER = "captured_later"
"""Why a recording is partial of whose call more was captured when the rest had been stored and deleted."""


class NoFactsError(SignalboxError):
    """Nobody has said yet whose call a capture is of."""


class OvertakenError(SignalboxError):
    """Another recorder has the capture, too, and is ahead of us."""


class SeveredError(SignalboxError):
    """More was captured of a call whose recording is stored, and what that was made of is gone from the node."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What jobs work with."""

    catalog: Catalog
    store: Store
    vault: Vault
    pool: Pool
    notices: Notices
    metrics: RecorderMetrics


class Job:
    """:meth:`run` does it. ``attempt`` is the number of the attempt, 0 before it has one."""

    def __init__(self, tools: Tools, claim: Claim, folder: Path, lease_s: float) -> None:
        """``folder``: of its own, empty."""
        self._tools = tools
        self._claim = claim
        self._folder = folder
        self._lease_s = lease_s
        self.attempt = 0
        self._segments: list[SegmentFile] | None = None

    @property
    def pulled(self) -> bool:
        """All of the capture is here: another :meth:`run` needs the node for nothing but to confirm it."""
        return self._segments is not None

    async def run(self, slot: Slot) -> None:
        """Raises what is away or wrong, ClaimLostError, OvertakenError, SeveredError and OSError; nothing is confirmed
        then.

        While the pull takes long the place is another's.
        """
        call = await self._facts()
        begun = await self._tools.catalog.begin(call, self._claim.capture)
        self.attempt = begun.attempt
        leftovers = Leftovers(self._tools.catalog, self._tools.vault, call, begun)
        if begun.stored is not None:
            await leftovers.all()
            await self._was_stored(call, begun)
            return
        if begun.object:
            logger.warning("recording_grew", call_id=call.call_id, tenant=call.tenant, attempt=self.attempt)
        await leftovers.before()
        if self._segments is None:
            self._segments = await self._pull(slot)
        policy = await policy_of(self._tools.store, call.tenant)
        output = self._folder / "audio"
        began = time.monotonic()
        rendered = await self._tools.pool.render(self._segments, call, self._claim.capture.sides, policy.format, output)
        self._measure(rendered, time.monotonic() - began)
        audio = names.audio(call, self.attempt, policy.format)
        now_ms = round(time.time() * 1000)
        recording = description.describe(call, rendered, policy, now_ms, paused_at_end=self._claim.capture.paused)
        await self._store(leftovers, audio, output, recording)

    async def _was_stored(self, call: CallFacts, begun: Begun) -> None:
        """Nothing is left to do but to confirm the capture. Raises SeveredError if there is, and it cannot be done."""
        if begun.severed:
            if await self._tools.catalog.flaw(call.call_id, CAPTURED_LATER):
                self._tools.metrics.partial.inc()
            raise SeveredError("more was captured of a call whose recording is stored, and the rest is gone")
        logger.info("recording_was_stored", call_id=call.call_id, tenant=call.tenant)
        await self._claim.confirm()

    async def _pull(self, slot: Slot) -> list[SegmentFile]:
        lending = asyncio.get_running_loop().call_later(LEND_AFTER_S, slot.lend)
        try:
            segments = await pull(self._claim, self._folder, self._tools.metrics.pulled_bytes.inc)
        finally:
            lending.cancel()
        await slot.regain()
        return segments

    async def _facts(self) -> CallFacts:
        """Of the recording: those of the capture, else as promised. Raises NoFactsError, DatabaseUnavailableError."""
        id = facts.recording_of(self._claim.capture)
        if self._claim.capture.HasField("facts"):
            call = CallFacts()
            call.CopyFrom(self._claim.capture.facts)
            call.call_id = id
            wrong = next(facts.violations(call), None)
            if wrong is None:
                return call
            logger.error("facts_unusable", call_id=self._claim.call_id, field=wrong.field, reason=wrong.reason)
        promised = await self._tools.catalog.facts(id)
        if promised is None:
            raise NoFactsError("nobody has said whose call this is")
        return promised

    async def _store(self, leftovers: Leftovers, audio: str, file: Path, recording: Recording) -> None:
        # One that is not ours any more must not leave anything that the next attempt has looked for already. If the
        # node is gone nobody else can have it, and what we have may be all there is.
        with suppress(MediaNodeUnavailableError):
            await self._claim.renew(self._lease_s)
        finishing = False
        try:
            with await asyncio.to_thread(file.open, "rb") as content:
                await self._tools.vault.put(recording.tenant, audio, _content(content))
            metadata = names.metadata(audio)
            await self._tools.vault.put(recording.tenant, metadata, once(description.document(recording)))
            finishing = True
            stored = await self._tools.catalog.finish(recording, self.attempt, audio, self._claim.capture)
        except BaseException:
            # From finish on it may well be stored.
            if not finishing:
                with suppress(SignalboxError):
                    await leftovers.of(audio)
            raise
        if not stored:
            await leftovers.of(audio)
            raise OvertakenError("there is a later attempt, or the recording has been stored by another")
        self._count(recording)
        # Before the confirmation: what fails here is tried again as long as there is the capture.
        await leftovers.replaced()
        await self._claim.confirm()

    def _measure(self, rendered: Rendered, took_s: float) -> None:
        self._tools.metrics.audio_seconds.inc(rendered.duration_ms / 1000)
        self._tools.metrics.render_seconds.inc(took_s)

    def _count(self, recording: Recording) -> None:
        metrics = self._tools.metrics
        metrics.stored.inc()
        if recording.partial:
            metrics.partial.inc()
        metrics.lost_packets.inc(recording.left.lost + recording.right.lost)
        metrics.gaps.inc(recording.left.gaps + recording.right.gaps)
        logger.info(
            "recording_stored",
            call_id=recording.call_id,
            tenant=recording.tenant,
            attempt=self.attempt,
            seconds=recording.duration.ToMilliseconds() / 1000,
            bytes=recording.size_bytes,
            reasons=list(recording.reasons),
        )


async def _content(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece
