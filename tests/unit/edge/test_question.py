"""Questions of the proxy: nothing malformed gets through, and a broken datagram breaks nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.edge.question import MalformedError, UnreadableError, parse
from support.kamailio_fake import b64, question


def test_a_question_is_read_whole() -> None:
    asked = parse(question(7, 4_000_000_000, pa=b64("+8613800001234"), dv=2))
    assert (asked.index, asked.label) == (7, 4_000_000_000)
    request = asked.request
    assert request.call_id == "edge-1-65a1b2c3-7-4000000000"
    assert (request.trunk, request.called, request.calling) == ("carrier-a", "4001234567", "13800001234")
    assert (request.asserted, request.source_address, request.diversions) == ("+8613800001234", "192.0.2.9", 2)


@pytest.mark.parametrize(
    ("calling", "asserted", "shows"),
    [
        ("13800001234", "", False),
        ("", "", False),
        ("客户服务", "anonymous", False),
        ("4001234567", "", True),
        ("+864001234567", "", True),
        ("400-123-4567", "13800001234", True),
        ("13800001234", "4001234567", True),
        ("anonymous", "95105123", True),
        ("01088886666", "13800001234", False),
    ],
)
def test_a_service_number_as_calling_number_is_seen_wherever_it_stands(
    calling: str, asserted: str, shows: bool
) -> None:
    assert parse(question(fr=b64(calling), pa=b64(asserted))).anonymous is shows


def test_a_worker_s_leg_is_read_and_others_have_none() -> None:
    leg = "a-_9" * 256
    assert parse(question(tr="_voice", lg=leg)).request.leg == leg
    assert parse(question(lg="")).request.leg == ""
    earlier = json.loads(question())
    del earlier["lg"]
    assert parse(json.dumps(earlier).encode()).request.leg == ""


def test_whose_call_a_leg_is_for_is_read() -> None:
    assert parse(question(tr="_voice", lg="leg", pn="edge-1-1-2-3")).request.parent == "edge-1-1-2-3"
    assert parse(question(pn="")).request.parent == ""
    earlier = json.loads(question())
    del earlier["pn"]
    assert parse(json.dumps(earlier).encode()).request.parent == ""


def test_names_in_any_script_are_passed_on() -> None:
    assert parse(question(fr=b64("客户服务"))).request.calling == "客户服务"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2),
        ("to", ""),
        ("to", b64("400\r\n1234567")),
        ("to", b64("400\x001234567")),
        ("to", b64(b"\xff\xfe400")),
        ("to", b64("4" * 65)),
        ("to", "***"),
        ("to", "NDAw\n"),
        ("to", 4001234567),
        ("fr", b64("a\tb")),
        ("fr", b64("\u202e1380")),
        ("fr", None),
        ("pa", b64("\x7f")),
        ("pa", b64("9" * 65)),
        ("lg", "a" * 1025),
        ("lg", "a b"),
        ("lg", "a=="),
        ("lg", "a\n"),
        ("lg", None),
        ("lg", 0),
        ("pn", "c" * 129),
        ("pn", "a\n"),
        ("pn", None),
        ("pn", 0),
        ("id", ""),
        ("id", "x" * 129),
        ("id", 'edge"1'.replace('"', "\x01")),
        ("tr", ""),
        ("tr", "t" * 64),
        ("tr", ["carrier-a"]),
        ("src", "1" * 46),
        ("src", "adressé"),
        ("dv", -1),
        ("dv", 1001),
        ("dv", True),
        ("dv", "0"),
    ],
)
def test_a_malformed_value_names_the_transaction_and_the_field(field: str, value: object) -> None:
    with pytest.raises(MalformedError) as caught:
        parse(question(11, 22, **{field: value}))
    assert (caught.value.index, caught.value.label, caught.value.field) == (11, 22, field)


def test_the_call_of_a_malformed_question_is_named_if_its_id_is_well_formed() -> None:
    for changes, call_id in (
        ({"to": ""}, "edge-1-65a1b2c3-7-9"),
        ({"v": 2}, "edge-1-65a1b2c3-7-9"),
        ({"id": "a\nb"}, ""),
        ({"v": 2, "id": ["x"]}, ""),
        ({"id": "x" * 129, "dv": -1}, ""),
    ):
        with pytest.raises(MalformedError) as caught:
            parse(question(7, 9, **changes))
        assert caught.value.call_id == call_id


@pytest.mark.parametrize("field", ["v", "id", "tr", "to", "fr", "pa", "src", "dv"])
def test_a_missing_value_is_malformed(field: str) -> None:
    fields = json.loads(question())
    del fields[field]
    with pytest.raises(MalformedError):
        parse(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xff\xff",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"i"',
        b"{}",
        b'{"i":1}',
        b'{"i":"1","l":2}',
        b'{"i":-1,"l":2}',
        b'{"i":4294967296,"l":2}',
        b'{"i":true,"l":2}',
        b'{"i":1.0,"l":2}',
        b"[" * 100_000,
    ],
)
def test_a_datagram_without_a_transaction_is_unreadable(datagram: bytes) -> None:
    with pytest.raises(UnreadableError):
        parse(datagram)


@given(st.binary(max_size=300))
def test_any_datagram_is_a_question_or_one_of_two_errors(datagram: bytes) -> None:
    with pytest.raises((MalformedError, UnreadableError)):
        parse(datagram)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers()))
            for name in ("v", "i", "l", "id", "tr", "to", "fr", "pa", "src", "dv")
        },
    )
)
def test_any_value_of_any_field_is_accepted_clean_or_refused(changes: dict[str, object]) -> None:
    try:
        request = parse(question(**changes)).request if "i" not in changes and "l" not in changes else None
    except (MalformedError, UnreadableError):
        return
    if request is not None:
        for text in (request.call_id, request.trunk, request.called, request.calling, request.asserted):
            assert text.isprintable()
            assert len(text) <= 128
