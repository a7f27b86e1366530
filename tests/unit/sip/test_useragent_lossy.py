"""Two user agents over a network that loses, doubles and swaps datagrams: every call comes to one end on both sides."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from signalbox.sip.ended import CallOverError, End
from signalbox.sip.headers import NameAddr
from signalbox.sip.outgoing import Invitation, OutgoingCall
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.useragent import UserAgent
from support.sip_calls import ANSWER, OFFER, settle
from support.sip_lossy import Fate, Network
from support.sip_world import HERE, THERE, VirtualClock

if TYPE_CHECKING:
    from signalbox.sip.incoming import IncomingCall

CALLS = 30
RINGS_S = 60.0


class Pair:
    """A caller and a callee, with so much loss (0 to 1) between them."""

    def __init__(self, seed: int, loss: float) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.clock = VirtualClock()
        network = Network(self.clock, self._fate)
        self.caller = UserAgent(Transactions(network.carrier(HERE), clock=self.clock), self._answer)
        self.callee = UserAgent(Transactions(network.carrier(THERE), clock=self.clock), self._answer)
        self.taken: list[IncomingCall] = []

    def _fate(self) -> Fate:
        copies = 0 if self.random.random() < self.loss else self.random.choice((1, 1, 1, 2))
        return tuple(self.random.uniform(0.001, 0.1) for _ in range(copies))

    async def _answer(self, call: IncomingCall) -> None:
        self.taken.append(call)
        call.ring()
        match self.random.randrange(3):
            case 0:
                call.reject(486)
            case 1:
                await call.answer(ANSWER)
                await call.over()
            case _:
                # Whoever never hears that the caller gave up must stop by itself.
                self.clock.call_later(RINGS_S, call.hang_up)
                await call.over()

    def call(self) -> OutgoingCall:
        caller, callee = NameAddr.parse("<sip:a@192.0.2.1>"), NameAddr.parse("<sip:b@192.0.2.2>")
        return self.caller.call(Invitation("sip:b@192.0.2.2", caller, callee, "udp", THERE), OFFER)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            self.clock.advance(0.05)
            await settle()

    def assert_nothing_left(self) -> None:
        for ua in (self.caller, self.callee):
            assert (ua.calls, ua.sessions, ua.running, len(ua.transactions)) == (set(), {}, 0, 0)
        assert self.clock.pending == 0


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.0), (2, 0.1), (3, 0.1), (4, 0.25), (5, 0.5)])
async def test_calls_over_a_bad_network_end_on_both_sides(seed: int, loss: float) -> None:
    pair = Pair(seed, loss)
    made = [pair.call() for _ in range(CALLS)]
    await pair.pass_time(10)
    for call in made:
        call.hang_up()
    await pair.pass_time(150)
    pair.assert_nothing_left()
    assert all(call.ended is not None for call in (*made, *pair.taken))
    if loss <= 0.1:
        ours = {call.call_id: call.ended for call in made if call.ended}
        theirs = {call.request.call_id: call.ended for call in pair.taken if call.ended}
        assert ours.keys() == theirs.keys()
        assert {one.why for one in ours.values()} == {End.HUNG_UP, End.REFUSED, End.CANCELLED}
        assert all(ours[one].why is theirs[one].why and ours[one].by_us is not theirs[one].by_us for one in ours)


async def test_whoever_waits_for_an_answer_that_never_comes_is_told() -> None:
    pair = Pair(6, 1.0)
    call = pair.call()
    await pair.pass_time(40)
    with pytest.raises(CallOverError):
        await call.answered()
    pair.assert_nothing_left()
