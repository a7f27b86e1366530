"""Objects as bytes and back."""

from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.store import codec
from signalbox.store.base import Entry

OBJECTS = {
    "rules/tenants/acme": types_pb2.Tenant(id="acme", display_name="Acme"),
    "rules/trunks/t1": types_pb2.Trunk(id="t1", source_addresses=["192.0.2.0/24"]),
    "rules/lines/acme/front": types_pb2.Line(tenant="acme", id="front", user="+4930", host="192.0.2.7"),
    "rules/numbers/67/4001234567": types_pb2.Number(number="4001234567", tenant="acme"),
    "live/edges/edge-1": routing_pb2.Edge(id="edge-1", advertised_addresses=["192.0.2.1:5060"]),
    "live/media/media-1": routing_pb2.MediaNode(id="media-1", number=1),
}


def entry(key: str, value: bytes, revision: int = 7) -> Entry:
    return Entry(key, value, revision, revision)


@pytest.mark.parametrize("key", OBJECTS)
def test_an_object_comes_back_with_its_revision_as_etag(key: str) -> None:
    message = OBJECTS[key]
    assert codec.key_of(message) == key
    found = codec.decode(type(message), entry(key, codec.encode(message)))
    assert found == codec.decode_any(entry(key, codec.encode(message)))
    if "etag" in message.DESCRIPTOR.fields_by_name:
        assert found.etag == "7"  # type: ignore[attr-defined]
        found.etag = ""  # type: ignore[attr-defined]
    assert found == message


def test_the_etag_is_not_stored() -> None:
    message = types_pb2.Tenant(id="acme", etag="12")
    assert codec.encode(message) == codec.encode(types_pb2.Tenant(id="acme"))
    assert message.etag == "12"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\xff\xff\xff", "not a protobuf message"),
        (b"", "holds the object of rules/tenants/$"),
        (codec.encode(types_pb2.Tenant(id="other")), "holds the object of rules/tenants/other"),
    ],
)
def test_a_damaged_value_names_its_key(value: bytes, why: str) -> None:
    for decode in (lambda found: codec.decode(types_pb2.Tenant, found), codec.decode_any):
        with pytest.raises(codec.DamagedValueError, match=f"value of rules/tenants/acme is damaged: {why}") as caught:
            decode(entry("rules/tenants/acme", value))
        assert caught.value.key == "rules/tenants/acme"


def test_a_key_of_no_known_family_is_none() -> None:
    assert codec.decode_any(entry("rules/novelties/x", b"\xff")) is None


def test_only_our_objects_have_keys() -> None:
    with pytest.raises(TypeError, match="Struct"):
        codec.key_of(Struct())


def test_numbers_of_media_nodes() -> None:
    assert codec.decode_media_id(entry("ids/media/m", codec.encode_media_id(65_535))) == 65_535
    for wrong in (b"", b"x", b"0", b"65536", b"-1"):
        with pytest.raises(codec.DamagedValueError, match="ids/media/m"):
            codec.decode_media_id(entry("ids/media/m", wrong))


def test_a_time_is_rounded_once() -> None:
    time = Timestamp(seconds=1_767_225_600, nanos=999_999_999)
    assert codec.seconds(time) == float("1767225600.999999999")
    late = Timestamp(seconds=253_402_300_799, nanos=123_456_789)
    assert codec.seconds(late) == float("253402300799.123456789")
