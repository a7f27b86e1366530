"""What rtpengine tells of keys, as both versions send it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from signalbox.media.voice.keydatagram import KeyPress, MalformedKeyError, parse

OLD = (
    b'{"callid":"ivr-1.7f3a","source_tag":"a","tags":["b","a"],"type":"DTMF","timestamp":1795367000,'
    b'"source_ip":"192.0.2.1","event":5,"duration":100,"volume":10}'
)
"""Of 10.5."""
NEW = OLD.replace(b'"tags"', b'"source_label":"","tags"')
"""Of 12.5."""


def but(**told: Any) -> bytes:
    """A good one with something else in it."""
    return json.dumps({**json.loads(OLD), **told}).encode()


@pytest.mark.parametrize("datagram", [OLD, NEW])
def test_both_versions_are_understood(datagram: bytes) -> None:
    press = parse(datagram)
    assert press == KeyPress("ivr-1.7f3a", "a", event=5, duration_ms=100, volume=10)
    assert (press.digit, press.worker) == ("5", "ivr-1")


def test_every_key_has_its_digit_and_nothing_else_has_one() -> None:
    assert "".join(parse(but(event=event)).digit for event in range(16)) == "0123456789*#ABCD"
    assert [parse(but(event=event)).digit for event in (16, 255)] == ["", ""]


@pytest.mark.parametrize(
    ("call_id", "worker"),
    [
        ("ivr-1.7", "ivr-1"),
        ("a.b.c", "a"),
        ("a.\n", "a"),
        ("edge-1-1795367000-17-4711", ""),
        ("ivr-1.", ""),
        (".7", ""),
        ("7a.1", ""),
        ("Ivr.1", ""),
        ("a" * 63 + ".1", "a" * 63),
        ("a" * 64 + ".1", ""),
    ],
)
def test_the_worker_is_named_before_the_first_dot(call_id: str, worker: str) -> None:
    assert parse(but(callid=call_id)).worker == worker


def test_what_later_versions_tell_beside_it_is_passed_over() -> None:
    assert parse(but(source_port=4000)) == parse(OLD)


@pytest.mark.parametrize(
    ("datagram", "why"),
    [
        (b"", "no JSON"),
        (OLD[:-1], "no JSON"),
        (OLD + OLD, "no JSON"),
        (b"\xff" + OLD, "no JSON"),
        (OLD.replace(b'"a"', b'"a\n"'), "no JSON"),
        (OLD.replace(b'"source_tag":"a"', b'"source_tag":"a"b"'), "no JSON"),
        (b"[" * 60_000, "nested too deeply"),
        (b"[]", "no object"),
        (b"null", "no object"),
        (OLD.replace(b'"source_tag":"a"', b'"source_tag":"a","callid":"ivr-2.1","x":""'), "twice"),
        (OLD.replace(b'"tags":[', b'"tags":[{"a":1,"a":2},'), "twice"),
        (but(type="dtmf"), "type is not DTMF"),
        (but(callid=7), "callid is no text"),
        (but(callid=""), "callid is no text"),
        (but(source_tag=None), "source_tag is no text"),
        (but(source_tag="\ud800"), "source_tag is no text"),
        (but(event=-1), "event is no number from 0 to 255"),
        (but(event=256), "event"),
        (but(event=True), "event"),
        (but(event="5"), "event"),
        (but(duration=1.5), "duration"),
        (but(duration=1 << 32), "duration"),
        (but(volume=64), "volume is no number from 0 to 63"),
        (OLD.replace(b":10}", b":NaN}"), "volume"),
        (OLD.replace(b":10}", b":" + b"1" * 5000 + b"}"), "no JSON"),
    ],
)
def test_anything_else_is_malformed(datagram: bytes, why: str) -> None:
    with pytest.raises(MalformedKeyError, match=why):
        parse(datagram)


@pytest.mark.parametrize("name", ["callid", "source_tag", "type", "event", "duration", "volume"])
def test_nothing_that_is_needed_may_be_missing(name: str) -> None:
    told = json.loads(OLD)
    del told[name]
    with pytest.raises(MalformedKeyError, match=name):
        parse(json.dumps(told).encode())


def test_errors_tell_nothing_of_what_was_keyed() -> None:
    with pytest.raises(MalformedKeyError) as caught:
        parse(OLD.replace(b'"event":5', b'"event":4711'))
    assert "4711" not in str(caught.value)
