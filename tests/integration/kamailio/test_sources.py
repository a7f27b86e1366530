"""Who is heard: trunks, disabled trunks, strangers, floods and bans; and the answer to a probe."""

from __future__ import annotations

import asyncio
import contextlib
import time

from support.kamailio import WORKER_HOST, Kamailio
from support.sidecar_fake import FakeSidecar, reject
from support.wait import until


async def test_strangers_hear_nothing_and_are_counted(proxy, sidecar, agent):
    stranger = await agent(proxy, "127.0.0.9")
    unknown, questions = proxy.counter("unknown_sources"), len(sidecar.questions)
    call = stranger.call()
    for method in ("INVITE", "REGISTER", "SUBSCRIBE", "ACK", "CANCEL"):
        stranger.send(stranger.request(call, method))
    await until(lambda: proxy.counter("unknown_sources") == unknown + 4)
    assert not stranger.seen
    assert len(sidecar.questions) == questions
    assert "unknown_source source=127.0.0.9" in proxy.log.read_text()


async def test_strangers_get_403_if_so_set(agent):
    with Kamailio(unknown_source="403") as proxy:
        stranger = await agent(proxy, "127.0.0.9")
        call = stranger.call()
        stranger.invite(call)
        stranger.ack_failure(call, await stranger.expect(403))


async def test_a_disabled_trunk_gets_403(agent):
    with Kamailio(disabled_trunks=["127.0.0.8"]) as proxy:
        disabled = await agent(proxy, "127.0.0.8")
        call = disabled.call()
        disabled.invite(call)
        assert (await disabled.expect(403)).first == "SIP/2.0 403 Trunk Disabled"


async def test_trunks_are_known_by_network_and_after_a_reload_anew(agent):
    with Kamailio(trunks=[("127.0.0.1", "trunk-a")]) as proxy:
        sidecar = await FakeSidecar(proxy, lambda question: reject(404, "x")).start()
        proxy.table("address", ["1:1:127.8.0.0:16:0:trunk-b"])
        proxy.rpc("permissions.addressReload")
        caller, gone = await agent(proxy, "127.8.3.4"), await agent(proxy, "127.0.0.1")
        call = caller.call()
        caller.invite(call)
        caller.ack_failure(call, await caller.expect(404))
        assert sidecar.questions[0].raw["tr"] == "trunk-b"
        gone.invite(gone.call())
        await until(lambda: proxy.counter("unknown_sources") == 1)
        assert not gone.seen
        sidecar.close()


async def test_a_method_that_we_do_not_serve_is_refused(proxy, agent):
    caller = await agent()
    caller.send(caller.request(caller.call(), "REGISTER"))
    assert "INVITE" in (await caller.expect(405, method="REGISTER")).get("Allow")


async def test_a_banned_source_hears_nothing_until_the_ban_is_lifted(proxy, agent):
    caller = await agent()
    banned = proxy.counter("banned")
    proxy.rpc("htable.sets", "ban", "127.0.0.1", "1")
    caller.send(caller.request(caller.call(), "OPTIONS"))
    await until(lambda: proxy.counter("banned") == banned + 1)
    proxy.rpc("htable.delete", "ban", "127.0.0.1")
    caller.send(caller.request(caller.call(), "REGISTER"))
    await caller.expect(405, method="REGISTER")


async def test_a_flooding_stranger_is_banned(agent):
    async with off_loopback(agent, group=2) as (proxy, flooder):
        call = flooder.call()
        for _ in range(50):
            flooder.send(flooder.request(call, "OPTIONS"))
        await until(lambda: proxy.counter("flood_bans") >= 1)
        assert proxy.rpc("htable.get", "ban", flooder.proxy[0])
        await until(lambda: proxy.counter("banned") >= 1)
        assert len(flooder.seen) <= 20


async def test_new_calls_of_a_flooding_trunk_are_refused_and_the_trunk_is_never_banned(agent):
    async with off_loopback(agent, group=1) as (proxy, flooder):
        sidecar = await FakeSidecar(proxy, lambda question: None).start()
        calls = [flooder.call() for _ in range(50)]
        for call in calls:
            flooder.invite(call)
        await until(lambda: proxy.counter("flood_refusals") == 30)
        await until(lambda: sum(refused(message) for message in flooder.seen) == 30)
        turned_away = {message.get("Call-ID") for message in flooder.seen if refused(message)}
        # Workers take packets in any order: which calls were let in is known only now.
        flooder.invite(next(call for call in calls if call.call_id not in turned_away))  # sent again: no new call
        assert next(message for message in flooder.seen if refused(message)).get("Retry-After") == "2"
        flooder.send(flooder.request(flooder.call(), "REGISTER"))
        await flooder.expect(405, method="REGISTER")
        assert proxy.counter("flood_refusals") == 30
        assert proxy.counter("flood_bans") == 0
        sidecar.close()


async def test_a_worker_with_voice_has_no_flood_limit(agent):
    async with off_loopback(agent, group=3, tag="_voice") as (proxy, worker):
        for _ in range(50):
            worker.invite(worker.call())
        for _ in range(50):
            await worker.expect(403)
        assert proxy.counter("legs_refused") == 50
        assert proxy.counter("flood_bans") == proxy.counter("flood_refusals") == 0


async def test_new_calls_above_the_rate_of_the_proxy_are_refused_at_once(agent):
    with Kamailio(calls_per_second=20) as proxy:
        sidecar = await FakeSidecar(proxy, lambda question: None).start()
        caller = await agent(proxy)
        calls = [caller.call() for _ in range(60)]
        for call in calls:
            caller.invite(call)
        # A second's worth at once, and one more each 50 ms.
        await until(lambda: proxy.counter("shed_calls") + len(sidecar.questions) == 60)
        assert 20 <= proxy.counter("shed_calls") <= 40
        await until(lambda: sum(map(refused, caller.seen)) == proxy.counter("shed_calls"))
        away = [message for message in caller.seen if refused(message)]
        assert {message.get("Retry-After") for message in away} == {"1"}
        taken = next(call for call in calls if call.call_id not in {message.get("Call-ID") for message in away})
        questions, shed = len(sidecar.questions), proxy.counter("shed_calls")
        caller.invite(taken)  # sent again: no new call
        caller.send(caller.request(caller.call(), "REGISTER"))
        await caller.expect(405, method="REGISTER")
        assert (len(sidecar.questions), proxy.counter("shed_calls")) == (questions, shed)
        # And later calls are taken again.
        await until(lambda: taken_again(caller, sidecar, questions))
        sidecar.close()


def taken_again(caller, sidecar, questions):
    caller.invite(caller.call())
    return len(sidecar.questions) > questions


async def test_lines_that_workers_call_are_above_no_rate(agent):
    with Kamailio(calls_per_second=1, workers=[WORKER_HOST]) as proxy:
        sidecar = await FakeSidecar(proxy, lambda question: None).start()
        worker = await agent(proxy, WORKER_HOST)
        for _ in range(20):
            call = worker.call()
            worker.invite(call, headers=["X-Signalbox-Leg: leg", "X-Signalbox-Call: parent"])
        await until(lambda: len(sidecar.questions) == 20)
        assert proxy.counter("shed_calls") == 0
        sidecar.close()


def refused(message):
    return message.first == "SIP/2.0 503 Too Many Calls"


async def test_loopback_has_no_flood_limit(agent):
    with Kamailio(flood_requests=20) as proxy:
        caller = await agent(proxy)
        for _ in range(50):
            caller.send(caller.request(caller.call(), "REGISTER"))
        for _ in range(50):
            await caller.expect(405, method="REGISTER")


async def test_a_ban_of_a_trunk_ends_none_of_its_calls(proxy, answered):
    caller, line, call, _ = await answered()
    banned, forged = proxy.counter("banned"), proxy.counter("forged_in_dialog")
    proxy.rpc("htable.sets", "ban", "127.0.0.1", "1")
    try:
        caller.invite(caller.call())
        await until(lambda: proxy.counter("banned") == banned + 1)
        caller.send(caller.in_dialog(call, "INFO"))
        await line.expect("INFO")
        call.routes, own = [], call.routes
        caller.send(caller.in_dialog(call, "BYE"))
        await until(lambda: proxy.counter("forged_in_dialog") == forged + 1)
        call.routes = own
        caller.send(caller.in_dialog(call, "BYE"))
        await line.expect("BYE")
    finally:
        proxy.rpc("htable.delete", "ban", "127.0.0.1")


@contextlib.asynccontextmanager
async def off_loopback(agent, group, tag="trunk-a"):
    """A proxy with a limit of 20 requests, and an agent on an address of this machine that is not on loopback."""
    (address, *_) = await own_addresses()
    with Kamailio(host="0.0.0.0", advertise=f"{address}:5999", flood_requests=20) as proxy:
        proxy.table("address", [f"1:{group}:{address}:32:0:{tag}"])
        proxy.rpc("permissions.addressReload")
        flooder = await agent(proxy, address)
        flooder.proxy = (address, proxy.port)
        yield proxy, flooder


async def own_addresses():
    """An address of this machine that is not on loopback."""
    process = await asyncio.create_subprocess_exec("hostname", "-I", stdout=asyncio.subprocess.PIPE)
    text, _ = await process.communicate()
    return [address for address in text.decode().split() if ":" not in address]


async def test_options_tell_whether_the_proxy_can_take_calls(agent):
    with Kamailio() as proxy:
        prober = await agent(proxy, "127.0.0.1")

        async def probe():
            prober.send(prober.request(prober.call(), "OPTIONS"))
            await until(lambda: bool(prober.inbox))
            return prober.inbox.pop()

        reply = await probe()
        assert reply.code == 503
        assert reply.get("Retry-After") == "1"
        proxy.rpc("htable.seti", "health", "alive", 1)
        assert (await probe()).code == 200
        proxy.rpc("htable.delete", "cfg", "version")
        assert (await probe()).code == 503
        proxy.rpc("htable.sets", "cfg", "version", "test")
        proxy.rpc("htable.seti", "health", "alive", 1)
        began = time.monotonic()
        while (await probe()).code == 200:
            assert time.monotonic() - began < 8
        assert time.monotonic() - began > 2
