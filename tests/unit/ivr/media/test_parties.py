"""What is settled with a party, and what rtpengine and the party are told."""

from __future__ import annotations

import pytest
from signalbox.ivr.media import parties
from signalbox.ivr.media.errors import MediaRefusedError, UnusableDescriptionError
from signalbox.sip.sdp import SessionDescription


def offer(*lines: str, connection: str = "IN IP4 192.0.2.7") -> str:
    return "\r\n".join(("v=0", "o=alice 5 9 IN IP4 192.0.2.7", "s=-", f"c={connection}", "t=0 0", *lines, ""))


AUDIO = ("m=audio 4000 RTP/AVP 9 0 8 101", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:30")


@pytest.mark.parametrize(
    ("formats", "chosen"),
    [
        ("8 0", "PCMA"),
        ("0 8", "PCMU"),
        ("9 18 0", "PCMU"),
        ("18 9", "G729"),
        ("9 18", "G722"),
    ],
)
def test_g711_as_the_caller_prefers_it_and_else_what_can_be_transcoded(formats: str, chosen: str) -> None:
    assert parties.read(offer(f"m=audio 4000 RTP/AVP {formats}")).codec.name == chosen


def test_the_codec_of_before_is_kept_whatever_is_preferred_now() -> None:
    before = parties.read(offer("m=audio 4000 RTP/AVP 0 8"))
    assert parties.read(offer("m=audio 4000 RTP/AVP 8 0"), before).codec.name == "PCMU"
    assert parties.read(offer("m=audio 4000 RTP/AVP 8"), before).codec.name == "PCMA"


def test_what_is_settled() -> None:
    caller = parties.read(offer(*AUDIO))
    assert caller.address == ("192.0.2.7", 4000)
    assert (caller.codec.payload, caller.law.name, caller.ptime, caller.direction) == (0, "PCMU", 30, "sendrecv")
    assert caller.events is not None
    assert (caller.events.payload, caller.events.parameters) == (101, "0-16")
    assert not caller.held


def test_events_of_another_clock_are_none_of_the_codec() -> None:
    lines = ("m=audio 4000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/48000")
    assert parties.read(offer(*lines)).events is None


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("m=audio 4000 RTP/AVP 3 101", "a=rtpmap:101 telephone-event/8000"), "no codec but GSM, telephone-event"),
        (("m=audio 4000 RTP/AVP 97",), "no codec but 97"),
        (("m=audio 0 RTP/AVP 8",), "no audio by RTP/AVP"),
        (("m=video 4000 RTP/AVP 31",), "no audio by RTP/AVP"),
        (("m=audio 4000 RTP/SAVP 8",), "no audio by RTP/AVP"),
        ((), "no audio by RTP/AVP"),
        (("m=audio many RTP/AVP 8",), "line 6"),
    ],
)
def test_an_offer_that_cannot_be_served_is_refused_with_the_reason(lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(UnusableDescriptionError, match=why):
        parties.read(offer(*lines))


def test_rtpengine_is_told_of_one_stream_and_one_codec() -> None:
    caller = parties.read(offer("m=video 5000 RTP/AVP 31", *AUDIO))
    told = SessionDescription.parse(parties.told_of(caller))
    (media,) = told.media
    assert [one.name for one in media.codecs] == ["PCMU", "telephone-event"]
    assert told.address(media) == ("192.0.2.7", 4000)
    assert media.ptime == 30


@pytest.mark.parametrize("direction", ["sendonly", "inactive", "recvonly"])
def test_rtpengine_is_told_of_no_hold(direction: str) -> None:
    caller = parties.read(offer("m=audio 4000 RTP/AVP 8", f"a={direction}"))
    assert caller.held == (direction != "recvonly")
    told = SessionDescription.parse(parties.told_of(caller))
    assert told.direction(told.media[0]) == "sendrecv"


def test_who_holds_in_the_old_way_is_still_where_it_was() -> None:
    before = parties.read(offer("m=audio 4000 RTP/AVP 8"))
    held = parties.read(offer("m=audio 4000 RTP/AVP 8", connection="IN IP4 0.0.0.0"), before)
    assert held.held
    assert held.address == ("192.0.2.7", 4000)


def test_the_answer_has_a_stream_for_each_of_the_offer() -> None:
    caller = parties.read(offer("m=video 5000 RTP/AVP 31", *AUDIO, "a=sendonly", "m=audio 6000 RTP/AVP 8"))
    answer = SessionDescription.parse(parties.Ours().answer(("198.51.100.1", 30_000), caller))
    assert [(one.kind, one.port) for one in answer.media] == [("video", 0), ("audio", 30_000), ("audio", 0)]
    ours = answer.media[1]
    assert answer.address(ours) == ("198.51.100.1", 30_000)
    assert answer.direction(ours) == "recvonly"
    assert ours.formats == ("0", "101")


def test_each_description_of_ours_is_a_version_of_the_same() -> None:
    ours, caller = parties.Ours(), parties.read(offer(*AUDIO))
    first, second = (SessionDescription.parse(ours.answer(("198.51.100.1", 30_000), caller)).origin for _ in range(2))
    assert (second.session_id, second.version) == (first.session_id, first.version + 1)


def test_ipv6() -> None:
    caller = parties.read(offer("m=audio 4000 RTP/AVP 8", connection="IN IP6 2001:db8::7"))
    assert caller.address == ("2001:db8::7", 4000)
    assert "c=IN IP6 2001:db8::7\r\n" in parties.told_of(caller)
    assert "c=IN IP6 ::1\r\n" in parties.nobody_for(caller)
    assert "c=IN IP6 2001:db8::1\r\n" in parties.Ours().answer(("2001:db8::1", 30_000), caller)


@pytest.mark.parametrize("written", ["", "v=0\r\n", offer(), offer("m=audio 0 RTP/AVP 8")])
def test_nonsense_of_rtpengine_is_refused(written: str) -> None:
    with pytest.raises(MediaRefusedError, match="rtpengine"):
        parties.address_of(written)
    with pytest.raises(MediaRefusedError, match="rtpengine"):
        parties.Ours().offer_of(written)
