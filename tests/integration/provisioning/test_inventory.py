"""The inventory of a real process over etcd: told by the command, and there again after a kill."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.provisioning.v1 import inventory_pb2_grpc, provisioning_pb2
from signalbox.api.types.v1 import inventory_pb2, types_pb2

from .conftest import DEADLINE_S, ProvisioningProcess
from .test_command import signalbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.etcd import EtcdServer


def test_a_number_is_found_reserved_and_no_longer_found(directory: Path) -> None:
    for line in ("tenants create stock", "inventory ranges create ten 4007770000 4007770009"):
        done = signalbox(directory, line)
        assert done.returncode == 0, done.stderr
    assert wait_for(directory, "10 free") == "ordinary\n" + LISTED
    done = signalbox(directory, "inventory reserve 400-777-0003 --tenant stock")
    assert done.returncode == 0, done.stderr
    assert "400-777-0003" not in wait_for(directory, "9 free")
    again = signalbox(directory, "inventory reserve 400-777-0003 --tenant stock")
    assert again.returncode == 1
    assert "(TRANSITION_REFUSED)" in again.stderr


LISTED = """\
  400-777-0000  400-777-0001  400-777-0002  400-777-0003  400-777-0004
  400-777-0005  400-777-0006  400-777-0007  400-777-0008  400-777-0009
10 free
"""


def wait_for(directory: Path, end: str) -> str:
    """What a search of the range prints, once its last line is this one: the index follows the store."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        done = signalbox(directory, "inventory search --range ten")
        if done.stdout.endswith(f"{end}\n"):
            return done.stdout
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(0.1)


@pytest.fixture
def own(tmp_path: Path, own_etcd: EtcdServer) -> Iterator[ProvisioningProcess]:
    """A service of one's own."""
    process = ProvisioningProcess(tmp_path, own_etcd.endpoint)
    yield process
    process.end()


def test_a_process_killed_while_it_reserves_has_reserved_all_or_nothing_of_each(own: ProvisioningProcess) -> None:
    own.start()
    own.wait_until(ready=True)
    numbers = [f"40077700{low:02d}" for low in range(60)]
    with own.channel() as channel:
        api = inventory_pb2_grpc.InventoryServiceStub(channel)
        own.stub(channel).CreateTenant(
            provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=10
        )
        made = inventory_pb2.NumberRange(id="main", first="4007770000", last="4007779999")
        api.CreateNumberRange(pb.CreateNumberRangeRequest(number_range=made), timeout=10)
        calls = [api.ReserveNumber.future(request(number), timeout=10) for number in numbers]
        calls[10].result()
        assert own.process is not None
        own.process.kill()
        own.process.wait()
        told = {n: call.code() for n, call in zip(numbers, calls, strict=True)}
    own.start()
    own.wait_until(ready=True)
    with own.channel() as channel:
        api = inventory_pb2_grpc.InventoryServiceStub(channel)
        for number, code in told.items():
            history = api.ListNumberHistory(pb.ListNumberHistoryRequest(number=number), timeout=10).events
            state = api.GetInventoryNumber(pb.GetInventoryNumberRequest(number=number), timeout=10).state
            assert (len(history), state) in ((0, 1), (1, 2)), number
            if code is grpc.StatusCode.OK:
                assert len(history) == 1, "what was told is there"
            again = api.ReserveNumber(request(number), timeout=10)
            assert again.state == inventory_pb2.INVENTORY_STATE_RESERVED
            history = api.ListNumberHistory(pb.ListNumberHistoryRequest(number=number), timeout=10).events
            assert len(history) == 1, "the same request is done once"


def request(number: str) -> pb.ReserveNumberRequest:
    return pb.ReserveNumberRequest(number=number, tenant="acme", request_id=f"reserve-{number}")
