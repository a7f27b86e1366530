"""A call flow from its provisioning to the last step of a call, through a real etcd: what workers with voice ask."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.settings import EtcdSettings
from signalbox.store.etcd import EtcdStore
from signalbox.store.paged import PagedStore
from support import routing
from support.etcd import EtcdServer, own_etcd
from support.flows import dial, flow, graph
from support.provisioning import serving
from support.routing import call, put, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.routing import Running

__all__ = ["own_etcd"]

END = {"hangUp": {"cause": "HANG_UP_CAUSE_BUSY"}}
ASK = {
    "url": "https://crm.example.com/",
    "apiKey": "crm",
    "send": ["caller", "order"],
    "receive": [{"key": "agent", "variable": "agent"}],
    "otherwise": "by-agent",
    "failed": "end",
}
FLOW = graph(
    "by-caller",
    **{
        "by-caller": {
            "condition": {
                "variable": "caller",
                "branches": [{"values": ["13800001234"], "next": "pin"}],
                "otherwise": "end",
            }
        },
        "pin": {"password": {"prompt": "hello", "digits": "7351", "tries": 2, "ok": "order", "failed": "end"}},
        "order": {
            "menu": {
                "prompt": "hello",
                "variable": "order",
                "entered": "ask",
                "branches": [{"digits": "9", "next": "order", "language": "en"}],
                "noInput": "end",
                "noMatch": "end",
            }
        },
        "ask": {"request": ASK},
        "by-agent": {
            "condition": {
                "variable": "agent",
                "branches": [{"values": ["b"], "next": "desk"}],
                "otherwise": "end",
            }
        },
        "desk": dial("b", announceLine={"before": "hello"}, transferKeys="*1", transfer="to"),
        "to": {"transfer": {"line": "a", "busy": "sms"}},
        "sms": {"message": {"sender": "1069", "text": "{caller}: {order}, {language}"}},
        "end": END,
    },
)


@pytest.fixture
async def store(own_etcd: EtcdServer) -> AsyncIterator[PagedStore]:
    store = PagedStore(EtcdStore.open(EtcdSettings(endpoints=[own_etcd.endpoint])))
    number = routing.number(stages=[], flow="main")
    worker = routing_pb2.VoiceWorker(id="ivr-1", sip_address="192.0.2.9:5060", capacity=10)
    lines = routing.line("a"), routing.line("b", agent_number="017")
    objects = types_pb2.Prompt(tenant="acme", id="hello"), types_pb2.ApiKey(tenant="acme", id="crm")
    await put(store, types_pb2.Tenant(id="acme"), routing.trunk(), *lines, *objects, number, worker)
    yield store
    await store.close()


async def test_a_call_is_led_through_a_flow_step_by_step(store: PagedStore, tmp_path: Path) -> None:
    cursor_key, password_key = tmp_path / "cursor.key", tmp_path / "password.key"
    cursor_key.write_text("one secret")
    password_key.write_text("another secret")
    async with serving(store, password_key=b"another secret") as api:
        await api.CreateFlow(pb.CreateFlowRequest(flow=flow(FLOW)))
        await api.ActivateFlow(pb.ActivateFlowRequest(tenant="acme", id="main"))
    async with running(store, tmp_path, cursor_key_file=cursor_key, password_key_file=password_key) as service:
        await walk(service)


async def walk(service: Running) -> None:
    decided = (await service.stub.Decide(call())).decision
    found = await ask(service, decided.dial.stages[0].branches[0].cursor)
    assert (found.node.id, found.node.password.sealed, found.password_try) == ("pin", "", 1)
    found = await ask(service, found.cursor, digits="1234")
    assert found.password_try == 2
    found = await ask(service, found.cursor, digits="7351")
    assert found.node.id == "order"
    found = await ask(service, found.cursor, digits="9")
    assert (found.node.id, found.language) == ("order", "en")
    found = await ask(service, found.cursor, digits="20260131")
    assert json.loads(found.request_body)["variables"] == {"caller": "13800001234", "order": "20260131"}
    found = await ask(service, found.cursor, done=True, values={"agent": "b"})
    assert found.dial.stages[0].branches[0].line == "b"
    assert (dict(found.agent_numbers), found.dial_node.transfer_keys) == ({"b": "017"}, "*1")
    found = await ask(service, found.cursor, transfer=True)
    assert found.dial.stages[0].branches[0].line == "a"
    found = await ask(service, found.cursor, busy=True)
    assert (found.message_to, found.message_text) == ("13800001234", "13800001234: 20260131, en")
    with pytest.raises(grpc.aio.AioRpcError, match="does not end so: digits"):
        await ask(service, found.cursor, digits="1")
    assert (await ask(service, found.cursor, done=True)).end.code == 480


async def ask(service: Running, cursor: str, **outcome: Any) -> routing_pb2.ContinueResponse:
    request = routing_pb2.ContinueRequest(cursor=cursor)
    if outcome:
        request.outcome.CopyFrom(routing_pb2.StepOutcome(**outcome))
    return await service.stub.Continue(request)
