"""Which objects are valid, and that every offending field is named with its path."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import InvalidFieldError
from signalbox.provisioning import validate


def found(violations: Any) -> dict[str, str]:
    return {violation.field: violation.reason for violation in violations}


def line(**fields: Any) -> types_pb2.Line:
    return types_pb2.Line(**{"tenant": "acme", "id": "a", "user": "100", "host": "192.0.2.7", **fields})


def number(*stages: types_pb2.DialStage, **fields: Any) -> types_pb2.Number:
    given = {"number": "4001234567", "tenant": "acme", "stages": stages or [types_pb2.DialStage(lines=["a"])], **fields}
    return types_pb2.Number(**given)


@pytest.mark.parametrize("id", ["a", "acme", "a-1", "a" * 63])
def test_good_ids(id: str) -> None:
    assert found(validate.identifier(id, "id")) == {}


@pytest.mark.parametrize(
    "id", ["", "A", "1a", "-a", "a_b", "a.b", "a/b", "../a", "a" * 64, "a\n", "ä", "a b", "a\0"]
)  # fmt: skip
def test_bad_ids(id: str) -> None:
    assert list(found(validate.identifier(id, "tenant.id"))) == ["tenant.id"]


@pytest.mark.parametrize("digits", ["", "12", "1" * 16, "40012a", "+400", "٤٠٠١٢٣", "400 123", "4001234567\n"])
def test_bad_digits(digits: str) -> None:
    assert list(found(validate.digits(digits, "number.number"))) == ["number.number"]


@pytest.mark.parametrize("name", ["", "Acme", "北京公司", "x" * 200])
def test_good_display_names(name: str) -> None:
    assert found(validate.tenant(types_pb2.Tenant(id="acme", display_name=name))) == {}


@pytest.mark.parametrize("name", ["x" * 201, "a\nb", "\x1b[31m", "a\u2028b", "\x7f"])
def test_bad_display_names(name: str) -> None:
    tenant = types_pb2.Tenant(id="acme", display_name=name)
    assert list(found(validate.tenant(tenant))) == ["tenant.display_name"]


def test_all_offending_fields_are_named_at_once() -> None:
    given = line(tenant="", id="A", user="a b", host="pbx.example", port=70_000, transport=9, identity_policy=7)
    assert set(found(validate.line(given))) == {
        "line.tenant", "line.id", "line.user", "line.host", "line.port", "line.transport", "line.identity_policy",
    }  # fmt: skip


@pytest.mark.parametrize("user", ["100", "+8613900001111", "front.desk", "a~!*'()&=+$,-_.", "x" * 64])
def test_good_users(user: str) -> None:
    assert found(validate.line(line(user=user))) == {}


@pytest.mark.parametrize("user", ["", "x" * 65, "a%20b", "a;b", "a?b", "a/b", "a@b", "a b", "a:b", "名", "a\r\nb"])
def test_bad_users(user: str) -> None:
    assert list(found(validate.line(line(user=user)))) == ["line.user"]


@pytest.mark.parametrize("number", ["0", "017", "12345678"])
def test_good_agent_numbers(number: str) -> None:
    assert found(validate.line(line(agent_number=number))) == {}


@pytest.mark.parametrize("number", ["a", "123456789", "1 2", "+1", "１"])
def test_bad_agent_numbers(number: str) -> None:
    assert found(validate.line(line(agent_number=number))) == {"line.agent_number": "must be 1 to 8 digits"}


@pytest.mark.parametrize("host", ["192.0.2.7", "127.0.0.1", "2001:db8::7", "::1", "fe80::1"])
def test_good_hosts(host: str) -> None:
    assert found(validate.line(line(host=host))) == {}


@pytest.mark.parametrize(
    "host",
    ["pbx.example", "192.0.2.7:5060", "[::1]", "192.0.2.0/24", "192.0.2", "192.0.2.07", "0.0.0.0", "::",
     "224.0.0.1", "ff02::1", "255.255.255.255", "fe80::1%eth0", "::ffff:192.0.2.7", " 192.0.2.7"],
)  # fmt: skip
def test_bad_hosts(host: str) -> None:
    assert list(found(validate.line(line(host=host)))) == ["line.host"]


@pytest.mark.parametrize(
    "text", ["192.0.2.7", "192.0.2.0/24", "10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "2001:DB8::1"]
)
def test_good_source_addresses(text: str) -> None:
    trunk = types_pb2.Trunk(id="carrier", source_addresses=[text])
    assert found(validate.trunk(trunk)) == {}


@pytest.mark.parametrize(
    "text",
    ["", "carrier.example", "192.0.2.0/33", "192.0.2.0/255.255.255.0", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.1/24",
     "1.0.0.0/0", "0.0.0.0/0", "::/0", "2001:db8::/129", "192.0.2.1-9", "::ffff:192.0.2.0/120", "224.0.0.0/4"],
)  # fmt: skip
def test_bad_source_addresses(text: str) -> None:
    trunk = types_pb2.Trunk(id="carrier", source_addresses=["198.51.100.1", text])
    assert list(found(validate.trunk(trunk))) == ["trunk.source_addresses[1]"]


def test_a_network_with_host_bits_is_told_the_network() -> None:
    trunk = types_pb2.Trunk(id="carrier", source_addresses=["192.0.2.1/24"])
    assert "192.0.2.0/24" in found(validate.trunk(trunk))["trunk.source_addresses[0]"]


@pytest.mark.parametrize(
    ("check", "fields"),
    [
        ({}, []),
        ({"disabled": True}, []),
        ({"interval": Duration(seconds=5), "failures": 10, "successes": 10}, []),
        ({"interval": Duration(seconds=3600)}, []),
        ({"interval": Duration(seconds=4)}, ["interval"]),
        ({"interval": Duration(seconds=3601)}, ["interval"]),
        ({"interval": Duration(seconds=5, nanos=1)}, ["interval"]),
        ({"failures": 11, "successes": 11}, ["failures", "successes"]),
    ],
)
def test_a_health_check_is_bounded(check: dict[str, Any], fields: list[str]) -> None:
    trunk = types_pb2.Trunk(id="carrier", source_addresses=["192.0.2.1"], health_check=types_pb2.HealthCheck(**check))
    assert list(found(validate.trunk(trunk))) == [f"trunk.health_check.{field}" for field in fields]


DAY_S = 86_400


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        ({}, []),
        ({"format": 2, "unrecordable": 2, "retention": Duration(seconds=DAY_S)}, []),
        ({"retention": Duration(seconds=36_500 * DAY_S)}, []),
        ({"format": 9, "unrecordable": 9}, ["format", "unrecordable"]),
        ({"retention": Duration()}, ["retention"]),
        ({"retention": Duration(seconds=36_501 * DAY_S)}, ["retention"]),
        ({"retention": Duration(seconds=DAY_S + 1)}, ["retention"]),
        ({"retention": Duration(seconds=DAY_S, nanos=1)}, ["retention"]),
        ({"retention": Duration(seconds=-DAY_S)}, ["retention"]),
    ],
)
def test_how_a_tenant_records_is_bounded(policy: dict[str, Any], fields: list[str]) -> None:
    tenant = types_pb2.Tenant(id="acme", recording=types_pb2.RecordingPolicy(**policy))
    assert list(found(validate.tenant(tenant))) == [f"tenant.recording.{field}" for field in fields]


def test_a_number_may_be_recorded() -> None:
    recorded = number(types_pb2.DialStage(lines=["a"]), media=types_pb2.MEDIA_MODE_RECORD)
    assert list(found(validate.number(recorded))) == []


def test_a_trunks_own_addresses_do_not_overlap() -> None:
    trunk = types_pb2.Trunk(id="carrier", source_addresses=["192.0.2.0/24", "10.0.0.1", "192.0.2.9", "10.0.0.1"])
    assert found(validate.trunk(trunk)) == {
        "trunk.source_addresses[2]": "overlaps trunk.source_addresses[0]",
        "trunk.source_addresses[3]": "overlaps trunk.source_addresses[1]",
    }


@pytest.mark.parametrize("count", [0, 65])
def test_count_of_source_addresses(count: int) -> None:
    trunk = types_pb2.Trunk(id="carrier", source_addresses=[f"192.0.2.{n}" for n in range(count)])
    assert found(validate.trunk(trunk)) == {"trunk.source_addresses": "must have 1 to 64 entries"}


def test_paths_of_stages_and_lines() -> None:
    stages = [
        types_pb2.DialStage(lines=["a", "B"], ring_time=Duration(seconds=200)),
        types_pb2.DialStage(),
        types_pb2.DialStage(lines=["a", "b", "a"]),
    ]
    assert found(validate.number(number(*stages, state=9, media=9))) == {
        "number.stages[0].lines[1]": "must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter",
        "number.stages[0].ring_time": "must be 1 s to 180 s in whole milliseconds",
        "number.stages[1].lines": "must have 1 to 8 entries",
        "number.stages[2].lines[2]": "line a is already in this stage",
        "number.state": "has no value 9",
        "number.media": "has no value 9",
    }


@pytest.mark.parametrize(("count", "good"), [(0, False), (1, True), (16, True), (17, False)])
def test_count_of_stages(count: int, good: bool) -> None:
    given = number()
    del given.stages[:]
    given.stages.extend(types_pb2.DialStage(lines=["a"]) for _ in range(count))
    assert list(found(validate.number(given))) == ([] if good else ["number.stages"])


@pytest.mark.parametrize(
    "sizes",
    [[8, 8], [1] * 16, [8, 8, 1], [2] * 9, [8] * 16],
    ids=lambda sizes: f"{len(sizes)}-stages-{sum(sizes)}-lines",
)
def test_a_plan_has_no_more_lines_than_a_proxy_can_ring(sizes: list[int]) -> None:
    given = number()
    del given.stages[:]
    given.stages.extend(types_pb2.DialStage(lines=[f"line-{n}" for n in range(size)]) for size in sizes)
    problems = found(validate.number(given))
    if sum(sizes) <= 16:
        assert problems == {}
    else:
        reason = "must have at most 16 lines in all stages together, a line in two stages counted twice"
        assert problems == {"number.stages": f"{reason}; there are {sum(sizes)}"}


@pytest.mark.parametrize(
    ("duration", "good"),
    [
        (Duration(seconds=1), True),
        (Duration(seconds=180), True),
        (Duration(seconds=20, nanos=500_000_000), True),
        (Duration(), False),
        (Duration(nanos=999_000_000), False),
        (Duration(seconds=180, nanos=1_000_000), False),
        (Duration(seconds=20, nanos=1), False),
        (Duration(seconds=-20), False),
    ],
)
def test_ring_times(duration: Duration, good: bool) -> None:
    given = number(types_pb2.DialStage(lines=["a"], ring_time=duration))
    assert list(found(validate.number(given))) == ([] if good else ["number.stages[0].ring_time"])


def test_require_raises_all() -> None:
    with pytest.raises(InvalidFieldError, match=r"line\.id: .*; line\.user: is required") as caught:
        validate.require(validate.line(line(id="", user="")))
    assert [violation.field for violation in caught.value.violations] == ["line.id", "line.user"]


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_judged_without_an_exception(one: str, two: str, three: str) -> None:
    list(validate.line(types_pb2.Line(tenant=one, id=two, user=three, host=one)))
    list(validate.trunk(types_pb2.Trunk(id=one, source_addresses=[two, three])))
