"""What the proxies see of the targets of trunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import trunk_health as module
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.trunk_health import TrunkHealth
from support import routing
from support.provisioning import invalid

if TYPE_CHECKING:
    from signalbox.store.base import Entry
    from signalbox.store.memory import MemoryStore
    from support.provisioning import Stub

ALIVE, DEAD, UNCHECKED = pb.TARGET_STATE_ALIVE, pb.TARGET_STATE_DEAD, pb.TARGET_STATE_UNCHECKED


def target(n: int, port: int = 0, **fields: Any) -> types_pb2.TrunkTarget:
    return types_pb2.TrunkTarget(host=f"192.0.2.{n}", port=port, **fields)


def trunk(id: str, *targets: types_pb2.TrunkTarget, **fields: Any) -> types_pb2.Trunk:
    return types_pb2.Trunk(id=id, targets=targets, **fields)


def seen(edge: str, *dead: types_pb2.TrunkTarget) -> routing_pb2.EdgeTargets:
    found = routing_pb2.EdgeTargets(edge=edge)
    for one in dead:
        found.dead.add(target=one, code=408).since.FromSeconds(1_800_000_000)
    return found


async def health(store: MemoryStore, **request: Any) -> pb.ListTrunkHealthResponse:
    return await TrunkHealth(store)(Principal(OPERATOR), pb.ListTrunkHealthRequest(**request))


def told(response: pb.ListTrunkHealthResponse) -> list[tuple[str, str, int, str, int, int]]:
    return [
        (one.trunk, at.target.host, at.target.port, at.edge, at.state, at.code)
        for one in response.trunk_health
        for at in one.targets
    ]


async def test_every_target_is_told_as_every_proxy_sees_it(store: MemoryStore) -> None:
    tcp = types_pb2.SIP_TRANSPORT_TCP
    await routing.put(
        store,
        trunk("a", target(1), target(1, 5062), target(1, transport=tcp)),
        seen("edge-1", target(1, 5060, transport=types_pb2.SIP_TRANSPORT_UDP)),
        seen("edge-2"),
    )
    response = await health(store)
    assert told(response) == [
        ("a", "192.0.2.1", 5060, "edge-1", DEAD, 408),
        ("a", "192.0.2.1", 5060, "edge-2", ALIVE, 0),
        ("a", "192.0.2.1", 5062, "edge-1", ALIVE, 0),
        ("a", "192.0.2.1", 5062, "edge-2", ALIVE, 0),
        ("a", "192.0.2.1", 5060, "edge-1", ALIVE, 0),
        ("a", "192.0.2.1", 5060, "edge-2", ALIVE, 0),
    ]
    assert [at.HasField("since") for at in response.trunk_health[0].targets] == [True, *5 * [False]]


@pytest.mark.parametrize(
    "fields", [{"disabled": True}, {"health_check": types_pb2.HealthCheck(disabled=True)}], ids=["trunk", "check"]
)
async def test_what_is_not_asked_is_told_so(store: MemoryStore, fields: dict[str, Any]) -> None:
    await routing.put(store, trunk("a", target(1), **fields), seen("edge-1", target(1, 5060)))
    assert told(await health(store)) == [("a", "192.0.2.1", 5060, "", UNCHECKED, 0)]


async def test_without_a_proxy_that_looks_nothing_is_known(store: MemoryStore) -> None:
    await routing.put(store, trunk("a", target(1)))
    assert told(await health(store)) == [("a", "192.0.2.1", 5060, "", UNCHECKED, 0)]


async def test_pages_go_through_all_trunks_also_those_without_targets(store: MemoryStore) -> None:
    await routing.put(store, *(trunk(f"t{n}", *([target(n)] if n % 3 else [])) for n in range(8)), seen("edge-1"))
    found, token = [], ""
    while True:
        response = await health(store, page_size=2, page_token=token)
        found += [one.trunk for one in response.trunk_health]
        token = response.next_page_token
        if not token:
            break
    assert found == ["t1", "t2", "t4", "t5", "t7"]


async def test_a_page_that_would_be_longer_than_clients_take_ends_early(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES_MAX", 4_000)
    trunks = (trunk(f"t{n:02}", *(target(at) for at in range(1, 9))) for n in range(12))
    await routing.put(store, *trunks, *(seen(f"edge-{n}", target(1, 5060)) for n in range(6)))
    found, token, pages = [], "", 0
    while pages == 0 or token:
        response = await health(store, page_token=token)
        found += [one.trunk for one in response.trunk_health]
        token, pages = response.next_page_token, pages + 1
        assert response.ByteSize() < 4_100 or len(response.trunk_health) == 1
    assert found == [f"t{n:02}" for n in range(12)]
    assert pages > 4


async def test_what_an_edge_sees_is_decoded_once_for_all_pages_until_it_changes(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await routing.put(store, trunk("a", target(1)), trunk("b", target(1)), seen("edge-1"), seen("edge-2", target(1)))
    decoded: list[str] = []
    view = module._view

    def counted(entry: Entry) -> Any:
        decoded.append(entry.key)
        return view(entry)

    monkeypatch.setattr(module, "_view", counted)
    method = TrunkHealth(store)

    async def states() -> list[int]:
        found = await method(Principal(OPERATOR), pb.ListTrunkHealthRequest(page_size=1))
        return [at.state for one in found.trunk_health for at in one.targets]

    assert [await states() for _ in range(3)] == 3 * [[ALIVE, DEAD]]
    assert len(decoded) == 2
    await routing.put(store, seen("edge-1", target(1)))
    assert await states() == [DEAD, DEAD]
    assert len(decoded) == 3


async def test_a_bad_page_is_refused(api: Stub) -> None:
    with invalid() as refusal:
        await api.ListTrunkHealth(pb.ListTrunkHealthRequest(page_token="else"))
    assert list(refusal.fields) == ["page_token"]
