"""``signalbox test-call``: places a call through every proxy, with sound, between two telephones of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from signalbox import address
from signalbox.commands import testtargets
from signalbox.commands.connection import Connection, connects_to, find_cluster
from signalbox.commands.failure import REFUSED, told
from signalbox.commands.output import clean
from signalbox.commands.testrules import CallRules, Wanted
from signalbox.commands.testtelephones import CallFailedError, Telephones, own_address
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.commands.testtargets import Target

NUMBER = "999000000000001"
"""No network has numbers that begin with 999 (ITU-T E.164.1: reserved), and no inventory such a long one by chance."""
CALLING = "13900000000"
PORT = 25_060
"""Below what systems give by themselves (32768 and up), NodePorts (30000 and up) and the usual ports for RTP."""
_AGAIN_S = 0.5


@click.command("test-call")
@connects_to("provisioning")
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="[NODE=]HOST:PORT",
    help="Where to call, by UDP; a name stands for all of its addresses, and a node before it is told with what it did."
    "  [default: every proxy of the cluster file]",
)
@click.option(
    "--ready",
    "ready_name",
    metavar="NAME",
    help="A name whose addresses are those of proxies that are ready: others are told and not called.",
)
@click.option(
    "--address",
    "own",
    metavar="IP",
    help="Own address, for SIP and sound.  [default: that by which proxies are reached]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_530),
    default=PORT,
    show_default=True,
    help="First of six own UDP ports, an even one; 0: any that are free.",
)
@click.option("--id", default="test-call", show_default=True, help="Id of the tenant and the trunk that are made.")
@click.option("--number", default=NUMBER, show_default=True, help="The number that is made, and called.")
@click.option("--calling", default=CALLING, show_default=True, help="The caller's number.")
@click.option(
    "--talk",
    "talk_s",
    type=click.FloatRange(0.02, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="So much sound must be heard on both sides.",
)
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="A call that proxies do not know yet is tried again for so long.",
)
def test_call(
    connection: Connection,
    proxies: tuple[str, ...],
    ready_name: str | None,
    own: str | None,
    port: int,
    id: str,
    number: str,
    calling: str,
    talk_s: float,
    within_s: float,
) -> None:
    """Place a call through every proxy, and tell how it went. Exits with 1 if one failed.

    A tenant, a line, a number and a trunk are made for it, and removed when it is over. Caller and line are this
    command: it must run where proxies and media nodes see the address that it has, not behind NAT.
    """
    if port % 2:
        raise click.BadParameter("must be even", param_hint="--port")
    targets = _called(testtargets.resolve(proxies or _known()), ready_name)
    try:
        host = own_address(targets[0].at) if own is None else str(ipaddress.ip_address(own))
        failed = asyncio.run(_test(connection, targets, host, port, (id, number, calling), (talk_s, within_s)))
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--address") from error
    except asyncio.CancelledError:
        raise click.ClickException("ended by SIGTERM") from None
    if failed:
        click.echo(f"{failed} of {len(targets)} calls failed, or something was left behind", err=True)
        sys.exit(REFUSED)


async def _test(
    connection: Connection,
    proxies: Sequence[Target],
    host: str,
    port: int,
    names: tuple[str, str, str],
    times: tuple[float, float],
) -> int:
    """How many calls failed."""
    id, number, calling = names
    talk_s, within_s = times
    this = asyncio.current_task()
    assert this is not None
    # What was made is removed first.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with Telephones.open(host, port) as telephones:
        with connection.channel() as channel, told():
            rules = CallRules(channel, connection.timeout_s, Wanted(id, number, host, telephones.line))
            failed = 0
            with rules.there(click.echo):
                for proxy in proxies:
                    failed += not await _place(telephones, (number, calling), proxy, talk_s, within_s)
            return failed or int(not rules.removed)


async def _place(
    telephones: Telephones, numbers: tuple[str, str], proxy: Target, talk_s: float, within_s: float
) -> bool:
    """Call through one proxy, again while it may not know the rules yet. Tells how it went."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            went = await telephones.place(*numbers, proxy.at, talk_s)
        except CallFailedError as error:
            if error.early and time.monotonic() < deadline:
                await asyncio.sleep(_AGAIN_S)
                continue
            node = f" Is there a proxy on node {proxy.node}?" if error.silent and proxy.node else ""
            click.echo(f"{proxy}  FAILED: {clean(str(error))}{node}")
            return False
        media = address.join(*went.media)
        click.echo(
            f"{proxy}  answered after {went.answered_s:.3f} s, {talk_s:g} s of sound heard both ways "
            f"after {went.heard_s:.3f} s through {media}, ended"
        )
        return True


def _known() -> Sequence[str]:
    """Proxies that the cluster file names. Raises UsageError if there is none."""
    cluster = find_cluster(click.get_current_context().params.get("cluster"))
    if cluster is None or not cluster.proxies:
        raise click.UsageError("which proxies? Give --proxy")
    return cluster.proxies


def _called(targets: Sequence[Target], ready_name: str | None) -> Sequence[Target]:
    """Those to call; tells who is left out, since nobody is ready there. Raises BadParameter."""
    if ready_name is None:
        return targets
    away = testtargets.ready(ready_name).lacks(targets)
    for one in away:
        click.echo(f"{one}  NOT CALLED: no proxy is ready there, says {ready_name}")
    return [one for one in targets if one not in away]
