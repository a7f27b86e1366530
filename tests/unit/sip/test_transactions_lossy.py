"""Two transaction layers over a network that loses, doubles and reorders: whatever happens, both come to an end."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.sip.message import Request, Response, response
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transactions.server_invite import InviteServerTransaction
from support.sip_lossy import Fate, Network
from support.sip_world import HERE, THERE, RecordingUser, VirtualClock, request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.sip.transactions.client import ClientTransaction
    from signalbox.sip.transactions.server import ServerTransaction

# No datagram lives longer than T4, 5 s: that is what timers I and K rest on.
delays = st.sampled_from([0.001, 0.02, 0.3, 0.7, 2.5, 4.5])
fates = st.lists(delays, max_size=3).map(tuple)
schedules = st.lists(fates, max_size=40)


@dataclass
class Caller(RecordingUser):
    """Acknowledges each 2xx, as a user agent must."""

    layer: Transactions | None = None

    def on_response(self, tx: ClientTransaction, response: Response) -> None:
        super().on_response(tx, response)
        if tx.request.method == "INVITE" and 200 <= response.status < 300:
            assert self.layer is not None
            self.layer.send_ack(
                request("ACK", to_tag=response.to.tag, call_id=tx.request.call_id), tx.protocol, tx.remote
            )

    @property
    def finals(self) -> list[str]:
        """Ends that were told: final responses, time-outs, failures. A late 2xx may follow a time-out."""
        ends = [event for event in self.events if not event.startswith("1")]
        return [event for event in ends if event != "stray 200" or "timeout" not in ends]


@dataclass
class Callee(RecordingUser):
    """Answers after a while, and sends a 2xx again until it is acknowledged (section 13.3.1.4)."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    script: Sequence[tuple[float, int]] = ()
    finals: list[int] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)

    def on_request(self, tx: ServerTransaction, request: Request) -> None:
        super().on_request(tx, request)
        for delay, status in self.script:
            self.clock.call_later(delay, self._responding(tx, request, status))

    def on_ack(self, request: Request, source: object) -> None:
        self.acknowledged.add(request.call_id)

    def _responding(self, tx: ServerTransaction, request: Request, status: int) -> Callable[[], None]:
        def respond() -> None:
            sent = tx.respond(response(request, status, tag=tx.tag))
            if sent and status >= 200:
                self.finals.append(status)
            if sent and isinstance(tx, InviteServerTransaction) and 200 <= status < 300:
                again(0.5, 0.5)

        def again(wait: float, waited: float) -> None:
            def once_more() -> None:
                if request.call_id not in self.acknowledged and waited < 32:
                    tx.retransmit()
                    again(min(2 * wait, 4), waited + min(2 * wait, 4))

            self.clock.call_later(wait, once_more)

        return respond


@dataclass
class Pair:
    """Two hosts, and the network between."""

    clock: VirtualClock
    caller: Caller
    callee: Callee
    near: Transactions
    far: Transactions

    def run_out(self) -> None:
        """Let everything come to an end, and see that it does."""
        self.clock.run_out()
        assert (len(self.near), len(self.far)) == (0, 0)


def pair(schedule: Sequence[Fate], script: Sequence[tuple[float, int]], rest: Fate = (0.02,)) -> Pair:
    """The first datagrams have the fates of the schedule, all others the same."""
    fate = itertools.chain(schedule, itertools.repeat(rest))
    clock = VirtualClock()
    network = Network(clock, lambda: next(fate))
    near = Transactions(network.carrier(HERE), clock=clock)
    far = Transactions(network.carrier(THERE), clock=clock)
    caller, callee = Caller(layer=near), Callee(clock=clock, script=script)
    near.user, far.user = caller, callee
    return Pair(clock, caller, callee, near, far)


@settings(deadline=None, max_examples=150)
@given(schedules, st.sampled_from([200, 404]), st.sampled_from([0.0, 0.1, 3.0]))
def test_a_request_gets_one_end_and_the_user_of_the_other_side_one_request(
    schedule: list[Fate], status: int, wait_s: float
) -> None:
    world = pair(schedule, [(wait_s, status)])
    world.near.send(request("OPTIONS"), "udp", THERE, world.caller)
    world.run_out()
    assert world.caller.finals in ([str(status)], ["timeout"])
    assert world.callee.events.count("OPTIONS") == 1 or world.caller.finals == ["timeout"]
    if all(schedule):
        assert world.caller.finals == [str(status)]


@settings(deadline=None, max_examples=150)
@given(schedules, st.sampled_from([302, 486, 603]), st.sampled_from([0.0, 0.1, 3.0]))
def test_a_refused_invite_gets_one_end(schedule: list[Fate], status: int, wait_s: float) -> None:
    world = pair(schedule, [(0, 180), (wait_s, status)])
    world.near.send(request("INVITE"), "udp", THERE, world.caller)
    world.run_out()
    assert world.caller.finals in ([str(status)], ["timeout"])
    if len(schedule) < 6:
        assert world.caller.finals == [str(status)]
    assert "ACK" not in world.callee.events


@settings(deadline=None, max_examples=150)
@given(schedules, st.sampled_from([0.0, 0.1, 3.0]))
def test_an_answered_invite_is_acknowledged_and_each_2xx_is_told(schedule: list[Fate], wait_s: float) -> None:
    world = pair(schedule, [(0, 180), (wait_s, 200)])
    world.near.send(request("INVITE"), "udp", THERE, world.caller)
    world.run_out()
    assert set(world.caller.finals) in ({"200"}, {"timeout"})
    if len(schedule) < 6:
        assert set(world.caller.finals) == {"200"}
        assert world.callee.acknowledged


@settings(deadline=None, max_examples=150)
@given(schedules, st.sampled_from([0.0, 0.05, 0.3, 1.0, 1.02]), st.booleans())
def test_a_cancel_at_any_moment_ends_in_one_final_response(
    schedule: list[Fate], cancel_at: float, answered: bool
) -> None:
    world = pair(schedule, [(0.05, 180), (1.0, 200) if answered else (200.0, 480)])
    tx = world.near.invite(request("INVITE"), "udp", THERE, world.caller)
    world.clock.call_later(cancel_at, tx.cancel)
    world.run_out()
    ends = set(world.caller.finals)
    assert ends in ({"200"}, {"487"}, {"timeout"})
    assert len(world.caller.finals) == 1 or ends == {"200"}
    if not schedule:
        assert ends == ({"200"} if answered and cancel_at >= 1.0 else {"487"})


@pytest.mark.parametrize("script", [[(0, 200)], [(0, 486)], []], ids=["answered", "refused", "ringing for ever"])
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_network_that_loses_nothing_needs_no_retransmission(script: list[tuple[float, int]], protocol: str) -> None:
    world = pair([], script)
    tx = world.near.invite(request("INVITE"), protocol, THERE, world.caller)
    world.clock.advance(60)
    tx.cancel()
    world.run_out()
    assert world.near.stats.retransmitted + world.far.stats.retransmitted == 0
    assert world.near.stats.repeated + world.far.stats.repeated == 0


def test_a_network_that_loses_everything_tells_both_sides_that_time_is_out() -> None:
    world = pair([(0.02,)], [(0, 486)], rest=())
    world.near.send(request("INVITE"), "udp", THERE, world.caller)
    world.run_out()
    assert world.caller.finals == ["timeout"]
    assert world.far.stats.timeouts == 1
