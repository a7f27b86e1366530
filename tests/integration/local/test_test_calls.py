"""``signalbox test-call`` through a whole cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from signalbox_local.rules import Rules
from support.cluster import cluster, own_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox_local.cluster import Cluster

__all__ = ["cluster", "own_cluster"]

TIMEOUT_S = 60.0


def command(cluster: Cluster, *options: str) -> list[str]:
    file = str(cluster.directory / "cluster.json")
    return [sys.executable, "-m", "signalbox", "test-call", "--cluster", file, "--port", "0", *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}


def placed(cluster: Cluster, *options: str) -> subprocess.CompletedProcess[str]:
    """A test call that is over."""
    return subprocess.run(
        command(cluster, *options), env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def tenant_is_gone(cluster: Cluster) -> bool:
    """Whether a tenant of this name can be made."""
    with Rules.of(cluster) as rules:
        rules.tenant("test-call")
    done = subprocess.run(
        [*command(cluster)[:3], "tenants", "delete", "test-call", "--cluster", str(cluster.directory / "cluster.json")],
        env=environment(),
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode == 0


def test_a_call_goes_through_every_proxy_and_nothing_stays(cluster: Cluster) -> None:
    done = placed(cluster, "--talk", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    _, *calls, last = done.stdout.splitlines()
    proxies = [cluster.address(name, "sip") for name in cluster.names("kamailio")]
    assert [line.split()[0] for line in calls] == proxies
    assert all("0.2 s of sound heard both ways" in line and line.endswith("ended") for line in calls)
    assert last == "removed: all of it"
    assert tenant_is_gone(cluster)


def test_a_second_address_of_the_machine_may_be_a_proxy_s_own(cluster: Cluster) -> None:
    # As on a node with a proxy: the request comes from the proxy's own address, and the line is there, too.
    proxy = cluster.address("kamailio-1", "sip")
    done = placed(cluster, "--talk", "0.2", "--address", proxy.rpartition(":")[0], "--proxy", proxy)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_media_node_the_call_fails(own_cluster: Callable[..., Cluster]) -> None:
    cluster = own_cluster(replicas=1, proxies=1, media_nodes=1, recorders=0)
    cluster.kill("media-1")
    cluster.kill("rtpengine-1")
    done = placed(cluster)
    assert done.returncode == 1
    assert "FAILED: refused with 503" in done.stdout
    assert done.stdout.endswith("removed: all of it\n")


async def test_at_sigterm_what_was_made_is_removed(cluster: Cluster) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(cluster, "--talk", "60"),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            assert process.stdout is not None
            assert (await process.stdout.readline()).startswith(b"made: ")
            process.send_signal(signal.SIGTERM)
            told, failed = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, failed) == (1, b"Error: ended by SIGTERM\n")
    assert told.endswith(b"removed: all of it\n")
    assert tenant_is_gone(cluster)
