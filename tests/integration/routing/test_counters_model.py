"""The counters in redis do what slow, obvious ones do, whatever comes.

Claims, hedges, returns, answers, ends; and a replica that is cut off, whose claims are counted when all that is over.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from signalbox.domain.claims import Claim, DialClaim, Limit, Order, Window, uncounted
from signalbox.routing import counters_script
from support.counters import make
from support.counters_model import ModelCounters
from support.redis import RedisServer, redis_server

if TYPE_CHECKING:
    from signalbox.routing.counters import RedisCounters

__all__ = ["redis_server"]

STEPS = 400
LINES = tuple(f"line/acme/{name}" for name in "abcde")
CAPS = dict(zip(LINES, (1, 2, 0, 1, 3), strict=True))


class World:
    """A few calls, numbers and lines, so that everything meets everything."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.claims: dict[tuple[str, str], Claim] = {}
        self.owed: dict[tuple[str, str], Claim] = {}

    def call_id(self) -> str:
        return f"call-{self.random.randrange(25)}"

    def limit(self) -> Limit:
        name = self.random.choice(("number/1", "number/2", "tenant/acme", "trunk/t"))
        if self.random.random() < 0.7:
            return Limit(name, Window.CALLS, self.random.choice((0, 1, 3, 5, 5, 8)))
        return Limit(name, Window.MONTH, self.random.choice((2, 5, 50)), self.random.choice(("2026-11", "2026-12")))

    def dial(self) -> DialClaim:
        lines = tuple(self.random.sample(LINES, self.random.randint(1, 5)))
        order = self.random.choice(list(Order))
        key = self.random.choice(("k", "l"))
        takes, most = self.random.randint(0, 3), self.random.choice((1, 3, 16))
        return DialClaim(lines, tuple(CAPS[line] for line in lines), order, key, takes, most)

    def claim(self) -> Claim:
        """A new one, or one that was asked before: a claim is the same whoever asks."""
        call_id, part = self.call_id(), self.random.choice(("", "", "", "n2"))
        if self.random.random() < 0.1:
            return self._claim("observer", "", look=True)
        if (call_id, part) not in self.claims:
            self.claims[call_id, part] = self._claim(call_id, part, look=False)
        return self.claims[call_id, part]

    def _claim(self, call_id: str, part: str, *, look: bool) -> Claim:
        limits = {limit.name: limit for limit in (self.limit() for _ in range(self.random.randint(0, 3)))}
        dials = tuple(self.dial() for _ in range(self.random.randint(0, 2)))
        return Claim(call_id, "acme", tuple(limits.values()), dials, part, look)


async def step(world: World, real: RedisCounters, model: ModelCounters) -> None:
    call_id, line = world.call_id(), world.random.choice([*"abcde", ""])
    steps = ("settle", "cut off", "back", "give back", "answered", "alive", "ended")
    match world.random.choices(steps, (6, 1, 0.5, 2, 2, 1, 1))[0]:
        case "settle":
            claims = [world.claim() for _ in range(world.random.randint(1, 4))]
            assert await real.settle(claims) == model.settle(claims)
        case "cut off":
            claim = world.claim()
            if not claim.look:
                world.owed[claim.call_id, claim.part] = claim
        case "back":
            for claim in world.owed.values():
                await real.report([counters_script.count(claim, uncounted(claim))])
                model.recover(claim, uncounted(claim))
            world.owed.clear()
        case "give back":
            claims = [claim for (id, _), claim in world.claims.items() if id == call_id]
            real.give_back(claims)
            await real.settled()
            model.give_back(claims)
        case "answered":
            await real.report([["answered", call_id, line]])
            model.answered(call_id, line)
        case "alive":
            await real.report([["alive", call_id]])
        case "ended":
            await real.report([["ended", call_id]])
            model.end(call_id)


@pytest.mark.parametrize("seed", range(25))
async def test_the_counters_do_what_the_model_does(redis_server: RedisServer, seed: int) -> None:
    world, model = World(seed), ModelCounters()
    replicas = [make(redis_server), make(redis_server)]
    names = ("number/1", "number/2", "tenant/acme", "trunk/t", *LINES)
    looks = [Claim("observer", "acme", tuple(Limit(name, Window.CALLS, 99) for name in names), look=True)]
    for number in range(STEPS):
        await step(world, replicas[number % 2], model)
        if number % 10 == 0:
            assert await replicas[0].settle(looks) == model.settle(looks)
    for replica in replicas:
        await replica.close()
