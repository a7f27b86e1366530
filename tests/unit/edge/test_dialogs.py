"""What events say of dialogs, and the requests that end a call: text that fits what the parties know."""

from __future__ import annotations

import base64
import re

import pytest
from signalbox.edge import byes
from signalbox.edge.dialogs import Dialog, _ending, operation
from signalbox.eventrow import EventRowError, Row
from structlog.testing import capture_logs

ID = "edge-1-1795318705-1-2"
OURS = f"<sip:192.0.2.1;lr;ftag=c;sb={ID};mn=12.0;sg=x>"
OURS_TCP = f"<sip:192.0.2.1;transport=tcp;r2=on;lr;ftag=c;sb={ID};mn=12.0;sg=x>"
NEAR_CALLER, NEAR_LINE = "<sip:198.51.100.1;lr>", "<sip:203.0.113.1;lr>;x=y"


def row(text: str, code: str = "") -> Row:
    return Row(code, text, "1000", "1000.25", ID, "")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def connected(longest_s: int = 0, **changes: str) -> Row:
    values = {
        "sip_call_id": "id@h",
        "from": "<sip:1380@h>;tag=c",
        "to": "<sip:400@h>;tag=l",
        "caller": "<sip:1380@198.51.100.7>",
        "line": "sip:200@203.0.113.7;expires=60",
        "routes": ", ".join([NEAR_LINE, OURS, NEAR_CALLER]),
    }
    return row(" ".join(["C", "a", str(longest_s), "7", "l", *map(encoded, (values | changes).values())]))


def kept(*rows: Row, **changed: str) -> Dialog:
    """The dialog that is read back from what rows put into redis."""
    values = {b"/why": b"max_duration", b"/tries": b"1"}
    for one in rows:
        _, _, tag, facts, cseq, _, _ = operation(one) or []
        values |= {str(tag).encode(): str(facts).encode(), f"{tag}/caller".encode(): b"%d" % cseq}
    values |= {f"l/{field.replace('__', '/')}".encode(): value.encode() for field, value in changed.items()}
    ending = _ending(ID.encode(), [item for pair in values.items() for item in pair])
    assert ending is not None
    return ending.dialogs[0]


def dialog(**changes: object) -> Dialog:
    values: dict[str, object] = {
        "call_id": ID, "line_tag": "l", "sip_call_id": "id@h", "from_header": "<sip:1380@h>;tag=c",
        "to_header": "<sip:400@h>;tag=l", "caller_contact": "sip:1380@198.51.100.7",
        "line_contact": "sip:200@203.0.113.7",
        "routes": (NEAR_LINE, OURS, NEAR_CALLER), "caller_cseq": 7, "line_cseq": 0,
    }  # fmt: skip
    return Dialog(**(values | changes))  # type: ignore[arg-type]


def headers(request: str, name: str) -> list[str]:
    return [line.partition(": ")[2] for line in request.split("\r\n") if line.startswith(f"{name}: ")]


def test_an_answer_tells_all_that_does_not_change_and_when_the_call_has_to_end() -> None:
    name, id, tag, _, cseq, deadline, node = operation(connected(60)) or []
    assert (name, id, tag, cseq, deadline, node) == ("connected", ID, "l", 7, 1_060, "12")
    assert kept(connected(60)) == dialog()


def test_a_call_without_a_longest_duration_has_no_deadline() -> None:
    assert (operation(connected()) or [])[-2] == 0


@pytest.mark.parametrize("routes", ["", NEAR_LINE, "<sip:192.0.2.1;lr;sb=other;mn=3.4;sg=x>", f"<sip:h;sb={ID};sg=x>"])
def test_without_our_signed_record_route_no_media_node_is_known(routes: str) -> None:
    assert (operation(connected(routes=routes)) or [])[-1] == ""


@pytest.mark.parametrize("injected", ["<sip:1@h>\r\nX: y", "<sip:1\r\n @h>", "sip:1@h\r\nX: y;z", '"a" <sip:1@h\0>'])
def test_no_line_of_a_party_becomes_a_header_of_ours(injected: str) -> None:
    known = kept(connected(**dict.fromkeys(("from", "to", "caller", "line", "routes"), injected)))
    values = [known.from_header, known.to_header, known.caller_contact, known.line_contact, *known.routes]
    assert all(value.isprintable() for value in values)


def test_a_later_contact_counts() -> None:
    assert kept(connected(), line__contact="sip:moved@h").line_contact == "sip:moved@h"


@pytest.mark.parametrize("damage", ["no!", "a b c d e", "YQ== YQ== YQ== YQ== YQ== Y"])
def test_what_cannot_be_read_any_more_is_told_and_ends_nothing(damage: str) -> None:
    with capture_logs() as logs:
        assert _ending(ID.encode(), [b"/why", b"hangup", b"l", damage.encode()]) is None
    assert [(entry["event"], entry["call_id"]) for entry in logs] == [("dialog_unreadable", ID)]


@pytest.mark.parametrize(
    ("party", "expected"),
    [("caller", ["ended", ID, "l"]), ("line", ["ended", ID, "l"]), ("signalbox", None)],
)
def test_the_end_by_a_party_is_the_end_and_ours_is_told_by_who_did_it(party: str, expected: object) -> None:
    assert operation(row(f"H {party} {encoded('Q.850;cause=16')} l")) == expected


def test_a_request_of_a_party_changes_its_number_and_contact() -> None:
    assert operation(row(f"U line l 3 {encoded('<sip:x@h>')}")) == ["changed", ID, "l", "line", 3, "sip:x@h"]


@pytest.mark.parametrize("other", [row("R a 180"), row("C is for a reason phrase", "486"), row("")])
def test_other_events_change_nothing(other: Row) -> None:
    assert operation(other) is None


@pytest.mark.parametrize(
    "text", ["C a 0 7 l YQ==", "C a x 7 l a a a a a a", "U nobody l 3 ", "U line l x ", "U line l 3 !", "U line", "H"]
)
def test_a_damaged_row_is_an_error_that_quotes_it(text: str) -> None:
    with pytest.raises(EventRowError, match=re.escape(repr(text))):
        operation(row(text))


@pytest.mark.parametrize("ours", [(OURS,), (OURS_TCP, OURS)], ids=["one", "two for two transports"])
def test_each_party_gets_a_bye_in_the_name_of_the_other_over_its_own_route_set(ours: tuple[str, ...]) -> None:
    to_caller, to_line = byes.requests(dialog(routes=(NEAR_LINE, *ours, NEAR_CALLER)), "max_duration")
    assert to_caller.startswith("BYE sip:1380@198.51.100.7 SIP/2.0\r\n")
    assert headers(to_caller, "Route") == [*ours, NEAR_CALLER]
    assert headers(to_caller, "From") == ["<sip:400@h>;tag=l"]
    assert headers(to_caller, "To") == ["<sip:1380@h>;tag=c"]
    assert headers(to_caller, "CSeq") == ["1 BYE"]
    assert to_line.startswith("BYE sip:200@203.0.113.7 SIP/2.0\r\n")
    assert headers(to_line, "Route") == [*reversed(ours), NEAR_LINE]
    assert headers(to_line, "From") == ["<sip:1380@h>;tag=c"]
    assert headers(to_line, "To") == ["<sip:400@h>;tag=l"]
    assert headers(to_line, "CSeq") == ["8 BYE"]


@pytest.mark.parametrize("why", [*byes.REASONS, "what only a newer edge knows"])
def test_the_reason_is_told_as_rfc_3326_says(why: str) -> None:
    for request in byes.requests(dialog(), why):
        (reason,) = headers(request, "Reason")
        assert reason.startswith("Q.850;cause=")
