"""``signalbox watch``."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.commands import documents

if TYPE_CHECKING:
    from support.commands import Service, Shell


@pytest.fixture
def cursor(service: Service, shell: Shell) -> str:
    """Where three changes begin: a tenant and a line are made, and the line is deleted."""
    with grpc.insecure_channel(service.address) as channel:
        cursor: str = next(provisioning_pb2_grpc.ProvisioningServiceStub(channel).Watch(pb.WatchRequest())).cursor
    shell("tenants create acme")
    shell("lines create acme a --user 13800001234")
    shell("lines delete acme a")
    return cursor


def test_changes_are_shown_as_they_were_made(shell: Shell, cursor: str) -> None:
    told = shell(f"watch --cursor {cursor} --count 3")
    assert told.stdout.splitlines() == [
        "etag 2            tenant acme",
        "etag 3            line acme/a",
        "deleted           line acme/a",
    ]
    last = told.stderr.strip().removeprefix("to go on from here: --cursor ")
    shell("tenants update acme --display-name Acme")
    assert shell(f"watch --cursor {last} --count 1").stdout == "etag 5            tenant acme\n"


def test_changes_for_programs(shell: Shell, cursor: str) -> None:
    lines = shell(f"watch --cursor {cursor} --count 3 --output json").stdout.splitlines()
    assert [(one["kind"], one["deleted"]) for one in map(json.loads, lines)] == [
        ("Tenant", False), ("Line", False), ("Line", True)
    ]  # fmt: skip
    printed = documents.read(io.StringIO(shell(f"watch --cursor {cursor} --count 3 --output yaml").stdout))
    assert [(one["deleted"], one["object"]["id"]) for one in printed] == [(False, "acme"), (False, "a"), (True, "a")]


def test_what_is_refused(shell: Shell) -> None:
    told = shell("watch --cursor nonsense", code=1).stderr
    assert "cursor: was not given by a response to this request" in told
