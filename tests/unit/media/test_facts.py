"""What the proxy wrote about a call, and what others may have written in its place."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.media import facts

TEXT = "sb1,1795365481.042,line-1,7,acme,4001234567,tag.a,tag.b,192.0.2.1:4000,[2001:db8::1]:5000,KzEyMw=="


def test_every_field_is_read() -> None:
    read = facts.parse("call", TEXT)
    assert read is not None
    assert read.call_id == "call"
    assert (read.tenant, read.number, read.line, read.media_node) == ("acme", "4001234567", "line-1", 7)
    assert (read.caller, read.caller_tag, read.line_tag) == ("+123", "tag.a", "tag.b")
    assert (read.caller_media, read.line_media) == ("192.0.2.1:4000", "[2001:db8::1]:5000")
    assert read.answer_time.ToMilliseconds() == 1_795_365_481_042


def test_what_is_not_known_is_empty() -> None:
    read = facts.parse("call", "sb1,1795365481.042,line-1,7,acme,4001234567,tag.a,tag.b,-,-,")
    assert read is not None
    assert (read.caller, read.caller_media, read.line_media) == ("", "", "")


@pytest.mark.parametrize("caller", ["王芳?>", "a", "ab", "abc", "??>>~~"])
def test_callers_may_be_written_in_any_base64(caller: str) -> None:
    content = caller.encode()
    for encoded in (base64.b64encode(content), base64.urlsafe_b64encode(content)):
        for text in (encoded.decode(), encoded.decode().rstrip("=")):
            read = facts.parse("call", TEXT.replace("KzEyMw==", text))
            assert read is not None
            assert read.caller == caller


def test_a_caller_that_is_no_utf_8_does_no_harm() -> None:
    read = facts.parse("call", TEXT.replace("KzEyMw==", base64.b64encode(b"\xff1").decode()))
    assert read is not None
    assert read.caller == "\ufffd1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sb1",
        "sb2" + TEXT[3:],
        TEXT + ",more",
        TEXT.replace(",tag.b", ""),
        TEXT.replace("1795365481.042", "1795365481"),
        TEXT.replace("1795365481.042", "-1.000"),
        TEXT.replace("1795365481.042", "999999999999.000"),
        TEXT.replace(",7,", ",0,"),
        TEXT.replace(",7,", ",99999999999,"),
        TEXT.replace("acme", ""),
        TEXT.replace("line-1", ""),
        TEXT.replace("4001234567", ""),
        TEXT.replace("KzEyMw==", "K"),
        TEXT.replace("KzEyMw==", "é"),
        TEXT.replace("acme", "ac\0me"),
        TEXT.replace("acme", "ac\udcffme"),
        TEXT.replace("acme", "a" * 3000),
    ],
)
def test_anything_else_is_not_known(text: str) -> None:
    assert facts.parse("call", text) is None


@given(st.text() | st.text(alphabet="sb1,0123456789.-=aZ").map("sb1,".__add__))
def test_nothing_is_an_error(text: str) -> None:
    read = facts.parse("call", text)
    assert read is None or read.SerializeToString()
    assert isinstance(facts.of_file(text), str)


FILE = """/spool/pcaps/call-0123456789abcdef.pcap


Timestamp terminated ms(first monologue): 1795365713311.633

call start time: 2026-11-22T16:41:50
call end time: 2026-11-22T16:41:53
"""


def test_the_last_line_of_a_metadata_file_is_the_proxys() -> None:
    assert facts.of_file(f"{FILE}\n\n{TEXT}\n") == TEXT


@pytest.mark.parametrize("content", ["", "\n", FILE, "/spool/pcaps/call.pcap"])
def test_a_metadata_file_may_have_none(content: str) -> None:
    assert facts.of_file(content) == ""
