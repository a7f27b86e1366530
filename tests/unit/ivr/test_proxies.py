"""The proxies by which lines are called, and in which order."""

from __future__ import annotations

from signalbox.ivr.ports import Proxy
from signalbox.ivr.proxies import SHUNNED_S, KnownProxies
from structlog.testing import capture_logs
from support.routing import edge

ONE = Proxy("edge-1", ("192.0.2.1", 5060))
TWO = Proxy("edge-2", ("192.0.2.2", 5060))
THREE = Proxy("edge-3", ("192.0.2.3", 5060))


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def known(clock: Clock | None = None) -> KnownProxies:
    proxies = KnownProxies(clock or Clock())
    await proxies.update([edge(proxy.id, f"{proxy.remote[0]}:5060") for proxy in (TWO, ONE, THREE)])
    return proxies


async def test_the_one_that_brought_the_call_comes_first_and_the_others_take_turns() -> None:
    proxies = await known()
    ways = [proxies.ways(TWO.remote) for _ in range(6)]
    assert {way[0] for way in ways} == {TWO}
    assert {way[1] for way in ways} == {ONE, THREE}
    assert all(set(way) == {ONE, TWO, THREE} for way in ways)


async def test_one_that_the_store_does_not_know_is_a_way_all_the_same() -> None:
    proxies = await known()
    stranger = ("198.51.100.7", 5070)
    ways = proxies.ways(stranger)
    assert ways[0] == Proxy("", stranger)
    assert set(ways[1:]) == {ONE, TWO, THREE}
    assert KnownProxies().ways(stranger) == [Proxy("", stranger)]


async def test_one_that_failed_is_the_last_for_a_while() -> None:
    clock = Clock()
    proxies = await known(clock)
    proxies.failed(TWO)
    assert [way[-1] for way in (proxies.ways(TWO.remote), proxies.ways(ONE.remote))] == [TWO, TWO]
    assert proxies.ways(ONE.remote)[0] == ONE
    clock.now += SHUNNED_S
    assert proxies.ways(TWO.remote)[0] == TWO


async def test_if_all_have_failed_the_one_that_brought_the_call_is_the_first_again() -> None:
    proxies = await known()
    for proxy in (ONE, TWO, THREE):
        proxies.failed(proxy)
    assert proxies.ways(THREE.remote)[0] == THREE


async def test_an_address_that_is_none_is_left_out_and_told() -> None:
    proxies = KnownProxies()
    with capture_logs() as logs:
        await proxies.update(
            [edge("edge-1", "proxy.example:5060", "[2001:db8::1]:5060"), edge("edge-2", "192.0.2.2:0")]
        )
    assert proxies.ways(("2001:db8::1", 5060)) == [Proxy("edge-1", ("2001:db8::1", 5060))]
    assert [(log["proxy"], log["address"]) for log in logs] == [
        ("edge-1", "proxy.example:5060"),
        ("edge-2", "192.0.2.2:0"),
    ]
