"""``signalbox calls``, over journals as edges write them."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import yaml
from google.protobuf import timestamp_pb2
from signalbox import eventrow
from signalbox.api.events.v1 import events_pb2
from signalbox.commands import eventtext
from signalbox.journal import Chunk, Journal

from .test_connection import cluster

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Shell

FIRST = "edge-1-69c1f0a0-1-1"
SECOND = "edge-2-69c1f0a0-1-10"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def row(call: str, ms: int, text: str, code: str = "", outcome: str = "") -> bytes:
    """A row of the proxy, ``ms`` after 1,774,317,728 s."""
    moment = f"1774317728.{ms:03d}000"
    return f"INVITE|a|b|id|{code}|{text}|1774317728|{moment}|{call}|{outcome}".encode()


ANSWERED = [
    row(FIRST, 0, f"Q carrier 198.51.100.7 {b64('4001234567')} {b64('13800001234')} {b64('first@host')}"),
    row(FIRST, 4, "D 1774317728.000000 dial routing dial acme 4001234567 1 "),
    row(FIRST, 5, f"T a 1 {b64('sip:100@192.0.2.7:5070')}"),
    row(FIRST, 20, f"L a 486 {b64('Busy Here')}"),
    row(FIRST, 21, f"T b 2 {b64('sip:101@192.0.2.8')}"),
    row(FIRST, 40, "R b 180"),
    row(FIRST, 90, "OK", "200", "b 1"),
    row(FIRST, 900, f"H caller {b64('Q.850;cause=16')}"),
]
REJECTED = [
    row(SECOND, 10, f"Q carrier 198.51.100.7 {b64('404')}  {b64('second@host')}"),
    row(SECOND, 12, "D 1774317728.010000 reject last_good number_unknown   0 "),
    row(SECOND, 13, "Not Found", "404"),
]


def write(directory: Path, rows: list[bytes]) -> None:
    journal = Journal(directory, 64 * 1024 * 1024)
    journal.open()
    journal.append([Chunk(1, 1, rows)])
    journal.close()


@pytest.fixture
def journals(elsewhere: Path) -> Path:
    """Journals of two edges, in the cluster's directory, and the cluster file."""
    directories = [elsewhere / "edge-1" / "journal", elsewhere / "edge-2" / "journal"]
    write(directories[0], ANSWERED)
    write(directories[1], REJECTED)
    processes = [{"name": d.parent.name, "kind": "edge", "journal": str(d)} for d in directories]
    (elsewhere / "var").mkdir()
    (elsewhere / "var" / "cluster.json").write_text(json.dumps(cluster(processes=processes)))
    return elsewhere


def test_events_given_up_for_lack_of_disk_are_told(bare: Shell, journals: Path) -> None:
    directory = journals / "small" / "journal"
    journal = Journal(directory, 16 * 1024)
    journal.open()
    for n in range(200):
        journal.append([Chunk(1, n + 1, ANSWERED)])
    journal.close()
    lines = bare(f"calls tail --journal {directory} --lines 100000").stdout.splitlines()
    kept, given_up = len(lines) - 1, len(ANSWERED) * 200 - (len(lines) - 1)
    assert 0 < kept < given_up
    assert f"{given_up} events from 1 on were given up for lack of disk" in lines[0]


def test_one_call_as_a_time_line(bare: Shell, journals: Path) -> None:
    assert bare(f"calls show {FIRST}").stdout.splitlines() == [
        f"call {FIRST}, begun 2026-03-24 02:02:08.000 UTC",
        "       0 ms  edge-1      asked        13800001234 → 4001234567 on trunk carrier from 198.51.100.7,"
        " Call-ID first@host",
        "       4 ms  edge-1      decided      dial: dial (by routing, 4 ms), number 4001234567 of acme, media node 1",
        "       5 ms  edge-1      line tried   a at sip:100@192.0.2.7:5070, stage 1",
        "      20 ms  edge-1      line failed  a: 486 Busy Here",
        "      21 ms  edge-1      line tried   b at sip:101@192.0.2.8, stage 2",
        "      40 ms  edge-1      ringing      b (180)",
        "      90 ms  edge-1      answered     b, media node 1",
        "     900 ms  edge-1      hung up      by the caller, Q.850;cause=16",
    ]


def test_a_call_by_its_sip_call_id(bare: Shell, journals: Path) -> None:
    told = bare("calls show second@host").stdout
    assert f"call {SECOND}" in told
    assert "anonymous → 404" in told
    assert "reject: number_unknown (by last good, 2 ms)" in told
    assert "caller got 404 Not Found" in told


LEG = "edge-2-69c1f0a0-1-11L"
OF_WORKER = eventrow.written(
    events_pb2.CallEvent(
        call_id=FIRST,
        time=timestamp_pb2.Timestamp(seconds=1774317728, nanos=60_000_000),
        flow_ended=events_pb2.FlowEnded(cause="caller"),
    )
)
OF_LEG = [
    row(LEG, 30, f"Q _voice 198.51.100.9 {b64('100')} {b64('13800001234')} {b64('leg@host')} {FIRST}"),
    row(LEG, 35, f"T a 1 {b64('sip:100@192.0.2.7:5070')}"),
]


def test_a_call_has_its_worker_s_events_and_the_lines_that_the_worker_called(bare: Shell, journals: Path) -> None:
    write(journals / "edge-3" / "journal", OF_LEG)
    write(journals / "ivr-1" / "journal", [OF_WORKER])
    where = " ".join(f"--journal {journals / name / 'journal'}" for name in ("edge-1", "edge-3", "ivr-1"))
    told = bare(f"calls show {FIRST} {where}").stdout.splitlines()
    assert told[0].startswith(f"call {FIRST}, begun")
    assert told[6:9] == [
        "      30 ms  edge-3      asked        leg 1: 13800001234 → 100 on trunk _voice from 198.51.100.9,"
        f" Call-ID leg@host, for call {FIRST}",
        "      35 ms  edge-3      line tried   leg 1: a at sip:100@192.0.2.7:5070, stage 1",
        "      40 ms  edge-1      ringing      b (180)",
    ]
    assert "      60 ms  ivr-1       flow ended   cause caller" in told
    assert len(told) == 1 + len(ANSWERED) + len(OF_LEG) + 1
    assert len(bare(f"calls show {LEG} {where}").stdout.splitlines()) == 1 + len(OF_LEG)
    lines = csv.DictReader(io.StringIO(bare(f"calls export --all {where}").stdout))
    assert {line["call_id"]: line["parent"] for line in lines} == {FIRST: "", LEG: FIRST}


def test_a_like_id_is_another_call(bare: Shell, journals: Path) -> None:
    assert "no call" in bare(f"calls show {SECOND[:-1]}", code=1).stderr


def test_a_call_as_json_lines(bare: Shell, journals: Path) -> None:
    lines = bare(f"calls show {FIRST} --output json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) == len(ANSWERED)
    assert [event["sequence"] for event in events] == [str(n) for n in range(1, len(ANSWERED) + 1)]
    assert events[0]["asked"]["sip_call_id"] == "first@host"


def test_no_such_call(bare: Shell, journals: Path) -> None:
    assert "no call x\\x1b in" in bare(["calls", "show", "x\x1b"], code=1).stderr


def test_the_tail_merges_journals_by_time(bare: Shell, journals: Path) -> None:
    lines = bare("calls tail -n 6").stdout.splitlines()
    assert [line.split()[1] for line in lines] == [
        "02:02:08.013",
        *(f"02:02:08.{ms:03d}" for ms in (20, 21, 40, 90, 900)),
    ]
    assert bare("calls tail -n 0").stdout == ""
    assert len(bare("calls tail").stdout.splitlines()) == len(ANSWERED) + len(REJECTED)


def test_one_record_for_each_call_as_csv(bare: Shell, journals: Path) -> None:
    first, second = csv.DictReader(io.StringIO(bare("calls export").stdout))
    assert (first["call_id"], first["tried"], first["line"], first["talk_ms"]) == (FIRST, "a=486 b", "b", "810")
    assert (second["call_id"], second["code"], second["why"], second["calling"]) == (
        SECOND,
        "404",
        "number_unknown",
        "",
    )
    bare("calls export --file calls.csv")
    with (journals / "calls.csv").open(newline="") as file:
        assert [record["call_id"] for record in csv.DictReader(file)] == [FIRST, SECOND]


def test_one_record_for_each_call_as_json(bare: Shell, journals: Path) -> None:
    first, second = map(json.loads, bare("calls export --format json").stdout.splitlines())
    assert (first["begin_ms"], first["answer_ms"] - first["begin_ms"]) == (1774317728000, 90)
    assert second["decided_by"] == "last_good"


def test_records_of_a_part_of_the_time(bare: Shell, journals: Path) -> None:
    def ids(options: str) -> list[str]:
        return [
            json.loads(line)["call_id"] for line in bare(f"calls export --format json {options}").stdout.splitlines()
        ]

    assert ids("--since 2026-03-24T02:02:08") == [FIRST, SECOND]
    assert ids("--since 2026-03-24T02:02:09") == []
    assert ids("--until 2026-03-24T02:02:08") == []
    assert ids("--until 2026-03-25") == [FIRST, SECOND]
    bare("calls export --since yesterday", code=2)


def test_a_call_that_goes_on_has_a_record_if_it_is_asked_for(bare: Shell, elsewhere: Path) -> None:
    write(elsewhere / "edge-1" / "journal", ANSWERED[:-1])
    assert len(bare("calls export --journal edge-1/journal").stdout.splitlines()) == 1
    assert len(bare("calls export --journal edge-1/journal --all").stdout.splitlines()) == 2


def test_what_a_caller_sends_ends_no_line_of_the_table(bare: Shell, elsewhere: Path) -> None:
    evil = row(FIRST, 0, f"Q carrier 198.51.100.7 {b64('400')} {b64(chr(27) + '[31m' + chr(10) + 'x,y')} {b64('a@b')}")
    write(elsewhere / "edge-1" / "journal", [evil, *REJECTED[2:], ANSWERED[-1]])
    told = bare("calls export --journal edge-1/journal").stdout
    assert "\x1b" not in told
    assert len(told.splitlines()) == 3
    (record, _) = csv.DictReader(io.StringIO(told))
    assert record["calling"] == r"\x1b[31m\nx,y"


def test_events_as_yaml(bare: Shell, journals: Path) -> None:
    events = list(yaml.safe_load_all(bare("calls tail --output yaml -n 3").stdout))
    assert [event["proxy"] for event in events if event] == ["edge-1"] * 3


def test_journals_by_hand(bare: Shell, journals: Path) -> None:
    lines = bare("calls tail --journal edge-2/journal --output json").stdout.splitlines()
    assert {json.loads(line)["proxy"] for line in lines} == {"edge-2"}
    bare("calls tail --journal nowhere", code=2)


def test_a_damaged_event_is_told_and_passed_over(bare: Shell, elsewhere: Path) -> None:
    write(elsewhere / "edge-1", [ANSWERED[0], b"nonsense\x1b\xff", ANSWERED[-1]])
    told = bare("calls tail --journal edge-1")
    assert len(told.stdout.splitlines()) == 2
    assert "event 2" in told.stderr
    assert "\x1b" not in told.stderr


def test_what_a_caller_sends_is_no_command_to_the_terminal(bare: Shell, elsewhere: Path) -> None:
    evil = row(FIRST, 0, f"Q carrier 198.51.100.7 {b64('4001234567')} {b64(chr(27) + ']0;x' + chr(7))} {b64('id')}")
    write(elsewhere / "edge-1", [evil])
    told = bare("calls tail --journal edge-1").stdout
    assert "\x1b" not in told
    assert "\\x1b]0;x\\x07" in told


def test_a_cluster_without_journals(bare: Shell, elsewhere: Path) -> None:
    (elsewhere / "cluster.json").write_text(json.dumps(cluster()))
    assert "names no journal" in bare("calls tail --cluster cluster.json", code=2).stderr


def test_following_shows_events_as_they_come(elsewhere: Path) -> None:
    """In a process of its own, ended as a person ends it: by Ctrl-C."""
    directory = elsewhere / "edge-1"
    journal = Journal(directory, 64 * 1024 * 1024)
    journal.open()
    journal.append([Chunk(1, 1, ANSWERED[:1])])
    command = [sys.executable, "-m", "signalbox", "calls", "tail", "--follow", "--journal", str(directory)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as tail:
        guard = threading.Timer(20, tail.kill)
        guard.start()
        try:
            assert tail.stdout is not None
            assert " asked " in tail.stdout.readline()
            journal.append([Chunk(1, 2, ANSWERED[1:3])])
            assert " decided " in tail.stdout.readline()
            assert " line tried " in tail.stdout.readline()
        finally:
            tail.send_signal(signal.SIGINT)
            _, errors = tail.communicate()
            guard.cancel()
    journal.close()
    assert tail.returncode == 1
    assert "Traceback" not in errors


def test_every_kind_of_event_has_its_words() -> None:
    from signalbox.api.events.v1 import events_pb2

    kinds = {field.name for field in events_pb2.CallEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    for kind in kinds:
        event = events_pb2.CallEvent()
        getattr(event, kind).SetInParent()
        assert eventtext.describe(event)[0] == kind.replace("_", " ")
    assert eventtext.describe(events_pb2.CallEvent())[0] == "unknown"


def test_a_leg_and_the_steps_of_a_flow_in_words() -> None:
    from signalbox.api.events.v1 import events_pb2

    leg = events_pb2.Asked(trunk="_voice", called="400", source_address="192.0.2.1", sip_call_id="x", parent="edge-1-7")
    step = events_pb2.FlowStep(
        flow="welcome", revision=3, node="ask", kind="menu", outcome="digits", digits="12", took_ms=1500, line="desk"
    )
    within = events_pb2.FlowStep(flow="welcome", revision=3, node="ask", kind="menu", took_ms=1500)
    ended = events_pb2.FlowEnded(cause="media", code=503, detail="node 1 is gone")
    assert eventtext.describe(events_pb2.CallEvent(asked=leg))[1].endswith("Call-ID x, for call edge-1-7")
    assert eventtext.describe(events_pb2.CallEvent(flow_step=step)) == (
        "flow step", "menu ask of flow welcome, revision 3: digits, keyed 12, line desk, 1500 ms",
    )  # fmt: skip
    assert eventtext.describe(events_pb2.CallEvent(flow_step=within)) == (
        "flow step", "menu ask of flow welcome, revision 3: the call ended, 1500 ms",
    )  # fmt: skip
    assert eventtext.describe(events_pb2.CallEvent(flow_ended=ended)) == (
        "flow ended", "cause media, caller got 503, node 1 is gone",
    )  # fmt: skip
