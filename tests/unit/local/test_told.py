"""What the demo reads of a call in the journals of proxies and workers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from google.protobuf import timestamp_pb2
from signalbox import eventrow
from signalbox.api.events.v1 import events_pb2
from signalbox.journal import Chunk, Journal
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.demo import told as module
from signalbox_local.demo.told import told
from signalbox_local.manifest import ProcessEntry

if TYPE_CHECKING:
    from pathlib import Path

CALL = "edge-1-69c1f0a0-1-11"
TIME = timestamp_pb2.Timestamp(seconds=1774317728)


def asked(call: str, sip_call_id: str) -> bytes:
    called, caller, id = (base64.b64encode(one.encode()).decode() for one in ("4001234569", "138", sip_call_id))
    return f"INVITE|a|b|id||Q carrier 127.0.0.2 {called} {caller} {id}|1774317728|1774317728.000000|{call}|".encode()


def step(node: str, outcome: str, digits: str = "", call: str = CALL) -> bytes:
    taken = events_pb2.FlowStep(flow="hotline", node=node, kind=node, outcome=outcome, digits=digits, line="desk")
    return eventrow.written(events_pb2.CallEvent(call_id=call, time=TIME, flow_step=taken))


def ended(call: str = CALL) -> bytes:
    over = events_pb2.FlowEnded(cause="flow")
    return eventrow.written(events_pb2.CallEvent(call_id=call, time=TIME, flow_ended=over))


def cluster(directory: Path, **rows: list[bytes]) -> Cluster:
    """An edge and two workers, each with what it wrote."""
    made = Cluster(directory)
    for name, kind in (("edge_1", "edge"), ("ivr_1", "ivr"), ("ivr_2", "ivr")):
        place = directory / name / "journal"
        journal = Journal(place, 64 * 1024 * 1024)
        journal.open()
        journal.append([Chunk(1, 1, rows.get(name, []))])
        journal.close()
        made.entries[name] = ProcessEntry(name, kind, {}, "", journal=str(place))  # type: ignore[arg-type]
    return made


async def test_the_steps_of_a_call_are_those_of_its_worker(tmp_path: Path) -> None:
    taken = [step("menu", "digits", "1"), step("menu", "no_input", call="other"), step("thanks", "done"), ended()]
    call = await told(cluster(tmp_path, edge_1=[asked("other", "x"), asked(CALL, "a@b")], ivr_2=taken), "a@b")
    assert (call.call_id, call.worker, call.cause) == (CALL, "ivr_2", "flow")
    assert call.path == "menu (digits 1), thanks (done)"
    found = call.step("menu")
    assert found is not None
    assert (found.digits, found.line) == ("1", "desk")
    assert call.step("survey") is None


@pytest.mark.parametrize("rows", [{"edge_1": [asked(CALL, "a@b")], "ivr_1": [ended("other")]}, {"ivr_1": [ended()]}])
async def test_a_call_of_which_nobody_tells_the_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: dict[str, list[bytes]]
) -> None:
    monkeypatch.setattr(module, "TOLD_S", 0.3)
    with pytest.raises(ClusterError, match="no worker told within 0 s that the call a@b is over"):
        await told(cluster(tmp_path, **rows), "a@b")
