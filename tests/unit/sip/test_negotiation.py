"""Offers and answers: codecs, directions, hold, refused media."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.sip.codec import EVENTS, PCMA, PCMU, STATIC, Codec
from signalbox.sip.negotiation import (
    AnswerError,
    NotAcceptableError,
    Stream,
    Terms,
    answer,
    check_answer,
    offer,
    offer_again,
    redirect,
    streams,
    succeed,
)
from signalbox.sip.sdp import DIRECTIONS, Connection, Media, Origin, SessionDescription

THEIRS = Origin("-", 11, 1, Connection("198.51.100.7"))
OURS = Origin("-", 22, 1, Connection("192.0.2.1"))
USUAL = Terms()


def offered(*media: str, connection: str = "IN IP4 198.51.100.7") -> SessionDescription:
    head = f"v=0\r\no={THEIRS}\r\ns=-\r\nc={connection}\r\nt=5 6\r\n"
    return SessionDescription.parse(head + "".join(f"{line}\r\n" for line in media))


def answered(*media: str, connection: str = "IN IP4 198.51.100.7", terms: Terms = USUAL) -> SessionDescription:
    return answer(offered(*media, connection=connection), OURS, "192.0.2.1", 4_000, terms)


def only(description: SessionDescription) -> Media:
    (media,) = description.media
    return media


AUDIO = ("m=audio 5000 RTP/AVP 0 8 96", "a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-15,66")


def test_an_offer_as_it_is_sent() -> None:
    assert str(offer(OURS, "192.0.2.1", 4_000, Terms(ptime=20))).split("\r\n") == [
        "v=0",
        "o=- 22 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 4000 RTP/AVP 8 0 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]


def test_an_answer_as_it_is_sent() -> None:
    assert str(answered(*AUDIO, "m=video 6000 RTP/AVP 31")).split("\r\n") == [
        "v=0",
        "o=- 22 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=5 6",
        "m=audio 4000 RTP/AVP 0 8 96",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:96 telephone-event/8000",
        "a=fmtp:96 0-15",
        "a=sendrecv",
        "m=video 0 RTP/AVP 31",
        "",
    ]


def test_an_answer_to_an_offer_without_times_has_some() -> None:
    without = replace(offered(*AUDIO), lines=())
    without = replace(without, media=(replace(without.media[0], lines=(("c", "IN IP4 198.51.100.7"),)),))
    assert ("t", "0 0") in answer(without, OURS, "192.0.2.1", 4_000).lines


def test_codecs_have_the_order_and_the_numbers_of_the_offer() -> None:
    media = only(answered("m=audio 5000 RTP/AVP 97 8", "a=rtpmap:97 pcmu/8000"))
    assert media.codecs == (Codec(97, "pcmu", 8_000), PCMA)


def test_parameters_in_an_answer_are_ours() -> None:
    terms = Terms((replace(STATIC[18], parameters="annexb=no"),))
    media = only(answered("m=audio 5000 RTP/AVP 18", "a=fmtp:18 annexb=yes", terms=terms))
    assert media.codecs == terms.codecs


def test_events_are_those_that_both_have() -> None:
    terms = Terms((PCMA, replace(EVENTS, parameters="0-11,16")))
    media = only(answered("m=audio 5000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000", terms=terms))
    assert media.codecs[1].parameters == "0-11"


@pytest.mark.parametrize("events", ["16", "nonsense"])
def test_events_that_nobody_shares_are_left_out_and_the_call_goes_on(events: str) -> None:
    media = only(answered("m=audio 5000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000", f"a=fmtp:101 {events}"))
    assert media.codecs == (PCMA,)


@pytest.mark.parametrize(
    ("media", "warning"),
    [
        ((), 304),
        (("m=video 6000 RTP/AVP 31",), 304),
        (("m=audio 0 RTP/AVP 8",), 304),
        (("m=audio 5000 RTP/SAVP 8",), 302),
        (("m=audio 5000 RTP/AVP 18",), 305),
        (("m=audio 5000 RTP/AVP 96",), 305),
        (("m=audio 5000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"), 305),
        (("m=audio 5000 RTP/AVP 13",), 305),
        (("m=audio 5000 RTP/SAVP 8", "m=audio 5000 RTP/AVP 18"), 305),
    ],
)
def test_an_offer_of_which_nothing_suits_is_refused_with_a_warning(media: tuple[str, ...], warning: int) -> None:
    with pytest.raises(NotAcceptableError, match="offer refused: ") as raised:
        answered(*media, terms=Terms((PCMA, STATIC[13], EVENTS)))
    assert raised.value.code == 488
    assert str(raised.value) == f"offer refused: {raised.value.why}"
    assert raised.value.warning == warning


def test_the_first_audio_that_suits_is_taken() -> None:
    description = answered(
        "m=audio 5000 RTP/SAVP 8", "m=audio 5002 RTP/AVP 18", "m=audio 5004 RTP/AVPF 8", "m=audio 5006 RTP/AVP 8"
    )
    assert [one.port for one in description.media] == [0, 0, 4_000, 0]
    assert [one.protocol for one in description.media] == ["RTP/SAVP", "RTP/AVP", "RTP/AVPF", "RTP/AVP"]


@pytest.mark.parametrize(
    ("theirs", "wanted", "told"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendrecv", "recvonly", "recvonly"),
        ("sendrecv", "inactive", "inactive"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "sendonly", "sendonly"),
        ("sendonly", "recvonly", "recvonly"),
        ("recvonly", "recvonly", "inactive"),
        ("inactive", "inactive", "inactive"),
    ],
)
def test_the_direction_of_an_answer_follows_from_the_offer(theirs: str, wanted: str, told: str) -> None:
    description = answered(*AUDIO, f"a={theirs}", terms=Terms(direction=wanted))
    assert description.direction(only(description)) == told


def test_hold_in_the_old_form_is_answered_with_receiving_alone() -> None:
    description = answered(*AUDIO, connection="IN IP4 0.0.0.0")
    assert description.direction(only(description)) == "recvonly"
    assert description.address(only(description)) == ("192.0.2.1", 4_000)


def test_what_was_agreed_from_both_sides() -> None:
    theirs = offered(*AUDIO, "a=ptime:30", "a=rtcp:5009", "m=video 6000 RTP/AVP 31")
    ours = answer(theirs, OURS, "192.0.2.1", 4_000, Terms(ptime=20))
    both = replace(EVENTS, payload=96)
    assert streams(ours, theirs) == (
        Stream(True, True, (PCMU, PCMA), both, 30, ("198.51.100.7", 5_000), ("198.51.100.7", 5_009)),
        None,
    )
    assert streams(theirs, ours) == (
        Stream(True, True, (PCMU, PCMA), both, 20, ("192.0.2.1", 4_000), ("192.0.2.1", 4_001)),
        None,
    )


def test_a_hold_that_is_answered_as_if_it_were_none_is_a_hold() -> None:
    ours = redirect(offer(OURS, "192.0.2.1", 4_000), "sendonly")
    theirs = offered("m=audio 5000 RTP/AVP 8", "a=sendrecv")
    check_answer(ours, theirs)
    (stream,) = streams(ours, theirs)
    assert stream is not None
    assert (stream.send, stream.receive) == (True, False)


def test_nothing_is_sent_to_who_tells_no_address() -> None:
    ours, theirs = offer(OURS, "192.0.2.1", 4_000), offered("m=audio 5000 RTP/AVP 8", connection="IN IP4 0.0.0.0")
    (stream,) = streams(ours, theirs)
    assert stream is not None
    assert (stream.send, stream.receive, stream.remote, stream.remote_rtcp) == (False, True, None, None)


@pytest.mark.parametrize(
    ("media", "at", "told"),
    [
        ((), None, "must have 1 media as the offer, not 0"),
        (("m=audio 5000 RTP/AVP 8", "m=audio 5000 RTP/AVP 8"), None, "must have 1 media as the offer, not 2"),
        (("m=video 5000 RTP/AVP 8",), 0, "must be audio RTP/AVP as in the offer"),
        (("m=audio 5000 RTP/SAVP 8",), 0, "must be audio RTP/AVP as in the offer"),
        (("m=audio 5000 RTP/AVP 18",), 0, "must have a codec of the offer"),
        (("m=audio 5000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"), 0, "must have a codec of the offer"),
        (("m=audio 0 RTP/AVP 8",), None, "refuses all media"),
    ],
)
def test_what_is_no_answer_to_our_offer(media: tuple[str, ...], at: int | None, told: str) -> None:
    with pytest.raises(AnswerError, match=told) as raised:
        check_answer(offer(OURS, "192.0.2.1", 4_000), offered(*media))
    assert raised.value.media == at
    assert str(raised.value).endswith(f": {raised.value.why}")


def test_media_that_the_offer_refused_stays_refused() -> None:
    ours = offered("m=audio 5000 RTP/AVP 8", "m=video 0 RTP/AVP 31")
    with pytest.raises(AnswerError, match="media 1: must have port 0 as in the offer"):
        check_answer(ours, offered("m=audio 5000 RTP/AVP 8", "m=video 6000 RTP/AVP 31"))
    check_answer(ours, offered("m=audio 5000 RTP/AVP 8", "m=video 0 RTP/AVP 31"))


def test_a_later_offer_keeps_the_media_in_their_order() -> None:
    agreed = answered("m=video 6000 RTP/AVP 31", *AUDIO, "m=audio 7000 RTP/AVP 8")
    again = offer_again(agreed, "192.0.2.2", 4_100, Terms((PCMA,)))
    assert [(one.kind, one.port) for one in again.media] == [("video", 0), ("audio", 4_100), ("audio", 0)]
    assert again.media[1].codecs == (PCMA,)
    assert again.address(again.media[1]) == ("192.0.2.2", 4_100)


def test_a_later_offer_adds_audio_where_none_is_left() -> None:
    agreed = offered("m=audio 0 RTP/AVP 8")
    assert [one.port for one in offer_again(agreed, "192.0.2.1", 4_000).media] == [0, 4_000]


def test_a_version_grows_with_each_change_and_not_without() -> None:
    first = offer(OURS, "192.0.2.1", 4_000)
    assert succeed(first, offer(replace(OURS, session_id=99), "192.0.2.1", 4_000)) is first
    second = succeed(first, redirect(first, "sendonly"))
    third = succeed(second, redirect(second, "sendrecv"))
    assert [one.origin.version for one in (first, second, third)] == [1, 2, 3]
    assert {one.origin.session_id for one in (first, second, third)} == {22}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_another_direction_of_all_that_lives(direction: str) -> None:
    description = offered(
        "i=sendonly", "a=sendonly", "m=audio 5000 RTP/AVP 8", "a=recvonly", "m=video 0 RTP/AVP 31", "a=x"
    )
    turned = redirect(description, direction)
    assert turned.direction(turned.media[0]) == direction
    assert turned.media[1] == description.media[1]
    assert turned.lines == tuple(line for line in description.lines if line != ("a", "sendonly"))
    assert ("i", "sendonly") in turned.lines
    assert redirect(turned, "recvonly").media[0].attributes("recvonly") == [""]


KNOWN = [PCMA, PCMU, STATIC[9], STATIC[18], EVENTS, Codec(97, "opus", 48_000, 2)]
TERMS = st.builds(
    Terms,
    st.lists(st.sampled_from(KNOWN), min_size=1, unique=True).map(tuple),
    st.sampled_from(DIRECTIONS),
    st.none() | st.integers(10, 60),
)


@given(TERMS, TERMS)
@settings(deadline=None)
def test_an_answer_fits_its_offer_and_both_sides_see_the_same(theirs: Terms, ours: Terms) -> None:
    first = offer(THEIRS, "198.51.100.7", 5_000, theirs)
    shared = [one for one in theirs.codecs if one in ours.codecs and not one.is_events]
    if not shared:
        with pytest.raises(NotAcceptableError):
            answer(first, OURS, "192.0.2.1", 4_000, ours)
        return
    second = answer(first, OURS, "192.0.2.1", 4_000, ours)
    check_answer(first, second)
    (seen_there,), (seen_here,) = streams(first, second), streams(second, first)
    assert seen_there is not None
    assert seen_here is not None
    assert seen_there.codecs == seen_here.codecs == tuple(shared)
    assert (seen_there.send, seen_there.receive) == (seen_here.receive, seen_here.send)
    assert (
        (seen_there.events is None)
        == (seen_here.events is None)
        == (EVENTS not in theirs.codecs or EVENTS not in ours.codecs)
    )
    assert seen_here.ptime == theirs.ptime
    assert seen_there.ptime == ours.ptime


@given(TERMS, TERMS, st.lists(st.sampled_from(["m=video 6000 RTP/AVP 31", "m=audio 0 RTP/AVP 8"]), max_size=3))
@settings(deadline=None)
def test_media_of_an_answer_are_as_many_as_were_offered(theirs: Terms, ours: Terms, more: list[str]) -> None:
    first = offer(THEIRS, "198.51.100.7", 5_000, replace(theirs, codecs=(PCMA,)))
    first = replace(first, media=(*(Media.parse(line[2:]) for line in more), *first.media))
    second = answer(first, OURS, "192.0.2.1", 4_000, replace(ours, codecs=(PCMA, PCMU)))
    check_answer(first, second)
    assert [one.kind for one in second.media] == [one.kind for one in first.media]
    assert [one.port for one in second.media] == [*(0 for _ in more), 4_000]
