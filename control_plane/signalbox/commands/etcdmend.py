"""``signalbox etcd check`` and ``repair``: values that are not what they should be. What to do when: docs/etcd.md."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from signalbox.commands.failure import REFUSED, UNAVAILABLE
from signalbox.commands.output import clean, print_table
from signalbox.commands.processes import config_option, load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from signalbox.settings import EtcdSettings
    from signalbox.store.etcd import EtcdStore
    from signalbox.store.mending import Mending
    from signalbox.store.paged import PagedStore

METHOD = "RepairKey"


def _opens(command: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a command with the store of the settings. Failures become messages and exit codes."""

    @wraps(command)
    def run(config: Path | None, **arguments: Any) -> None:
        # Loads what other commands need not wait for.
        from signalbox.errors import ConfigurationError, SignalboxError
        from signalbox.store.mending import NotMendableError

        settings = load_settings(config).etcd

        async def main() -> None:
            async with _opened(settings) as store:
                await command(store, settings=settings, **arguments)

        try:
            asyncio.run(main())
        except ConfigurationError as error:
            raise click.UsageError(str(error)) from error
        except NotMendableError as error:
            raise click.ClickException(clean(str(error))) from error
        except SignalboxError as error:
            click.echo(f"Error: {clean(str(error))}", err=True)
            sys.exit(UNAVAILABLE)

    return run


@contextlib.asynccontextmanager
async def _opened(settings: EtcdSettings) -> AsyncIterator[EtcdStore]:
    from signalbox.store.etcd import EtcdStore

    store = EtcdStore.open(settings)
    try:
        yield store
    finally:
        await store.close()


@click.command("check")
@config_option
@_opens
async def check(store: EtcdStore, settings: EtcdSettings) -> None:
    """Read all that is stored, and name every value that is not what it should be.

    Exit code 1: there is one.
    """
    from signalbox.store import mending

    count, rows = 0, []
    async for read, damages in mending.check(store):
        count += read
        rows += [[mending.shown(one.key), mending.shown(one.page), clean(mending.shown(one.why))] for one in damages]
    if rows:
        print_table(["key", "in page", "what is wrong"], rows)
    click.echo(f"{count} keys read, {len(rows)} values damaged")
    if rows:
        sys.exit(REFUSED)


@click.command("repair")
@click.argument("key")
@config_option
@click.option("--from", "source", metavar="HOST:PORT", help="Take it from this etcd, begun from a backup.")
@click.option("--empty", is_flag=True, help="Nothing is left of it: put an empty page there, or delete the key.")
@click.option("--yes", is_flag=True, help="Write it. Without this it is only shown.")
@_opens
async def repair(
    store: EtcdStore, settings: EtcdSettings, key: str, source: str | None, empty: bool, yes: bool
) -> None:
    """Put back what was at a damaged KEY, as `check` shows it: the last good value that etcd remembers.

    etcd forgets within minutes (--auto-compaction-retention). Later it is in a backup: begin an etcd of its own from
    that, and give it with --from.
    """
    from signalbox.store import mending
    from signalbox.store.paged import PagedStore

    if source and empty:
        raise click.UsageError("--from and --empty exclude each other")
    paged, key = PagedStore(store), mending.meant(key)
    async with contextlib.AsyncExitStack() as stack:
        if empty:
            found = await mending.emptied(store, paged, key)
        else:
            other = None
            if source:
                other = await stack.enter_async_context(_opened(settings.model_copy(update={"endpoints": [source]})))
            found = await mending.mend(store, paged, key, other)
    _show(found, source)
    if not yes:
        click.echo("nothing was written: --yes writes it")
        return
    click.echo(f"written at revision {await _write(store, paged, found)}")


def _show(found: Mending, source: str | None) -> None:
    from signalbox.store import mending
    from signalbox.store.base import Delete

    origin = f"as of revision {found.revision}" if found.revision else f"from {source}" if source else "of nothing"
    what = "the key is deleted" if isinstance(found.write, Delete) else f"{len(found.entries)} values, {origin}"
    click.echo(f"{mending.shown(found.key)}, damaged at revision {found.damaged.revision}: {what}")
    for entry in found.entries:
        click.echo(clean(f"  {mending.shown(entry.key)}  {len(entry.value)} bytes"))


async def _write(store: EtcdStore, paged: PagedStore, found: Mending) -> int:
    """Write it with its record for the audit log, unless somebody has changed the key meanwhile."""
    from signalbox import account
    from signalbox.api.types.v1 import types_pb2
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.audit import changes
    from signalbox.provisioning.audit.outbox import Origin, Outbox
    from signalbox.store import mending
    from signalbox.store.base import Compare, CompareFailedError, Put

    actor = account.of_process(os.getpid(), os.getuid())
    who = Principal(types_pb2.ROLE_OPERATOR, actor=actor, peer=f"host {socket.gethostname()}")
    value = found.write.value if isinstance(found.write, Put) else None
    change = changes.unknown(mending.shown(found.key), found.damaged.value, value)
    record = Origin(Outbox(), who, METHOD).entry([change])
    # A page is written as it is, anything else where it lies.
    target = store if found.page else paged
    try:
        return int(await target.commit([Compare(found.key, found.damaged.revision)], [found.write, record]))
    except CompareFailedError as error:
        raise mending.NotMendableError(f"{mending.shown(found.key)} was changed meanwhile: look again") from error
