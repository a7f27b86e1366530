"""Captures of all nodes, claimed and worked on: ``recorder.jobs`` at once.

A node that has more takes its turn for a place with the others. One that has none, or did not answer, is asked without
a place, by a claim that waits at the node; so neither keeps others from theirs.
"""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from signalbox.errors import ClaimLostError, MediaNodeUnavailableError, SignalboxError
from signalbox.recorder import facts, failures, workdir
from signalbox.recorder.job import Job
from signalbox.recorder.outages import needed, pause_s
from signalbox.recorder.slots import Slot, Slots
from signalbox.recorder.strikes import Strikes
from signalbox.recorder.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from signalbox.recorder.captures import Claim
    from signalbox.recorder.job import Tools
    from signalbox.recorder.nodes import Node, Nodes
    from signalbox.recorder.outages import Outages
    from signalbox.settings import RecorderSettings

logger = structlog.get_logger(__name__)

WAIT_S = 10.0
"""So long a claim waits at a node that has no capture."""
FACTS_LATE_S = 300.0
"""A capture that has been without facts for so long is alarmed."""
RELEASE_S = 3.0
NODE_PAUSE_MAX_S = 30.0
"""A node that does not answer is asked again after this time at the latest."""


class Work:
    """:meth:`run` is the long-lived coroutine; :meth:`drain` ends the work."""

    def __init__(self, settings: RecorderSettings, tools: Tools, nodes: Nodes, outages: Outages, folder: Path) -> None:
        """``folder``: where captures lie while they are worked on."""
        self._settings = settings
        self._tools = tools
        self._nodes = nodes
        self._outages = outages
        self._folder = folder
        self._slots = Slots(settings.jobs)
        self._jobs: set[asyncio.Task[None]] = set()
        self._places: dict[Node, set[Slot]] = {}
        self._ended = asyncio.Event()
        self._strikes = Strikes(2 * failures.LONGEST_S)
        self._without_facts = Troubles(10 * failures.FACTS_AFTER_S)
        self._unreadable = Troubles(2 * failures.LONGEST_S)
        metrics = tools.metrics
        metrics.jobs.set_function(lambda: len(self._jobs))
        metrics.without_facts.set_function(lambda: self._without_facts.count(FACTS_LATE_S))
        metrics.unreadable.set_function(self._unreadable.count)

    @property
    def jobs(self) -> int:
        """Captures that are worked on now."""
        return len(self._jobs)

    async def run(self) -> None:
        """Long-lived coroutine: claims, and has what was claimed worked on."""
        following: dict[Node, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                nodes = self._nodes.all()
                for node in following.keys() - set(nodes):
                    following.pop(node).cancel()
                for node in nodes:
                    if node not in following:
                        following[node] = group.create_task(self._follow(node), name=f"captures-{node.id}")
                await self._nodes.changed()

    async def drain(self) -> None:
        """Finish what is at work within ``drain_s``, then give the rest back. End :meth:`run` first."""
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._settings.drain_s)
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            logger.warning("drained_with_jobs_left", jobs=len(self._jobs))
            await asyncio.wait(self._jobs)

    async def _follow(self, node: Node) -> None:
        """Claim from one node for ever."""
        more, strikes = False, 0
        while True:
            await self._outages.over()
            while self._is_slow(node):
                # Others first.
                await self._ended.wait()
            try:
                more = await (self._in_turn(node) if more else self._waiting(node))
            except MediaNodeUnavailableError as error:
                if not strikes:
                    logger.warning("media_node_unreachable", node=node.id, error=str(error))
                more, strikes = False, strikes + 1
                await asyncio.sleep(pause_s(strikes, NODE_PAUSE_MAX_S))
                continue
            if strikes:
                logger.info("media_node_reachable", node=node.id)
            strikes = 0

    async def _in_turn(self, node: Node) -> bool:
        """Claim once there is a place. True: there may be more."""
        await self._slots.take()
        if self._is_slow(node):
            self._slots.give()
            return True
        try:
            claim = await node.captures.claim(self._settings.id, self._settings.lease_s, 0)
        except BaseException:
            self._slots.give()
            raise
        if claim is None:
            self._slots.give()
            return False
        self._start(node, claim)
        return True

    async def _waiting(self, node: Node) -> bool:
        """Claim from a node that may have nothing, while there is a place for it. True: there may be more."""
        await self._slots.some_free()
        claim = await node.captures.claim(self._settings.id, self._settings.lease_s, WAIT_S)
        if claim is None:
            return False
        if self._slots.free:
            # This does not wait.
            await self._slots.take()
            self._start(node, claim)
        else:
            # Others were faster: it is this node's turn when a place is free.
            await self._release(claim, 0, "no place")
        return True

    def _is_slow(self, node: Node) -> bool:
        """True while a pull from it takes so long that its place was lent."""
        return any(slot.lent for slot in self._places.get(node, ()))

    def _start(self, node: Node, claim: Claim) -> None:
        """Work on a claimed capture, at a place that was taken for it."""
        self._tools.metrics.claims.labels(node.id).inc()
        node.use()
        job = asyncio.create_task(self._work(node, claim), name=f"job-{claim.call_id}")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _work(self, node: Node, claim: Claim) -> None:
        slot = Slot(self._slots)
        self._places.setdefault(node, set()).add(slot)
        folder = self._folder / f"{workdir.JOB}{uuid.uuid4().hex}"
        job = Job(self._tools, claim, folder, self._settings.lease_s)
        began = time.monotonic()
        try:
            folder.mkdir(mode=0o700)
            await self._while_held(claim, self._run(claim, job, slot))
        except asyncio.CancelledError:
            await self._release(claim, 0, "stopping")
            raise
        except Exception as error:
            await self._failed(node, claim, job, error)
        else:
            self._tools.metrics.job_seconds.observe(time.monotonic() - began)
            self._outages.succeeded()
            self._strikes.over(claim.call_id)
            self._without_facts.over(claim.call_id)
            self._unreadable.over(claim.call_id)
        finally:
            slot.end()
            self._places[node].discard(slot)
            if not self._places[node]:
                del self._places[node]
            self._ended.set()
            self._ended = asyncio.Event()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            await node.leave()

    async def _run(self, claim: Claim, job: Job, slot: Slot) -> None:
        """Do a job; what was pulled from a node that is away now is not given up while something else is away."""
        while True:
            try:
                await job.run(slot)
            except Exception as error:
                need = needed(error)
                if need is None or not job.pulled or await self._is_there(claim):
                    raise
                self._tools.metrics.failures.labels(need.value).inc()
                self._outages.failed(need, error)
                logger.warning("recording_kept", call_id=claim.call_id, need=need.value, error=str(error))
            else:
                return
            await self._outages.over()

    async def _is_there(self, claim: Claim) -> bool:
        """Whether the node of a claim can be reached. Raises ClaimLostError."""
        try:
            await claim.renew(self._settings.lease_s)
        except MediaNodeUnavailableError:
            return False
        return True

    async def _while_held(self, claim: Claim, body: Coroutine[Any, Any, None]) -> None:
        """Do something while the claim is renewed; it is cancelled when that is lost. Raises ClaimLostError."""
        working = asyncio.ensure_future(body)
        renewing = asyncio.ensure_future(self._renew(claim))
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                renewing.result()
            else:
                working.result()
        finally:
            for task in (working, renewing):
                task.cancel()
            await asyncio.wait({working, renewing})
            for task in (working, renewing):
                if not task.cancelled():
                    task.exception()

    async def _renew(self, claim: Claim) -> None:
        """Raises ClaimLostError, and nothing while the node is away: what was pulled can be stored all the same."""
        while True:
            await asyncio.sleep(self._settings.lease_s / 3)
            with suppress(MediaNodeUnavailableError):
                await claim.renew(self._settings.lease_s)

    async def _failed(self, node: Node, claim: Claim, job: Job, error: Exception) -> None:
        """Count and tell what went wrong, and give the capture back for later."""
        failure = failures.judged(error, self._strikes.of(claim.call_id))
        self._strikes.note(claim.call_id, failure.kind)
        self._tools.metrics.failures.labels(failure.kind).inc()
        wait_s = failure.wait_s
        told = {"call_id": claim.call_id, "node": node.id, "attempt": job.attempt}
        match failure.kind:
            case "claim_lost":
                logger.info("claim_lost", **told)
                return
            case "no_facts":
                if self._without_facts.note(claim.call_id) >= FACTS_LATE_S:
                    logger.error("capture_without_facts", **told)
            case "overtaken":
                logger.info("recording_overtaken", **told)
            case "unexpected":
                logger.error("job_died", exc_info=error, **told)
            case _ if failure.need is not None:
                wait_s = max(wait_s, self._outages.failed(failure.need, error))
                logger.info("recording_delayed", kind=failure.kind, error=str(error), **told)
            case _:
                logger.error("recording_failed", kind=failure.kind, error=str(error), **told)
        if failure.unreadable:
            await self._tell_unreadable(claim)
        await self._release(claim, wait_s, failure.kind)

    async def _tell_unreadable(self, claim: Claim) -> None:
        """Nobody waits for this recording, but its capture stays."""
        self._unreadable.note(claim.call_id)
        try:
            await self._tools.notices.missing(facts.recording_of(claim.capture), failures.UNREADABLE)
        except SignalboxError as error:
            if (need := needed(error)) is not None:
                self._outages.failed(need, error)
            logger.warning("missing_not_told", call_id=claim.call_id, error=str(error))

    async def _release(self, claim: Claim, not_before_s: float, reason: str) -> None:
        """If that cannot be done the claim just ends with its time."""
        with suppress(ClaimLostError, MediaNodeUnavailableError, TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                await claim.release(not_before_s, reason)
