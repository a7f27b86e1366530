"""Update masks change what they name and nothing else."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import InvalidFieldError
from signalbox.provisioning import updatemask

IMMUTABLE = frozenset({"number", "tenant"})


@pytest.fixture
def stored() -> types_pb2.Number:
    return types_pb2.Number(
        number="4001234567",
        tenant="acme",
        state=types_pb2.NUMBER_STATE_SUSPENDED,
        media=types_pb2.MEDIA_MODE_BYPASS,
        stages=[types_pb2.DialStage(lines=["a"]), types_pb2.DialStage(lines=["b"])],
        etag="7",
        create_time=Timestamp(seconds=1),
    )


def apply(stored: types_pb2.Number, given: types_pb2.Number, *paths: str) -> types_pb2.Number:
    return updatemask.apply(stored, given, FieldMask(paths=paths), IMMUTABLE, "number")


def test_masked_fields_change_and_others_stay(stored: types_pb2.Number) -> None:
    given = types_pb2.Number(media=types_pb2.MEDIA_MODE_ANCHOR, stages=[types_pb2.DialStage(lines=["c"])])
    merged = apply(stored, given, "stages")
    assert [list(stage.lines) for stage in merged.stages] == [["c"]]
    assert merged.media == types_pb2.MEDIA_MODE_BYPASS
    assert [list(stage.lines) for stage in stored.stages] == [["a"], ["b"]], "the stored one is not touched"


def test_a_masked_field_that_is_absent_is_cleared(stored: types_pb2.Number) -> None:
    assert apply(stored, types_pb2.Number(), "state").state == types_pb2.NUMBER_STATE_UNSPECIFIED


@pytest.mark.parametrize("paths", [(), ("*",)])
def test_without_a_mask_all_that_can_change_is_replaced(stored: types_pb2.Number, paths: tuple[str, ...]) -> None:
    merged = apply(stored, types_pb2.Number(stages=[types_pb2.DialStage(lines=["c"])]), *paths)
    expected = types_pb2.Number(
        number="4001234567",
        tenant="acme",
        stages=[types_pb2.DialStage(lines=["c"])],
        etag="7",
        create_time=Timestamp(seconds=1),
    )
    assert merged == expected


def test_a_field_within_a_field_changes_alone(stored: types_pb2.Number) -> None:
    stored.limits.concurrent_calls = 10
    stored.limits.calls_per_second = 5
    merged = apply(stored, types_pb2.Number(limits=types_pb2.Limits(concurrent_calls=20)), "limits.concurrent_calls")
    assert merged.limits == types_pb2.Limits(concurrent_calls=20, calls_per_second=5)
    merged = apply(stored, types_pb2.Number(), "limits.concurrent_calls")
    assert merged.limits == types_pb2.Limits(calls_per_second=5), "absent: cleared"


def test_a_field_within_one_that_is_not_there(stored: types_pb2.Number) -> None:
    given = types_pb2.Number(limits=types_pb2.Limits(concurrent_calls=0, calls_per_second=5))
    merged = apply(stored, given, "limits.concurrent_calls", "screening.blacklists")
    assert merged.limits == types_pb2.Limits(concurrent_calls=0), "a zero that was given is no absence"
    assert not merged.HasField("screening"), "nothing was given, nothing is made"
    assert apply(merged, types_pb2.Number(), "limits.concurrent_calls") == stored, "what is empty then goes, too"


def test_a_field_within_one_that_cannot_change(stored: types_pb2.Number) -> None:
    stored.limits.concurrent_calls = 10
    stored.limits.calls_per_second = 5
    mask = FieldMask(paths=["limits.concurrent_calls"])
    given = types_pb2.Number(limits=types_pb2.Limits(concurrent_calls=10))
    assert updatemask.apply(stored, given, mask, IMMUTABLE | {"limits"}, "number") == stored
    given.limits.concurrent_calls = 11
    with pytest.raises(InvalidFieldError, match=r"number\.limits\.concurrent_calls: cannot be changed"):
        updatemask.apply(stored, given, mask, IMMUTABLE | {"limits"}, "number")


def test_output_only_fields_are_ignored(stored: types_pb2.Number) -> None:
    given = types_pb2.Number(etag="9", create_time=Timestamp(seconds=9), update_time=Timestamp(seconds=9))
    assert apply(stored, given, "etag", "create_time", "update_time") == stored


@pytest.mark.parametrize(
    "path",
    ["stage", "stages.lines", "stages[0]", "", "State", "create_time.seconds", "limits.", "limits.nope", "number.x"],
)
def test_unknown_paths_are_refused(stored: types_pb2.Number, path: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        apply(stored, types_pb2.Number(), "state", path)
    assert [violation.field for violation in caught.value.violations] == ["update_mask.paths[1]"]


def test_a_star_is_only_good_alone(stored: types_pb2.Number) -> None:
    with pytest.raises(InvalidFieldError, match=r"update_mask\.paths\[0\]"):
        apply(stored, types_pb2.Number(), "*", "state")


def test_what_cannot_change_may_be_sent_as_it_is(stored: types_pb2.Number) -> None:
    assert apply(stored, types_pb2.Number(number="4001234567", tenant="acme"), "tenant", "number") == stored


@pytest.mark.parametrize("paths", [(), ("tenant",)])
def test_what_cannot_change_is_refused_if_it_differs(stored: types_pb2.Number, paths: tuple[str, ...]) -> None:
    with pytest.raises(InvalidFieldError, match=r"number\.tenant: cannot be changed"):
        apply(stored, types_pb2.Number(tenant="best"), *paths)


def test_what_cannot_change_is_not_looked_at_outside_the_mask(stored: types_pb2.Number) -> None:
    given = types_pb2.Number(tenant="best", state=types_pb2.NUMBER_STATE_ACTIVE)
    assert apply(stored, given, "state").tenant == "acme"


def test_without_output_only(stored: types_pb2.Number) -> None:
    kept = updatemask.without_output_only(stored)
    assert not kept.etag
    assert not kept.HasField("create_time")
    assert kept.number == "4001234567"
