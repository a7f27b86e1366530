"""The torture corpora of RFC 4475 and RFC 5118: what is accepted, what is refused, and with which code."""

from __future__ import annotations

import pytest
from signalbox.sip.errors import MessageError
from signalbox.sip.message import Request, Response, response
from signalbox.sip.parser import Framer, parse
from signalbox.sip.validate import check
from support.corpus import CORPUS, MESSAGES, needs_corpus

pytestmark = needs_corpus

REFUSED_REQUESTS = {
    # RFC 4475 section 3.1.2: syntax.
    "badinv01.dat": (400, "Via"),
    "clerr.dat": (400, "Content-Length"),
    "ncl.dat": (400, "Content-Length"),
    "scalar02.dat": (400, "CSeq"),
    "quotbal.dat": (400, "To"),
    "ltgtruri.dat": (400, "Request-URI"),
    "lwsruri.dat": (400, "Request-Line"),
    "lwsstart.dat": (400, "Request-Line"),
    "trws.dat": (400, "Request-Line"),
    "escruri.dat": (400, "Request-URI"),
    "baddate.dat": (400, "Date"),
    "regbadct.dat": (400, "Contact"),
    "badaspec.dat": (400, "To"),
    "baddn.dat": (400, "From"),
    "badvers.dat": (505, "Request-Line"),
    "mismatch01.dat": (400, "CSeq"),
    "mismatch02.dat": (400, "CSeq"),
    # Sections 3.2 and 3.3: what a transaction, and a server, need.
    "badbranch.dat": (400, "Via"),
    "unkscm.dat": (416, "Request-URI"),
    "novelsc.dat": (416, "Request-URI"),
    "bext01.dat": (420, "Require"),
    "multi01.dat": (400, "From"),
    "mcl01.dat": (400, "Content-Length"),
    # RFC 5118 section 4.2.
    "ipv6-bad": (400, "Request-URI"),
}
REFUSED_UNANSWERED = {
    "insuf.dat": "From",
    "bigcode.dat": "Status-Line",
    "scalarlg.dat": "CSeq",
    "bcast.dat": "Via",
}
"""Responses, and the request that lacks what a response to it needs."""


def refusal(name: str) -> tuple[MessageError, Request | None]:
    """Why a message is refused, and the request to answer."""
    (file,) = (file for file in MESSAGES if file.name == name)
    try:
        message = parse(file.read_bytes())
    except MessageError as error:
        return error, error.request_head
    with pytest.raises(MessageError) as refused:
        check(message)
    return refused.value, message if isinstance(message, Request) and message.answerable else None


def test_the_corpus_is_whole():
    assert len(MESSAGES) == 49 + 12, f"{CORPUS} has other messages than those of RFC 4475 and RFC 5118"


@pytest.mark.parametrize(("name", "expected"), REFUSED_REQUESTS.items())
def test_an_invalid_request_is_answered_with_the_field_that_is_wrong(name: str, expected: tuple[int, str]):
    error, request = refusal(name)
    assert (error.code, error.field) == expected
    assert request is not None
    answer = parse(response(request, error.code, error.phrase, tag="t", headers=error.headers).encode())
    assert isinstance(answer, Response)
    assert (answer.status, answer.reason) == (error.code, str(error))
    assert answer.headers.get("Via") == request.headers.get("Via")
    assert answer.call_id == request.headers.get("Call-ID")


@pytest.mark.parametrize(("name", "field"), REFUSED_UNANSWERED.items())
def test_what_cannot_be_answered_is_refused(name: str, field: str):
    error, request = refusal(name)
    assert (error.field, request) == (field, None)


ACCEPTED = [file for file in MESSAGES if file.name not in REFUSED_REQUESTS | REFUSED_UNANSWERED]


@pytest.mark.parametrize("file", ACCEPTED, ids=lambda file: file.name)
def test_every_other_message_is_accepted_and_survives(file):
    message = parse(file.read_bytes())
    check(message)
    assert parse(message.encode()) == message
    assert Framer().feed(message.encode()) == [message.encode()]


def test_a_short_tortuous_invite_says_what_it_says():
    message = parse((CORPUS / "rfc4475" / "wsinv.dat").read_bytes())
    assert isinstance(message, Request)
    assert message.to.tag == "1918181833n"
    assert (message.from_.display, message.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert (message.max_forwards, message.cseq.number, message.call_id) == (68, 9, "wsinv.ndaksdj@192.0.2.1")
    assert [(via.transport, via.sent_by, via.branch) for via in message.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert message.contact is not None
    assert message.contact.display == 'Quoted string ""'
    assert message.contact.params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert message.headers.get("Subject") == ""
    assert message.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.routes[0].uri.params == {"lr": None, "unknownwith": "value", "unknown-no-value": None}
    assert len(message.body) == 150


def test_the_wide_range_of_valid_characters_is_read():
    message = parse((CORPUS / "rfc4475" / "intmeth.dat").read_bytes())
    assert isinstance(message, Request)
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_.params["fromparam''~+*_!.-%"] == '"работающий"'
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"


def test_the_long_request_has_all_its_vias():
    message = parse((CORPUS / "rfc4475" / "longreq.dat").read_bytes())
    assert len(message.vias) == 34
    assert message.vias[-1].received == "192.0.2.5"


def test_what_follows_a_request_in_its_datagram_is_left_out():
    message = parse((CORPUS / "rfc4475" / "dblreq.dat").read_bytes())
    assert isinstance(message, Request)
    assert (message.method, message.body) == ("REGISTER", b"")
