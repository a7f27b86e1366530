"""Malformed messages: our own, and the SIP torture corpus (RFC 4475, RFC 5118), which is no part of this repository.

``SIP_CORPUS`` in the environment names its directory, with ``rfc4475/`` and ``rfc5118/`` in it; by default it is
``shared/sip-corpus`` beside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.sip_agent import SDP

if TYPE_CHECKING:
    from support.sip_agent import Agent

CORPUS = Path(os.environ.get("SIP_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "sip-corpus")

MESSAGES = sorted(file for folder in ("rfc4475", "rfc5118") for file in (CORPUS / folder).glob("*") if file.is_file())

needs_corpus = pytest.mark.skipif(not MESSAGES, reason=f"no SIP torture corpus at {CORPUS} (set SIP_CORPUS)")

CHANGES = [
    ("Call-ID: {call.call_id}", 'Call-ID: a|b"\x01c'),
    ("Call-ID: {call.call_id}", "Call-ID: a b"),
    ("Call-ID: {call.call_id}", "Call-ID: {call.call_id}\r\n folded"),
    ("Call-ID: {call.call_id}", "Call-ID: a\x00b"),
    ("Call-ID: {call.call_id}", "Call-ID: a,b"),
    ("Call-ID: {call.call_id}", "Call-ID: " + "x" * 300),
    ("Call-ID: {call.call_id}\r\n", ""),
    (";tag=c", ";tag=a|b"),
    (";tag=c", ';tag="quoted\r\n INVITE|forged"'),
    (";tag=c", ";tag=\x7f"),
    (";tag=", ";gat="),
    ("sip:13800001234@", 'sip:138"0000@'),
    ("sip:13800001234@", "sip:138\x0b0000@"),
    ("sip:13800001234@", "sip:138|0000@"),
    ("sip:13800001234@", "sip:" + "1" * 65 + "@"),
    ("INVITE sip:4001234567@", 'INVITE sip:400"1234567@'),
    ("INVITE sip:4001234567@", "INVITE sip:400\x01234567@"),
    ("INVITE sip:4001234567@", "INVITE sip:400\xa0234567@"),
    ("INVITE sip:4001234567@", "INVITE sip:" + "4" * 65 + "@"),
    ("CSeq: 1 INVITE", "CSeq: one INVITE"),
    ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
    ("CSeq: 1 INVITE", "CSeq: 99999999999 INVITE"),
    ("Content-Length: ", "Content-Length: 9"),
    ("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"),
    ("Via: SIP/2.0/UDP", "Via: nonsense"),
    ("Max-Forwards: 70", "Max-Forwards: 0"),
    ("Max-Forwards: 70", "Max-Forwards: many"),
]
"""What makes an INVITE malformed: a part of it, and what stands there instead."""


def changed(caller: Agent, what: str, by: str) -> str:
    """The text of a new INVITE with one of the changes."""
    call = caller.call()
    text = caller.request(call, "INVITE", body=SDP)
    assert what.format(call=call) in text
    return text.replace(what.format(call=call), by.format(call=call))
