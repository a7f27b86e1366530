"""Who is heard: trunks, disabled trunks, strangers, floods and bans; and the answer to a probe."""

from __future__ import annotations

import asyncio

from support.kamailio import FakeSidecar, Kamailio, reject, until


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
    caller.send(caller.request(caller.call(), "OPTIONS"))
    await caller.expect(200, method="OPTIONS")


async def test_a_flooding_source_is_banned_and_others_are_not(agent):
    trunks = [(f"198.51.100.{n}", "trunk-a") for n in (1, 2)]
    with Kamailio(host="0.0.0.0", advertise="127.0.0.1:5999", flood_requests=20, trunks=trunks) as proxy:
        addresses = await own_addresses()
        proxy.table("address", [f"{n}:1:{a}:32:0:trunk-a" for n, a in enumerate([*addresses, "127.0.0.1"], 1)])
        proxy.rpc("permissions.addressReload")
        flooder = await agent(proxy, addresses[0])
        flooder.proxy = (addresses[0], proxy.port)
        for _ in range(50):
            flooder.send(flooder.request(flooder.call(), "OPTIONS"))
        await until(lambda: proxy.counter("flood_bans") >= 1)
        assert len([message for message in flooder.seen if message.code == 200]) <= 20
        other = await agent(proxy)
        other.proxy = ("127.0.0.1", proxy.port)
        for _ in range(50):
            other.send(other.request(other.call(), "OPTIONS"))
        for _ in range(50):
            await other.expect(200, method="OPTIONS")
        assert proxy.rpc("htable.get", "ban", addresses[0])


async def own_addresses():
    """An address of this machine that is not on loopback."""
    process = await asyncio.create_subprocess_exec("hostname", "-I", stdout=asyncio.subprocess.PIPE)
    text, _ = await process.communicate()
    return [address for address in text.decode().split() if ":" not in address]


async def test_options_tell_whether_the_proxy_is_in_step(agent):
    with Kamailio() as proxy:
        prober = await agent(proxy, "127.0.0.1")
        prober.send(prober.request(prober.call(), "OPTIONS"))
        await prober.expect(200, method="OPTIONS")
        proxy.rpc("htable.delete", "cfg", "version")
        prober.send(prober.request(prober.call(), "OPTIONS"))
        assert (await prober.expect(503, method="OPTIONS")).get("Retry-After") == "1"
