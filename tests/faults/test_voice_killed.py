"""Workers with voice, media sidecars and rtpengines are killed under calls, or told to end: no caller is left without
an end, whoever calls after a kill is served, and nothing is left of any call.

VOICE_CHAOS_SECONDS in the environment says how long parts are killed at least; each is killed once all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from signalbox.commands.journals import JournalReader
from signalbox.media.workercalls import call_of
from signalbox.ng import NgClient
from signalbox.settings import EtcdSettings
from signalbox.sip.ended import CallOverError
from signalbox.store import keys
from signalbox.store.etcd import EtcdStore
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from support.phone import Phone, answers
from support.ports import free_port
from support.site import CALLER_HOST, LINE_HOST, eventually
from support.voice_site import OVER_S, VoiceSite, dial, node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from support.phone import Talk

SECONDS = float(os.environ.get("VOICE_CHAOS_SECONDS", "15"))
VICTIMS = ("ivr-1", "rtpengine-1", "media-1", "ivr-2", "rtpengine-2", "media-2")
CALLERS = 6
"""So many call, again and again."""
PATIENCE_S = 8.0
"""Who hears nothing for so long hangs up."""
UNWRITTEN_S = 2.0
"""A worker that is killed so soon after a call may not have written down how its flow ended."""
REACHED = "reached its line"
MENU = node(
    "menu", "menu", prompt="nothing", branches=[{"digits": "1", "next": "dial"}], repeats=9, timeout="1s",
    noInput="menu", noMatch="menu",
)  # fmt: skip
SETTINGS = {
    # Not less: it holds for the line too, which is in the test's own process, and that may be slow.
    "edge": {"edge": {"kamailio": {"connect_timeout_ms": 2000}}},
    "media": {"media": {"dead_after_s": 4, "held_dead_after_s": 4, "lease_ttl_s": 3}},
    "ivr": {"ivr": {"lease_ttl_s": 3, "drain_s": 60}},
    "routing": {"routing": {"counters": {"media_lease_s": 20}}},
}


@pytest.fixture(scope="module")
def voice_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoiceSite]:
    """Two of all that is killed."""
    options = Options(
        name="voice-faults", replicas=1, proxies=1, media_nodes=2, recorders=0, voice_workers=2, settings=SETTINGS
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("voice-faults")
    with Cluster(directory, options) as cluster, contextlib.closing(VoiceSite(cluster, free_port())) as site:
        yield site


@pytest.fixture
async def site(voice_site: VoiceSite) -> AsyncIterator[VoiceSite]:
    """The cluster, whole before the test and after it."""
    yield voice_site
    await asyncio.to_thread(voice_site.make_whole)


@pytest.fixture
async def party(site: VoiceSite) -> AsyncIterator[Party]:
    """Who call, and who are called."""
    async with Phone.open(CALLER_HOST) as caller, Phone.open(LINE_HOST) as line:
        number = site.flow(
            MENU, dial(site.line(line, concurrent_calls=1000)), limits={"concurrent_calls": 1000}
        )  # fmt: skip
        yield Party(site, caller, line, number)


@dataclass(frozen=True, slots=True)
class Kill:
    """``since``, ``until``: the process died between these; ``back``: it was ready again. Monotonic times."""

    victim: str
    since: float
    until: float
    back: float = math.inf


@dataclass(slots=True)
class Call:
    """What a caller got. Times are monotonic; ``told``: the party that did not hang up was told of the end."""

    caller: str
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    got: str = ""
    call_id: str = ""
    told: bool = True

    def hit(self, kills: Sequence[Kill], kind: str = "", after_s: float = 0.0) -> bool:
        """Something was killed while it went on, or so soon after it."""
        meant = (one for one in kills if one.victim.startswith(kind))
        return any(self.began <= one.until and self.ended + after_s >= one.since for one in meant)


class Party:
    """Calls through a menu to a line, one caller each."""

    def __init__(self, site: VoiceSite, caller: Phone, line: Phone, number: str) -> None:
        self.site, self.caller, self.line, self.number = site, caller, line, number
        self._users = itertools.count(1)
        self._rung: dict[str, Talk] = {}
        line.behave = self._answer

    async def _answer(self, talk: Talk) -> None:
        self._rung[str(talk.incoming.request.from_.uri.user)] = talk
        await answers(talk)

    async def reach(self) -> tuple[Call, Talk, Talk | None]:
        """Call, press the key until the line is heard. ``got`` says what came of it, the call goes on if that is
        REACHED; the last is the line's side."""
        call = Call(f"0281{next(self._users):07d}")
        talk = await self.caller.call(self.number, self.site.sip(), caller=call.caller)
        call.call_id = talk.call_id
        try:
            await talk.answered()
        except CallOverError as error:
            call.got = f"refused {error.ended.status}"
        except TimeoutError:
            call.got = "no answer, and no end"
        else:
            call.got = await self._through(call, talk)
        return call, talk, self._rung.get(call.caller)

    async def _through(self, call: Call, talk: Talk) -> str:
        heard, press = time.monotonic(), 0.0
        while True:
            now, other = time.monotonic(), self._rung.get(call.caller)
            if talk.sip.ended is not None:  # type: ignore[attr-defined]
                return f"ended: {talk.sip.ended.why.value} {talk.sip.ended.reason}".strip()  # type: ignore[attr-defined]
            if other is not None and talk.voice.hears_sound(other.says) and other.voice.hears_sound(talk.says):
                return REACHED
            if talk.voice.packets and talk.voice.silent_for() < 0.2:
                heard = now
            if now > heard + PATIENCE_S:
                return "heard nothing and hung up"
            if other is None and now > press:
                await talk.press("1")
                press = time.monotonic() + 2
            await asyncio.sleep(0.02)

    async def call(self, *, line_ends: bool) -> Call:
        """From the first to the last: one of both hangs up, and the other is to be told."""
        call, talk, other = await self.reach()
        if call.got == REACHED and other is not None and line_ends:
            other.hang_up()
            call.told = await ends(talk)
        elif call.got == REACHED and other is not None:
            talk.hang_up()
            call.told = await ends(other)
        for one in filter(None, (talk, other)):
            hush(one)
            one.hang_up()
        call.ended = time.monotonic()
        return call


async def ends(talk: Talk) -> bool:
    """True if the call is over soon: the other side has hung up."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await talk.sip.over()
    except TimeoutError:
        return False
    return True


def hush(talk: Talk) -> None:
    """Say nothing any more."""
    talk.voice.hush()
    if talk.voice._talking is not None:
        talk.voice._talking.cancel()


async def test_a_worker_that_is_told_to_end_takes_no_calls_and_loses_none(site: VoiceSite, party: Party) -> None:
    running = [await party.reach() for _ in range(8)]
    assert {call.got for call, _, _ in running} == {REACHED}
    here = site.at_worker("ivr-1", "calls")
    assert 0 < here < len(running)
    pid = site.cluster.pid("ivr-1")
    os.kill(pid, signal.SIGTERM)
    await eventually(lambda: site.metric("ivr-1", "signalbox_ivr_draining") == 1, "it drains", within=OVER_S)
    more = [await party.reach() for _ in range(4)]
    assert {call.got for call, _, _ in more} == {REACHED}
    assert site.at_worker("ivr-1", "calls") == here
    assert site.at_worker("ivr-2", "calls") == len(running) + len(more) - here
    for n, (_, talk, other) in enumerate(running + more):
        assert other is not None
        await talk.hear_each_other(other)
        one, told = (talk, other) if n % 2 else (other, talk)
        one.hang_up()
        await told.over()
        hush(talk)
        hush(other)
    await eventually(lambda: site.cluster.pid("ivr-1") == 0, "the worker ends", within=OVER_S)
    assert "exited: ivr-1 (exit status 0;" in (site.cluster.directory / "run" / "supervisord.log").read_text()
    store = EtcdStore.open(EtcdSettings(endpoints=[site.cluster.address("etcd", "client")]))
    try:
        assert await store.get(keys.live_voice("ivr-1")) is None
        assert await store.get(keys.live_voice("ivr-2")) is not None
    finally:
        await store.close()
    for call, _, _ in running + more:
        call.ended = time.monotonic()
        assert (await site.ended(call.call_id)).cause != "error"
    await ended_once(site, [call for call, _, _ in running + more], [])
    await asyncio.to_thread(site.make_whole)
    await site.nothing_left()


async def test_parts_are_killed_again_and_again_and_every_call_has_an_end(site: VoiceSite, party: Party) -> None:
    over = asyncio.Event()
    calls: list[Call] = []

    async def keep_calling(n: int) -> None:
        for turn in itertools.count(n):
            if over.is_set():
                return
            calls.append(await party.call(line_ends=turn % 2 == 0))

    callers = [asyncio.create_task(keep_calling(n)) for n in range(CALLERS)]
    kills = await kill_again_and_again(site.cluster)
    await asyncio.sleep(PATIENCE_S / 2)
    over.set()
    await asyncio.gather(*callers)
    await asyncio.to_thread(site.make_whole)
    print(table(calls, kills))
    # Those too that began while something was down.
    after = [call for call in calls if not call.hit(kills)]
    assert any(kill.until < call.began < kill.back for call in after for kill in kills)
    wrong = [call for call in after if call.got != REACHED or not call.told]
    assert not wrong, [(call, site.told(call.call_id), kills) for call in wrong]
    for kill in kills:
        assert any(call.got == REACHED and call.began > kill.until for call in calls), kill
    assert not [call for call in calls if call.got == "no answer, and no end"]
    # Whom their worker left alone hears nothing; all others are told.
    alone = [call for call in calls if not call.told or call.got == "heard nothing and hung up"]
    assert all(call.hit(kills, "ivr") for call in alone), alone
    assert all(call.got == REACHED for call in calls if not call.hit(kills, "ivr") and not call.hit(kills, "rtpengine"))
    await ended_once(site, calls, kills)
    await nothing_left(site, calls, kills)


async def kill_again_and_again(cluster: Cluster) -> list[Kill]:
    """Kill one part after the other at moments drawn by chance, and start it again a second later; wait until it is
    ready."""
    chance, kills, began = random.Random(20), [], time.monotonic()
    for victim in itertools.cycle(VICTIMS):
        if len(kills) >= len(VICTIMS) and time.monotonic() > began + SECONDS:
            return kills
        await asyncio.sleep(chance.uniform(1.0, 2.5))
        since = time.monotonic()
        await asyncio.to_thread(cluster.kill, victim)
        until = time.monotonic()
        await asyncio.sleep(1.0)
        await asyncio.to_thread(cluster.start_process, victim)
        kills.append(Kill(victim, since, until, time.monotonic()))
    raise AssertionError("unreachable")


def table(calls: Sequence[Call], kills: Sequence[Kill]) -> str:
    """What calls got, by what was killed first while they went on."""
    rows: Counter[tuple[str, str]] = Counter()
    for call in calls:
        hit = next((f"{one.victim.partition('-')[0]} killed" for one in kills if call.hit([one])), "")
        down = "begun with a part down" if any(one.until < call.began < one.back for one in kills) else "all parts up"
        rows[hit or down, call.got + ("" if call.told else ", not told of the end")] += 1
    lines = [f"{len(calls)} calls, killed: {', '.join(one.victim for one in kills)}"]
    lines += [f"  {where:24}{got:52}{count:5}" for (where, got), count in sorted(rows.items())]
    return "\n".join(lines)


async def ended_once(site: VoiceSite, calls: Sequence[Call], kills: Sequence[Kill]) -> None:
    """One event ends each call, and each leg, at the proxy; and at most one the flow, at one of the workers."""
    ids: dict[str, str] = {}
    ends: Counter[str] = Counter()

    def all_ended() -> bool:
        events = site.all_events()
        ids.update((one.asked.sip_call_id, one.call_id) for one in events if one.HasField("asked"))
        ends.clear()
        ends.update(one.call_id for one in events if one.WhichOneof("event") in ("hung_up", "failed"))
        return all(ends[id] for id in ids.values())

    def open_ones() -> Mapping[str, str]:
        return {sip: id for sip, id in ids.items() if not ends[id]}

    await eventually(all_ended, "an end of each call", open_ones, within=OVER_S)
    assert {call.call_id for call in calls} <= ids.keys()
    assert set(ends.values()) == {1}, [id for id, count in ends.items() if count > 1]
    flows: Counter[str] = Counter()

    def untold() -> list[Call]:
        readers = [JournalReader(site.cluster.journal(name), name) for name in site.cluster.names("ivr")]
        flows.clear()
        flows.update(one.call_id for reader in readers for one in reader.read() if one.HasField("flow_ended"))
        return [call for call in calls if not flows[ids[call.call_id]] and not call.hit(kills, "ivr", UNWRITTEN_S)]

    await eventually(lambda: not untold(), "an end of each flow", untold, within=OVER_S)
    assert max(flows.values()) == 1, flows.most_common(3)


async def nothing_left(site: VoiceSite, calls: Sequence[Call], kills: Sequence[Kill]) -> None:
    """Only calls whose worker was killed may be left at rtpengines, and sidecars know that they are dead: they will be
    deleted some minutes later."""
    hit = {site.id_of(call.call_id) for call in calls if call.hit(kills, "ivr")}

    def dead() -> bool:
        left = site.media_calls()
        known = sum(site.metric(name, "signalbox_media_dead_calls") for name in site.cluster.names("media"))
        return len(left) == known and {call_of(one) for one in left} <= hit

    await eventually(dead, "calls at rtpengine that are not known to be dead", site.media_calls, within=OVER_S)
    print(f"{len(site.media_calls())} left at rtpengines by workers that were killed")
    for name in site.cluster.names("rtpengine"):
        client = await NgClient.connect(site.cluster.address(name, "ng"))
        for left in (await client.request("list", {"limit": 1000}))["calls"]:  # type: ignore[union-attr]
            await client.request("delete", {"call-id": left, "delete-delay": 0})
        client.close()
    await site.nothing_left()
