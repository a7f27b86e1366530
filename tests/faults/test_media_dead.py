"""Media die, or who looks after them does: calls without media are ended, and limits count the calls that live."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from signalbox.address import split
from signalbox.api.events.v1 import events_pb2
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from support import load
from support.site import LINE_HOST, Site, eventually
from support.wire import FRAME, Connected, Phone, connect, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from support.load import Total

DEAD_S = 4
LEASE_S = 12
SLACK_S = 4.0
"""Twice a sixth of the time until the next list, whole seconds of rtpengine's clock, a second until an edge looks."""
SETTINGS = {
    "media": {"media": {"dead_after_s": DEAD_S}},
    "routing": {"routing": {"counters": {"media_lease_s": LEASE_S}}},
}
STEADY = 5
"""Calls that talk while others come and go."""
TRIES = 3
RATE = 40
SECONDS = 18


@pytest.fixture(scope="module")
def watched_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster that is quick to find media dead."""
    with (
        Cluster(tmp_path_factory.mktemp("media"), Options(name="media", recorders=0, settings=SETTINGS)) as cluster,
        contextlib.closing(Site(cluster)) as site,
    ):
        yield site


@pytest.fixture
async def site(watched_site: Site) -> AsyncIterator[Site]:
    """The cluster, whole before the test and after it."""
    yield watched_site
    watched_site.make_whole()


@pytest.fixture
def redis(site: Site) -> Iterator[Redis]:
    """The cluster's redis."""
    host, port = split(site.cluster.address("redis", "redis"))
    with Redis(host=host, port=port) as client:
        yield client


def live(redis: Redis, number: str) -> int:
    """Calls of a number that its limit counts."""
    return live_under(redis, f"signalbox:calls:number/{number}")


@contextlib.asynccontextmanager
async def talking(*calls: Connected) -> AsyncIterator[None]:
    """Within: both sides of these calls send RTP."""

    async def talk() -> None:
        targets = [
            (phone, split(stream(message.body).address))
            for call in calls
            for phone, message in ((call.caller, call.answer), (call.line, call.invite))
        ]
        for number in range(1 << 16):
            packet = struct.pack("!BBHII", 0x80, 8, number, number * 160, 1) + FRAME
            for phone, target in targets:
                phone.rtp.sendto(packet, target)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()


async def is_ended(phone: Phone, within: float) -> None:
    """Take the BYE of a call whose media are dead."""
    bye = await phone.expect("BYE", within=within)
    assert bye.get("Reason").endswith('text="Media Timeout"')
    phone.send(phone.reply(bye, 200))


async def test_a_call_in_which_both_sides_fall_silent_is_ended_by_bye_to_both(site, redis, caller, line):
    number = site.number([line.address], anchored=True, most_calls=9)
    connected = await connect(caller, line, number)
    async with talking(connected):
        await asyncio.sleep(DEAD_S + SLACK_S)
        assert live(redis, number) == 1
    silent = time.monotonic()
    await asyncio.gather(is_ended(caller, DEAD_S + SLACK_S), is_ended(line, DEAD_S + SLACK_S))
    assert time.monotonic() - silent > DEAD_S - 1.5
    events = await site.events_until(connected.call.call_id, "hung_up")
    ends = [event.hung_up for event in events if event.HasField("hung_up")]
    assert [(end.party, end.cause.rpartition("=")[2]) for end in ends] == [
        (events_pb2.PARTY_SIGNALBOX, '"Media Timeout"')
    ]
    await eventually(lambda: live(redis, number) == 0, "the call counts no more")


async def test_a_call_on_hold_goes_on(site, redis, caller, line):
    number = site.number([line.address], anchored=True, most_calls=9)
    connected = await connect(caller, line, number)
    await connected.reinvite("inactive")
    # Longer than a lease too: that nobody speaks is no reason to count the call no more.
    await asyncio.sleep(LEASE_S + SLACK_S)
    assert live(redis, number) == 1
    await connected.reinvite()
    assert await connected.both_hear()
    await connected.hang_up()
    await eventually(lambda: live(redis, number) == 0, "the call counts no more")


async def lose_the_first_proxy(site: Site) -> None:
    """Proxy and sidecar are dead, and all that they wrote down is gone."""
    for name in ("kamailio-1", "edge-1"):
        site.cluster.kill(name)
    shutil.rmtree(site.cluster.journal("edge-1"))
    shutil.rmtree(site.cluster.directory / "kamailio-1" / "events")
    (site.cluster.directory / "kamailio-1" / "events").mkdir()


async def test_a_call_of_a_proxy_that_vanished_is_ended_by_another(site, redis, phone):
    caller, line = await phone(), await phone(LINE_HOST)
    number = site.number([line.address], anchored=True, most_calls=9)
    connected = await connect(caller, line, number)
    id = (await site.events_until(connected.call.call_id, "answered"))[0].call_id
    await eventually(lambda: redis.exists(f"signalbox:dialog:{id}"), "the dialog is known")
    async with talking(connected):
        await lose_the_first_proxy(site)
        await asyncio.sleep(LEASE_S + SLACK_S)
        assert live(redis, number) == 1
    await asyncio.gather(is_ended(caller, DEAD_S + SLACK_S), is_ended(line, DEAD_S + SLACK_S))
    await eventually(lambda: live(redis, number) == 0, "the call counts no more")


async def test_a_call_that_nobody_knows_any_more_is_not_counted_for_ever(site, redis, phone):
    caller, line = await phone(), await phone(LINE_HOST)
    number = site.number([line.address], anchored=True, most_calls=9)
    connected = await connect(caller, line, number)
    id = (await site.events_until(connected.call.call_id, "answered"))[0].call_id
    async with talking(connected):
        await eventually(lambda: redis.exists(f"signalbox:dialog:{id}"), "the dialog is known")
        await lose_the_first_proxy(site)
        redis.delete(f"signalbox:dialog:{id}")
        await asyncio.sleep(LEASE_S + SLACK_S)
        assert live(redis, number) == 1
    # It may have been seen alive until it was dead.
    within = DEAD_S + LEASE_S + SLACK_S
    waited = await eventually(lambda: live(redis, number) == 0, "the lease is over", within=within)
    assert waited > LEASE_S - DEAD_S - SLACK_S


async def test_a_call_counts_again_when_routing_was_away_for_longer_than_a_lease(site, redis, caller, line):
    number = site.number([line.address], anchored=True, most_calls=9)
    connected = await connect(caller, line, number)
    async with talking(connected):
        # Before its media were seen alive it had a lease of a day.
        await eventually(lambda: renewed_under(redis, number), "its media renew its lease")
        with site.killed("routing-1", "routing-2"):
            await eventually(lambda: live(redis, number) == 0, "the lease is over", within=LEASE_S + 4 * SLACK_S)
        await eventually(lambda: live(redis, number) == 1, "the call counts again", within=DEAD_S + SLACK_S + 10)
        await connected.hang_up()
    await eventually(lambda: live(redis, number) == 0, "the call counts no more")


async def steady_calls(site: Site, caller: Phone, line: Phone) -> tuple[str, Sequence[Connected]]:
    number = site.number([line.address], anchored=True, most_calls=9)
    return number, [await connect(caller, line, number) for _ in range(STEADY)]


async def counted_throughout(redis: Redis, number: str, until: asyncio.Future[None]) -> None:
    """No call that lives is freed, whatever happens meanwhile."""
    while not until.done():
        assert live(redis, number) == STEADY
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "victims",
    [("media-1", "media-2"), ("rtpengine-1",), ("routing-1",), ("edge-1",)],
    ids=["sidecars", "node", "replica", "edge"],
)
async def test_killed_under_load_counts_come_to_zero_and_none_is_freed_early(
    site: Site, redis: Redis, phone, tmp_path: Path, victims: Sequence[str]
) -> None:
    caller, line = await phone(), await phone(LINE_HOST)
    number, steady = await steady_calls(site, caller, line)
    none_may_fail = victims[0].startswith(("media", "routing"))
    for _ in range(TRIES):
        late = stalls(site)
        total = await killed_under_load(site, redis, tmp_path, victims, number, steady)
        if not (none_may_fail and total.failed) or stalls(site) == late:
            break
        # The machine stood still: it gave no time to servers that nobody had killed.
        print(f"{total.failed} failed while the machine stood still: once more")
    print(total)
    if none_may_fail:
        assert total.successful == total.calls, f"{total}; {ends(site)}"
    for connected in steady:
        await connected.hang_up()
    names = [name.decode() for name in redis.keys("signalbox:calls:*")]
    await eventually(
        lambda: not any(live_under(redis, name) for name in names),
        "all counts are zero",
        lambda: {name: live_under(redis, name) for name in names},
        within=LEASE_S + SLACK_S,
    )
    # One that no replica took in time is told again.
    assert not any(site.metric(name, "signalbox_media_reports_given_up_total") for name in ("media-1", "media-2"))


def stalls(site: Site) -> int:
    """How often an rtpengine or redis did not answer in time."""
    told = {"media": "rtpengine_unhealthy", "routing": "counts_unavailable"}
    return sum(site.cluster.log(f"{kind}-{n}").read_text().count(word) for kind, word in told.items() for n in (1, 2))


def ends(site: Site) -> Counter[str]:
    """Why calls ended or were refused, for people."""
    return Counter(
        f"{event.WhichOneof('event')} {event.decided.why}{event.failed.code or ''}"
        for event in site.all_events()
        if event.WhichOneof("event") in {"decided", "failed"}
    )


async def killed_under_load(
    site: Site, redis: Redis, tmp_path: Path, victims: Sequence[str], number: str, steady: Sequence[Connected]
) -> Total:
    """Calls at a steady rate, in which each of the victims is killed and comes back."""
    begun = time.monotonic()
    async with (
        talking(*steady),
        load.calls(site, tmp_path, rate=RATE, seconds=SECONDS, hold_ms=2000, anchored=True, most_calls=10_000) as calls,
    ):
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        counting = asyncio.create_task(counted_throughout(redis, number, over))
        for victim in victims:
            await asyncio.sleep(3)
            with site.killed(victim):
                await asyncio.sleep(0 if victim == "rtpengine-1" else 2)
        total = await calls
        # Longer than any lease that was given before.
        await asyncio.sleep(max(0.0, begun + SECONDS + LEASE_S - time.monotonic()))
        over.set_result(None)
        await counting
    return total


def renewed_under(redis: Redis, number: str) -> int:
    """Calls of a number whose lease is one that living media give."""
    latest = (time.time() + LEASE_S) * 1000
    return int(redis.zcount(f"signalbox:calls:number/{number}", "-inf", latest))


def live_under(redis: Redis, key: str) -> int:
    return int(redis.zcount(key, f"({time.time() * 1000:.0f}", "+inf"))
