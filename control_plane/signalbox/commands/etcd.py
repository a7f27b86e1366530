"""``signalbox etcd``: how full etcd is, defragmentation, copies. What to do when: docs/etcd.md; see also etcdmend."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import time
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signalbox.commands import etcdmend
from signalbox.commands.failure import REFUSED, UNAVAILABLE
from signalbox.commands.output import print_table
from signalbox.commands.processes import config_option, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.settings import Settings
    from signalbox.store.etcd_maintenance import Maintenance, Member


_NAMED_BY_TIME = "etcd-%Y-%m-%dT%H%M%SZ.db"
"""Universal time: names sort as the backups were taken, and no hour comes twice in autumn."""
_OWN_NAME = re.compile(r"etcd-\d{4}-\d\d-\d\dT\d{6}Z\.db")


def _maintains(command: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a command with the members of the settings. Failures become messages and exit codes."""

    @wraps(command)
    def run(config: Path | None, **arguments: Any) -> None:
        # Loads what other commands need not wait for.
        from signalbox.errors import ConfigurationError, StoreUnavailableError
        from signalbox.store.etcd_maintenance import DamagedCopyError, Maintenance

        settings = load_settings(config)

        async def main() -> None:
            maintenance = Maintenance(settings.etcd)
            try:
                await command(maintenance, settings=settings, **arguments)
            finally:
                await maintenance.close()

        try:
            asyncio.run(main())
        except ConfigurationError as error:
            raise click.UsageError(str(error)) from error
        except DamagedCopyError as error:
            raise click.ClickException(str(error)) from error
        except StoreUnavailableError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(UNAVAILABLE)

    return run


@click.group()
def etcd() -> None:
    """Look after etcd: how full it is, defragmentation, backups, damaged values. docs/etcd.md tells what to do when."""


etcd.add_command(etcdmend.check)
etcd.add_command(etcdmend.repair)


@etcd.command("status")
@config_option
@_maintains
async def status(maintenance: Maintenance, settings: Settings) -> None:
    """Show every member: its version, how full it is, and its alarms.

    Exit code 1: one cannot be reached, or has an alarm.
    """
    from signalbox.store.etcd_maintenance import Member, mebibytes

    rows, well = [], True
    for endpoint, member in (await maintenance.all()).items():
        if not isinstance(member, Member):
            rows.append([endpoint, "", "", "", "", "", "", str(member)])
            well = False
            continue
        quota = member.quota_bytes or settings.provisioning.bulk.store_quota_mb * 1024**2
        role = "leader" if member.leads else "" if member.has_leader else "no leader"
        well = well and not member.alarms and member.has_leader
        sizes = [f"{mebibytes(size)} MiB" for size in (member.size_bytes, member.used_bytes, quota)]
        share = f"{100 * member.used_bytes / quota:.0f}%"
        rows.append([endpoint, member.version, role, *sizes, share, " ".join(member.alarms)])
    print_table(["member", "version", "role", "file", "in use", "quota", "used", "alarms"], rows)
    if not well:
        sys.exit(REFUSED)


@etcd.command("defrag")
@config_option
@click.option(
    "--least-free",
    type=click.IntRange(0, 100),
    default=20,
    show_default=True,
    metavar="PERCENT",
    help="Leave members out whose file has less free in it.",
)
@_maintains
async def defrag(maintenance: Maintenance, settings: Settings, least_free: int) -> None:
    """Defragment the members, one after the other, the leader last.

    A member serves nobody meanwhile, so all of them must be well before each, and the next one waits until the one
    before has caught up.
    """
    from signalbox.store.etcd_maintenance import mebibytes

    for endpoint in [member.endpoint for member in sorted(await _all(maintenance), key=lambda one: one.leads)]:
        before = next(member for member in await _all(maintenance) if member.endpoint == endpoint)
        free = 100 * (before.size_bytes - before.used_bytes) / max(before.size_bytes, 1)
        if free < least_free:
            click.echo(f"{endpoint}: {free:.0f}% of its file is free, nothing to do")
            continue
        await maintenance.defragment(endpoint)
        after = await maintenance.status(endpoint)
        click.echo(f"{endpoint}: from {mebibytes(before.size_bytes)} to {mebibytes(after.size_bytes)} MiB")


@etcd.command("backup")
@config_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="FILE is a directory: write a file named by the time, delete all but the newest N of these, and list them.",
)
@_maintains
async def backup(maintenance: Maintenance, settings: Settings, file: Path, keep: int | None) -> None:
    """Write a copy of all rules to FILE, which is there whole or not at all.

    It is what `etcdctl snapshot restore` reads. It has everything that etcd has, hashes of API keys too.
    """
    from signalbox.store.etcd_maintenance import Member, mebibytes

    target = _target(file, keep)
    members = [member for member in (await maintenance.all()).values() if isinstance(member, Member)]
    # Rather of a member that does not lead: it has less to do.
    source = min(members, key=lambda one: (one.leads, -one.applied), default=None)
    endpoint = source.endpoint if source else maintenance.endpoints[0]
    try:
        size = await _copy(maintenance, endpoint, target)
        click.echo(f"{target}: {mebibytes(size)} MiB, of {endpoint}")
        # Only now, so that a backup that fails costs none of the old ones.
        for old in _named_by_time(file)[:-keep] if keep else []:
            old.unlink()
            click.echo(f"{old}: deleted, {keep} newer ones are kept")
    except OSError as error:
        raise click.ClickException(f"{error.filename or target}: {error.strerror}") from error
    finally:
        # After a failure, too: who has lost etcd wants to know which there are, where no shell could list them.
        if keep:
            _list(file)


def _target(file: Path, keep: int | None) -> Path:
    """The file to write. Raises click.UsageError."""
    if keep:
        return file / time.strftime(_NAMED_BY_TIME, time.gmtime())
    if file.is_dir():
        raise click.UsageError(f"{file} is a directory: give a file, or --keep N for one named by the time")
    return file


async def _copy(maintenance: Maintenance, endpoint: str, file: Path) -> int:
    """Copy a member's data to a file, which is there whole or not at all. Its size in bytes.

    Raises OSError, StoreUnavailableError and DamagedCopyError.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            async with contextlib.aclosing(maintenance.snapshot(endpoint)) as pieces:
                async for piece in pieces:
                    target.write(piece)
            target.flush()
            os.fsync(target.fileno())
            size = target.tell()
        part.replace(file)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return size


def _named_by_time(directory: Path) -> list[Path]:
    """The backups in a directory that were named by their time, the oldest first. Other files are nobody's."""
    return sorted(one for one in directory.iterdir() if _OWN_NAME.fullmatch(one.name))


def _list(directory: Path) -> None:
    from signalbox.store.etcd_maintenance import mebibytes

    with contextlib.suppress(OSError):
        for one in reversed(_named_by_time(directory)):
            click.echo(f"there is {one.name}, {mebibytes(one.stat().st_size)} MiB")


async def _all(maintenance: Maintenance) -> list[Member]:
    """All members. Raises StoreUnavailableError unless each is there and has a leader."""
    from signalbox.errors import StoreUnavailableError
    from signalbox.store.etcd_maintenance import Member

    found = []
    for endpoint, member in (await maintenance.all()).items():
        if not isinstance(member, Member):
            raise StoreUnavailableError(f"{endpoint}: {member}; nothing is done while a member is away")
        if not member.has_leader:
            raise StoreUnavailableError(f"{endpoint} has no leader; nothing is done")
        found.append(member)
    return found
