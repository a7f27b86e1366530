"""The steps of the demo after the start. Each fills its Step in, and raises what keeps it from going on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox_local.audio import AudioCall, AudioReport, audio_call
from signalbox_local.demo import load
from signalbox_local.demo.obedience import Change, judge, read_attempts
from signalbox_local.sipp import SippResult, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox_local.audio import Party
    from signalbox_local.cluster import Cluster
    from signalbox_local.demo.report import Step
    from signalbox_local.rules import Rules

TENANT = "acme"
NUMBER = "4001234567"

CHANGE_RATE = 50.0
CHANGE_COUNT = 4
CHANGE_INTERVAL_S = 1.5
OBEY_LIMIT_MS = 1000.0
FAULT_RATE = 100.0
FAULT_SECONDS = 10.0
KILLED_AFTER_S = 3.0
BACK_AFTER_S = 6.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What the steps share."""

    cluster: Cluster
    rules: Rules
    workdir: Path
    addresses: dict[str, str]
    """Addresses of the lines by their ids."""

    @property
    def caller_host(self) -> str:
        """Source address of the callers: the trunk's."""
        return self.cluster.caller_host

    @classmethod
    def set_up(cls, cluster: Cluster, rules: Rules, workdir: Path) -> Scene:
        """Choose where the lines listen."""
        ports = [free_port(cluster.line_host) for _ in range(3)]
        addresses = {f"line-{x}": f"{cluster.line_host}:{port}" for x, port in zip("abc", ports, strict=True)}
        return cls(cluster, rules, workdir, addresses)

    @property
    def proxies(self) -> list[str]:
        """SIP addresses of the proxies."""
        return [self.cluster.address(name, "sip") for name in self.cluster.names("kamailio")]

    def lines(self) -> list[load.Line]:
        """Line A busy, the others answer."""
        return [
            load.Line(id, "uas_busy.xml" if id == "line-a" else "uas_load.xml", address)
            for id, address in self.addresses.items()
        ]


async def provision(step: Step, scene: Scene) -> None:
    """Tenant, trunk, number and two lines through the gRPC API."""
    rules = scene.rules
    rules.tenant(TENANT)
    rules.trunk("carrier", [scene.caller_host])
    for line, address in scene.addresses.items():
        rules.line(TENANT, line, address)
    number = rules.number(TENANT, NUMBER, [["line-a"], ["line-b"]], ring_s=20)
    step.did += [f"created tenant {TENANT}, trunk carrier ({scene.caller_host}), lines A, B and C, number {NUMBER}"]
    await asyncio.to_thread(scene.cluster.wait_for_rules, number.etag)
    step.headline = f"{NUMBER} rings line A, then line B (revision {number.etag})"
    step.saw += [f"{step.headline}; every replica and every proxy knows"]
    step.figures["revision"] = int(number.etag)


async def speak(step: Step, scene: Scene) -> None:
    """Two calls with audio, one ended by each side."""
    step.did += [f"called {NUMBER} twice with SIPp and real G.711 A-law audio: each side speaks digits as tones"]
    endings: tuple[Party, Party] = ("caller", "line")
    for n, (party, proxy) in enumerate(zip(endings, scene.proxies, strict=False), 1):
        report = await audio_call(
            AudioCall(
                proxy=proxy,
                number=NUMBER,
                line=scene.addresses["line-b"],
                busy_line=scene.addresses["line-a"],
                workdir=scene.workdir / f"audio-{n}",
                caller_host=scene.caller_host,
                hang_up=party,
            )
        )
        _note_audio(step, scene, n, report)
    step.headline = "line A was busy, line B answered; every digit was heard on the other side, through rtpengine"


def _note_audio(step: Step, scene: Scene, n: int, report: AudioReport) -> None:
    step.problems += [f"call {n}: {problem}" for problem in report.problems]
    relays = {scene.cluster.address(name, "rtp"): name for name in scene.cluster.names("rtpengine")}
    via = set()
    for side, heard in (("line", report.by_line), ("caller", report.by_caller)):
        host = heard.source.rpartition(":")[0]
        via.add(relays.get(host, f"nobody but {heard.source or 'silence'}"))
        step.check(host in relays, f"call {n}: what the {side} heard came from {heard.source or 'nowhere'}")
        step.figures[f"call_{n}_{side}"] = {"said": heard.said, "heard": heard.heard, "from": heard.source}
    step.saw += [
        f"call {n}: line A busy (486), line B answered; through {' and '.join(sorted(via))} the line heard "
        f"{report.by_line.heard or 'nothing'}, the caller {report.by_caller.heard or 'nothing'}; "
        f"the {report.hung_up_by} hung up"
    ]


async def change(step: Step, scene: Scene) -> None:
    """Change the rule again and again under load; the journals tell when each proxy obeyed."""
    seconds = CHANGE_INTERVAL_S * (CHANGE_COUNT + 1)
    traffic = load.Traffic(NUMBER, scene.caller_host, scene.proxies, CHANGE_RATE, seconds)
    step.did += [
        f"{CHANGE_RATE:.0f} calls/s through {len(scene.proxies)} proxies for {seconds:.0f} s; "
        f"the rule changed {CHANGE_COUNT} times: line B → line C and back"
    ]
    changes: list[Change] = []
    number = scene.rules.get_number(NUMBER)
    workdir = scene.workdir / "change"
    async with load.lines(scene.lines(), workdir), load.calls(traffic, workdir) as callers:
        old, new = "line-b", "line-c"
        for _ in range(CHANGE_COUNT):
            await asyncio.sleep(CHANGE_INTERVAL_S)
            asked = time.time()
            number = scene.rules.change(number, [["line-a"], [new]], ring_s=20)
            changes.append(Change(asked, time.time(), old, new))
            old, new = new, old
        results = await callers
    _note_calls(step, results, traffic)
    await _note_obedience(step, scene, changes, traffic)


async def _note_obedience(step: Step, scene: Scene, changes: Sequence[Change], traffic: load.Traffic) -> None:
    journals = {name: scene.cluster.journal(name) for name in scene.cluster.names("edge")}
    attempts = await read_attempts(journals, traffic.calls_each)
    resolution_ms = 1000 * len(journals) / traffic.rate
    worst = 0.0
    ends = [change.asked for change in changes[1:]] + [float("inf")]
    for name in journals:
        seen = [judge(change, attempts[name], until) for change, until in zip(changes, ends, strict=True)]
        followed = [obedience for obedience in seen if obedience is not None]
        step.check(len(followed) == len(changes), f"{name} followed {len(followed)} of {len(changes)} changes")
        if not followed:
            continue
        last_old = max(0.0, *(obedience.last_old_ms for obedience in followed))
        first_new = max(obedience.first_new_ms for obedience in followed)
        certain = max(obedience.certain_ms for obedience in followed)
        worst = max(worst, certain)
        step.figures[name] = {"last_old_call_ms": round(last_old, 1), "first_new_call_ms": round(first_new, 1)}
        step.saw += [
            f"{name}: the last call to the old line {last_old:.0f} ms after the update was answered, "
            f"the first to the new one {first_new:.0f} ms (the worst of {len(changes)} changes)"
        ]
        step.check(certain <= OBEY_LIMIT_MS, f"{name} was known to obey only after {certain:.0f} ms")
    step.figures |= {"obeyed_within_ms": round(worst, 1), "resolution_ms": resolution_ms, "changes": len(changes)}
    step.headline = f"every proxy obeyed within {worst:.0f} ms (one call every {resolution_ms:.0f} ms tells)"
    step.saw += [step.headline]


async def kill_replica(step: Step, scene: Scene) -> None:
    """A routing replica dies under load and comes back."""
    cluster, victim = scene.cluster, "routing-1"
    traffic = load.Traffic(NUMBER, scene.caller_host, scene.proxies, FAULT_RATE, FAULT_SECONDS)
    step.did += [
        f"{FAULT_RATE:.0f} calls/s through {len(scene.proxies)} proxies for {FAULT_SECONDS:.0f} s; "
        f"kill -9 of {victim} after {KILLED_AFTER_S:.0f} s, started again {BACK_AFTER_S - KILLED_AFTER_S:.0f} s later"
    ]
    workdir = scene.workdir / "fault"
    async with load.lines(scene.lines(), workdir), load.calls(traffic, workdir) as callers:
        begun = time.monotonic()
        await asyncio.sleep(KILLED_AFTER_S)
        cluster.kill(victim)
        await asyncio.sleep(begun + BACK_AFTER_S - time.monotonic())
        started = time.monotonic()
        await asyncio.to_thread(cluster.start_process, victim)
        back_s = time.monotonic() - started
        late = ", when the calls were over: the machine is busy" if callers.done() else ""
        results = await callers
    step.figures["ready_again_after_s"] = round(back_s, 2)
    step.saw += [f"{victim} was ready again {back_s:.1f} s after its start{late}"]
    _note_calls(step, results, traffic)
    step.headline = f"{step.figures['successful']} of {step.figures['calls']} calls succeeded"


def _note_calls(step: Step, results: Sequence[SippResult], traffic: load.Traffic) -> None:
    expected = traffic.calls_each * len(results)
    successful = sum(result.statistics.successful for result in results)
    failed = sum(result.statistics.failed for result in results)
    unexpected = sum(result.statistics.unexpected for result in results)
    retransmissions = sum(result.statistics.retransmissions for result in results)
    step.figures |= {
        "calls": expected,
        "successful": successful,
        "failed": failed,
        "unexpected": unexpected,
        "retransmissions": retransmissions,
    }
    step.saw += [f"{successful} of {expected} calls succeeded, {failed} failed, {retransmissions} messages sent again"]
    step.check(successful == expected, f"only {successful} of {expected} calls succeeded")
    step.check(failed == 0 and unexpected == 0, f"{failed} calls failed, {unexpected} of them got an unexpected reply")
    for result in results:
        step.check(result.exit_code == 0, f"SIPp ended with {result.exit_code}: {result.errors[-300:]}")
