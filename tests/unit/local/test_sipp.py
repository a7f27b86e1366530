"""What is read from SIPp's files, and the command line it gets."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from signalbox_local.audio import media_endpoint, random_digits
from signalbox_local.sipp import SippOptions, command, free_port
from signalbox_local.sipp_logs import read_messages, read_statistics, ring_delays_ms

HEADER = (
    "StartTime;CurrentTime;TotalCallCreated;CurrentCall;SuccessfulCall(C);FailedCall(C);FailedMaxUDPRetrans(C);"
    "FailedUnexpectedMessage(C);FailedTimeoutOnRecv(C);Retransmissions(C);FatalErrors(C);ResponseTimeRepartitionring;"
    "ResponseTimeRepartitionring_<10;ResponseTimeRepartitionring_>=10;\n"
)
ROW = "2026-11-22\t03:24:15.9\t1795317855.5;2026-11-22\t03:24:18.0\t1795317858.0;{calls};1;3;2;1;1;0;7;0;;4;5;\n"

MESSAGES = """\
----------------------------------------------- 2026-11-22 03:25:50.000000
UDP message sent (531 bytes):

INVITE sip:400@127.0.0.1:5060 SIP/2.0\r
Call-ID: 1-1@127.0.0.1\r
Content-Type: application/sdp\r
\r
v=0\r
c=IN IP4 127.0.0.1\r
m=audio 6000 RTP/AVP 8\r

----------------------------------------------- 2026-11-22 03:25:50.001500
UDP message received [290] bytes :

SIP/2.0 100 trying\r
Call-ID: 1-1@127.0.0.1\r
\r

----------------------------------------------- 2026-11-22 03:25:50.004500
UDP message received [290] bytes :

SIP/2.0 180 Ringing\r
call-id : 1-1@127.0.0.1\r
\r

----------------------------------------------- 2026-11-22 03:25:50.054500
UDP message received [290] bytes :

SIP/2.0 200 OK\r
Call-ID: 1-1@127.0.0.1\r
\r
v=0\r
c=IN IP4 127.0.0.1\r
m=audio 7000 RTP/AVP 8\r

"""


def test_the_last_whole_row_counts(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(HEADER + ROW.format(calls=5) + ROW.format(calls=6) + "2026-11-22\t03:24")
    statistics = read_statistics(file)
    assert (statistics.calls, statistics.open, statistics.successful, statistics.failed) == (6, 1, 3, 2)
    assert (statistics.retransmissions, statistics.unexpected, statistics.timed_out) == (7, 1, 1)
    assert statistics.elapsed_s == 2.5
    assert statistics.response_times == {"ring": {"<10": 4, ">=10": 5}}


@pytest.mark.parametrize("text", ["", HEADER, "x\n1\n"])
def test_a_file_without_statistics(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text(text)
    with pytest.raises((KeyError, ValueError)):
        read_statistics(file)


def test_messages_and_ring_delays(tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_bytes(MESSAGES.encode())
    messages = read_messages(file)
    assert [(message.sent, message.start_line) for message in messages] == [
        (True, "INVITE sip:400@127.0.0.1:5060 SIP/2.0"),
        (False, "SIP/2.0 100 trying"),
        (False, "SIP/2.0 180 Ringing"),
        (False, "SIP/2.0 200 OK"),
    ]
    assert messages[2].header("Call-ID") == "1-1@127.0.0.1"
    assert messages[2].header("Contact") == ""
    assert ring_delays_ms(messages) == [pytest.approx(4.5, abs=0.01)]
    assert media_endpoint(messages) == ("127.0.0.1", 6000)
    assert media_endpoint(messages[1:]) is None


def test_a_caller_is_bounded() -> None:
    options = SippOptions(Path("a.xml"), Path(), "a", target="127.0.0.1:5060", rate=2.5, calls=7, timeout_s=9)
    line = " ".join(command(options, 5070, 6000))
    for part in ("-r 25 -rp 10000", "-m 7", "-timeout 9s", "-p 5070", "-mp 6000", "-ci 127.0.0.1"):
        assert part in line
    assert line.endswith("-s service 127.0.0.1:5060")


def test_an_answering_side_has_no_target() -> None:
    line = command(SippOptions(Path("a.xml"), Path(), "a", timeout_s=0, stay_ms=50), 5070, 6000)
    assert "-r" not in line
    assert "-timeout" not in line
    assert "-lost" not in line
    assert line[line.index("-recv_timeout") + 1] == "50"


def test_messages_are_lost_if_they_are_to_be() -> None:
    line = command(SippOptions(Path("a.xml"), Path(), "a", loss_percent=5), 5070, 6000)
    assert line[line.index("-lost") + 1] == "5"


def test_fields_come_from_a_file() -> None:
    line = command(SippOptions(Path("a.xml"), Path(), "a", fields=Path("/x/numbers.csv")), 5070, 6000)
    assert line[line.index("-inf") + 1] == "/x/numbers.csv"


def test_free_ports_lie_together() -> None:
    first = free_port(span=4)
    assert first % 2 == 0


def test_neighbouring_digits_differ() -> None:
    digits = random_digits(1000)
    assert len(digits) == 1000
    assert all(a != b for a, b in itertools.pairwise(digits))
