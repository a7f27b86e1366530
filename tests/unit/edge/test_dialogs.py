"""What events say of dialogs, and the requests that end a call: text that fits what the parties know."""

from __future__ import annotations

import json

import pytest
from signalbox.api.events.v1 import events_pb2
from signalbox.edge import byes
from signalbox.edge.dialogs import Dialog, operation

ID = "edge-1-1795318705-1-2"
OURS = f"<sip:192.0.2.1;lr;ftag=c;sb={ID};mn=0.0;sg=x>"
OURS_TCP = f"<sip:192.0.2.1;transport=tcp;r2=on;lr;ftag=c;sb={ID};mn=0.0;sg=x>"
NEAR_CALLER, NEAR_LINE = "<sip:198.51.100.1;lr>", "<sip:203.0.113.1;lr>;x=y"


def event(**kinds: object) -> events_pb2.CallEvent:
    made = events_pb2.CallEvent(call_id=ID, **kinds)  # type: ignore[arg-type]
    made.time.seconds = 1_000
    return made


def connected(**changes: object) -> events_pb2.CallEvent:
    values: dict[str, object] = {
        "line": "a",
        "sip_call_id": "id@h",
        "from_header": "<sip:1380@h>;tag=c",
        "to_header": "<sip:400@h>;tag=l",
        "line_tag": "l",
        "caller_contact": "<sip:1380@198.51.100.7>",
        "line_contact": "sip:200@203.0.113.7;expires=60",
        "record_route": ", ".join([NEAR_LINE, OURS, NEAR_CALLER]),
        "cseq": 7,
    }
    return event(connected=events_pb2.Connected(**(values | changes)))  # type: ignore[arg-type]


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
    name, id, tag, facts, cseq, deadline = operation(connected(max_duration_s=60)) or []
    assert (name, id, tag, cseq, deadline) == ("connected", ID, "l", 7, 1_060)
    assert json.loads(str(facts)) == {
        "call_id": "id@h", "from": "<sip:1380@h>;tag=c", "to": "<sip:400@h>;tag=l", "caller": "sip:1380@198.51.100.7",
        "line": "sip:200@203.0.113.7", "routes": [NEAR_LINE, OURS, NEAR_CALLER],
    }  # fmt: skip


def test_a_call_without_a_longest_duration_has_no_deadline() -> None:
    assert (operation(connected()) or [])[-1] == 0


@pytest.mark.parametrize("injected", ["<sip:1@h>\r\nX: y", "<sip:1\r\n @h>", "sip:1@h\r\nX: y;z", '"a" <sip:1@h\0>'])
def test_no_line_of_a_party_becomes_a_header_of_ours(injected: str) -> None:
    changes = dict.fromkeys(("from_header", "to_header", "caller_contact", "line_contact", "record_route"), injected)
    facts = json.loads(str((operation(connected(**changes)) or [])[3]))
    values = [facts["from"], facts["to"], facts["caller"], facts["line"], *facts["routes"]]
    assert all("\r" not in value and "\n" not in value for value in values)


@pytest.mark.parametrize(
    ("party", "expected"),
    [
        (events_pb2.PARTY_CALLER, ["ended", ID, "l"]),
        (events_pb2.PARTY_LINE, ["ended", ID, "l"]),
        (events_pb2.PARTY_SIGNALBOX, None),
    ],
)
def test_the_end_by_a_party_is_the_end_and_ours_is_told_by_who_did_it(
    party: events_pb2.Party, expected: object
) -> None:
    assert operation(event(hung_up=events_pb2.HungUp(party=party, line_tag="l"))) == expected


def test_a_request_of_a_party_changes_its_number_and_contact() -> None:
    changed = events_pb2.DialogChanged(party=events_pb2.PARTY_LINE, line_tag="l", cseq=3, contact="<sip:x@h>")
    assert operation(event(dialog_changed=changed)) == ["changed", ID, "l", "line", 3, "sip:x@h"]


def test_other_events_change_nothing() -> None:
    assert operation(event(ringing=events_pb2.Ringing(line="a", code=180))) is None


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


@pytest.mark.parametrize("why", byes.REASONS)
def test_the_reason_is_told_as_rfc_3326_says(why: str) -> None:
    for request in byes.requests(dialog(), why):
        (reason,) = headers(request, "Reason")
        assert reason.startswith("Q.850;cause=")
