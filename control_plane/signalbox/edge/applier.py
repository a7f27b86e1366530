"""Keeps the proxy in step with the last snapshot of ``WatchEdge``, and again after the proxy was restarted.

The wire contract is in ``kamailio/README.md``, section 3. The tables are written even while the proxy is away: it reads
them when it starts. The mark ``cfg=>version`` in the proxy's memory tells whether it is the one that we served last.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import structlog
from google.protobuf.message import DecodeError

from signalbox.api.routing.v1.routing_pb2 import WatchEdgeResponse
from signalbox.edge import tables
from signalbox.edge.bans import Bans
from signalbox.edge.control import ProxyRefusedError, ProxyUnreachableError
from signalbox.edge.media import Media
from signalbox.edge.memory import NodeMemory
from signalbox.errors import InvalidFieldError
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from signalbox.domain.objects import HealthCheck, Target
    from signalbox.edge.control import Control
    from signalbox.edge.nodes import MediaNodes

logger = structlog.get_logger(__name__)

POLL_S = 1.0
"""Time between two looks at the proxy's mark."""

REFUSAL_GRACE_S = 3.0
"""A proxy that is still starting refuses some methods; only after so long it is told to routing."""

RETRY_S = 5.0
"""Time until a refused snapshot is tried again after that."""

OLDER_PATIENCE_S = 60.0
"""Older snapshots than ours are believed once nobody has offered anything else for so long: the store was restored."""

SNAPSHOT_FILE = "edge.snapshot"
_RELOADS = {"address": "permissions.addressReload", "domain": "domain.reload"}


class Applier:
    """:meth:`run` is the long-lived coroutine; :meth:`submit` may be called at any time."""

    def __init__(self, runtime_dir: Path, state_dir: Path, control: Control, nodes: MediaNodes) -> None:
        self._tables = runtime_dir / "tables"
        self._saved = state_dir / SNAPSHOT_FILE
        self._memory = NodeMemory(state_dir)
        self._control = control
        self._media = Media(control, nodes)
        self._bans = Bans(control)
        self._changed = asyncio.Event()
        self._received: WatchEdgeResponse | None = None
        self._wanted: tables.Contents | None = None
        self._applied: tables.Contents | None = None
        self._marked = ""
        self._reported: tuple[str, str] | None = None
        self._refused_since: float | None = None
        self._older_since: float | None = None
        self._report: Callable[[str, str], None] = lambda version, reason: None
        self._check: Callable[[Mapping[Target, HealthCheck]], None] = lambda checks: None
        self._lives = 0
        self._life_marked = False
        self._time = asyncio.get_running_loop().time
        self.proxy_up = False

    @property
    def version(self) -> str:
        """Version of the last snapshot that the proxy has in full; empty if none."""
        return self._applied.version if self._applied is not None and not self._media.pending else ""

    @property
    def wanted_version(self) -> str:
        """Version of the last snapshot received; the tables that the proxy starts with are written from it."""
        return self._wanted.version if self._wanted is not None else ""

    @property
    def proxy_life(self) -> int:
        """Which life of the proxy this is, as we saw it, from 1; 0: it does not run."""
        return self._lives if self.proxy_up else 0

    @property
    def in_step(self) -> bool:
        """True if the proxy runs and has the last snapshot in full."""
        return self.proxy_up and self._wanted is not None and self.version == self._wanted.version

    @property
    def serviceable(self) -> bool:
        """False while the cluster has media nodes but the proxy can use none of them."""
        return self._media.serviceable

    @property
    def _reported_refusal(self) -> bool:
        return self._refused_since is not None and self._reported is not None

    def on_report(self, report: Callable[[str, str], None]) -> None:
        """Set who is told a version and why it was refused; an empty reason: it was applied."""
        self._report = report

    def on_checks(self, check: Callable[[Mapping[Target, HealthCheck]], None]) -> None:
        """Set who is told which targets are to be asked whether they live, for every snapshot that is taken over."""
        self._check = check

    def submit(self, snapshot: WatchEdgeResponse) -> bool:
        """Take a snapshot over. One that is invalid is refused, and what we had stays.

        False if it is older than what we have: another replica may know better.
        """
        if self._is_older(snapshot):
            return False
        if self.in_step and snapshot.version == self.version:
            self._report(snapshot.version, "")
        else:
            self._received = snapshot
            self._changed.set()
        return True

    def _is_older(self, snapshot: WatchEdgeResponse) -> bool:
        wanted = self._wanted
        if wanted is None or snapshot.version == wanted.version or snapshot.revision >= wanted.revision:
            self._older_since = None
            return False
        now = self._time()
        if self._older_since is None:
            self._older_since = now
        revisions = {"revision": snapshot.revision, "ours": wanted.revision}
        if now - self._older_since < OLDER_PATIENCE_S:
            logger.warning("snapshot_older", version=snapshot.version, **revisions)
            return True
        logger.error("snapshot_older_believed", version=snapshot.version, **revisions)
        self._older_since = None
        return False

    def load(self) -> None:
        """Begin with the last snapshot of the life before, if there is one."""
        self._memory.load()
        try:
            snapshot = WatchEdgeResponse.FromString(self._saved.read_bytes())
            self._wanted = self._contents(snapshot)
        except FileNotFoundError:
            return
        except (OSError, DecodeError, InvalidFieldError) as error:
            logger.error("saved_snapshot_unreadable", file=str(self._saved), reason=str(error))
        else:
            self._check(self._wanted.checks)

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            self._changed.clear()
            await self._accept()
            await self._step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), RETRY_S if self._reported_refusal else POLL_S)

    async def _accept(self) -> None:
        """Check and keep what was received; in a thread, for a big one takes long."""
        snapshot, self._received = self._received, None
        if snapshot is None:
            return
        try:
            self._wanted = await asyncio.to_thread(self._contents, snapshot)
        except InvalidFieldError as error:
            self._tell(snapshot.version, str(error))
            return
        self._check(self._wanted.checks)
        self._reported = None
        try:
            await asyncio.to_thread(write_atomically, self._saved, snapshot.SerializeToString())
        except OSError as error:
            logger.error("snapshot_not_saved", file=str(self._saved), reason=str(error))

    def _contents(self, snapshot: WatchEdgeResponse) -> tables.Contents:
        """What the proxy is to have. Raises InvalidFieldError."""
        found = tables.contents(snapshot)
        before = self._wanted.nodes if self._wanted is not None else ()
        return tables.with_gone(found, self._memory.gone(before, found.nodes, time.time()))

    async def _step(self) -> None:
        wanted = self._wanted
        try:
            previous = await self._write(wanted) if wanted is not None and wanted is not self._applied else {}
            await self._look()
            if wanted is None:
                return
            try:
                await self._apply(wanted)
            except ProxyRefusedError:
                await asyncio.to_thread(tables.write, self._tables, previous)
                raise
        except ProxyUnreachableError as error:
            if self.proxy_up:
                logger.warning("proxy_lost", reason=str(error))
            self.proxy_up = False
            self._forget()
        except ProxyRefusedError as error:
            self._refused(str(error))
        except OSError as error:
            self._refused(f"tables: {error}")
        else:
            self._refused_since = None

    async def _write(self, wanted: tables.Contents) -> dict[str, str]:
        """Write the tables; returns what they were."""
        previous = await asyncio.to_thread(tables.read, self._tables, wanted.files)
        await asyncio.to_thread(tables.write, self._tables, wanted.files)
        return previous

    async def _look(self) -> None:
        """Find out whether this is still the proxy that we applied to."""
        try:
            answer = await self._control.call("htable.get", "cfg", "version")
            mark = str(answer["item"]["value"])
        except ProxyRefusedError:
            mark = ""  # no such key
        except (KeyError, TypeError) as error:
            raise ProxyUnreachableError("htable.get: unknown answer") from error
        # The mark is in the proxy's memory: one that has it is the one of before, though it did not answer for a while.
        new = not self._lives or (not mark and (self._life_marked or not self.proxy_up))
        if new:
            self._lives += 1
            self._life_marked = False
        self._life_marked |= bool(mark)
        if new or not self.proxy_up:
            logger.info("proxy_up", mark=mark, life=self._lives)
        self.proxy_up = True
        if mark != self._marked:
            self._forget()

    def _forget(self) -> None:
        """The proxy must get everything again."""
        self._applied = None
        self._marked = ""
        self._media.forget()
        self._bans.forget()

    async def _apply(self, wanted: tables.Contents) -> None:
        applied = self._applied
        if applied is not wanted:
            for name, method in _RELOADS.items():
                if applied is None or applied.files[name] != wanted.files[name]:
                    await self._control.call(method)
            await self._bans.apply(wanted.bans)
        elif not self._media.pending:
            return
        await self._media.apply(wanted.nodes)
        self._applied = wanted
        if self._media.serviceable and self._marked != wanted.version:
            await self._control.call("htable.sets", "cfg", "version", wanted.version)
            self._marked = wanted.version
            self._life_marked = True
        if not self._media.pending:
            logger.info("snapshot_applied", version=wanted.version)
            self._tell(wanted.version, "")

    def _refused(self, reason: str) -> None:
        self._forget()
        now = self._time()
        if self._refused_since is None:
            self._refused_since = now
        if self._wanted is not None and now - self._refused_since >= REFUSAL_GRACE_S:
            self._tell(self._wanted.version, reason)

    def _tell(self, version: str, reason: str) -> None:
        if self._reported == (version, reason):
            return
        self._reported = (version, reason)
        if reason:
            logger.error("snapshot_refused", version=version, reason=reason)
        self._report(version, reason)
