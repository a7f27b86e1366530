"""Streams of sound, rules, options, and the report's page: parts of a load test by themselves."""

from __future__ import annotations

import argparse
import json
import re
import struct
from pathlib import Path

import pytest
from signalbox.errors import ConfigurationError
from signalbox_local import manifest
from signalbox_local.sipp_logs import TracedMessage

import loadtest
from loadtest import objectives, options, rows, site
from loadtest.effort import Second
from loadtest.engine import messages
from loadtest.engine.sound import Stream
from loadtest.figures import CALLS, Count, figures
from loadtest.model import settings
from loadtest.model.traffic import Model
from loadtest.outcome import Outcome
from loadtest.report import page, plotted
from loadtest.report.summary import Summary
from loadtest.series import Window

FOLDER = Path(loadtest.__file__).parent


async def talking(packets, lost=()):
    """Two sides of a call, of which one says so many packets; those lost do not come."""
    caller, line = Stream(2, 3, ("127.0.0.1", 1)), Stream(3, 2, ("127.0.0.1", 2))
    caller.talk(0.0)
    line.talk(0.0)
    for at in range(packets):
        packet = caller.packet()
        if at not in lost:
            line.hear(packet, at * 0.02)
    return caller, line


async def test_every_packet_that_does_not_come_is_known():
    caller, line = await talking(100, lost={10, 11, 50})
    heard = line.of(caller, caller.sounds)
    assert (heard.sent, heard.heard, heard.lost) == (100, 97, 3)
    assert heard.first_ms == 0
    assert line.came.is_set()


async def test_what_comes_twice_or_out_of_turn_is_heard_once():
    caller, line = await talking(0)
    packets = [caller.packet() for _ in range(5)]
    for packet in (packets[0], packets[2], packets[1], packets[1], packets[4], packets[3]):
        line.hear(packet, 0.0)
    heard = line.of(caller, caller.sounds)
    assert (heard.sent, heard.lost) == (5, 0)


async def test_the_time_until_something_is_heard_is_told_apart_from_what_is_lost():
    caller, line = await talking(50, lost=set(range(20)))
    heard = line.of(caller, caller.sounds)
    assert heard.first_ms == pytest.approx(400)
    assert (heard.sent, heard.lost) == (30, 0)


async def test_who_hears_nothing_has_lost_everything():
    caller, line = await talking(50, lost=set(range(50)))
    heard = line.of(caller, caller.sounds)
    assert (heard.sent, heard.heard, heard.first_ms) == (50, 0, None)
    assert not line.came.is_set()


async def test_another_voice_is_no_sound_of_the_other_side():
    caller, line = await talking(0)
    line.hear(Stream(8, 9, ("127.0.0.1", 3)).packet(), 0.0)
    caller.packet()
    assert line.came.is_set()
    assert line.of(caller, caller.sounds).first_ms is None


async def test_keys_take_the_place_of_sound_and_are_heard_once_each():
    caller, line = await talking(10)
    caller.press("1*1")
    kinds = []
    for _ in range(60):
        packet = caller.packet()
        kinds.append(packet[1] & 0x7F)
        line.hear(packet, 1.0)
    assert line.heard_keys == "1*1"
    assert kinds.count(101) == 24
    heard = line.of(caller, caller.sounds)
    assert (heard.sent, heard.lost) == (10 + 36, 0)


async def test_packets_are_rtp_of_20_ms():
    first, second = Stream(2, 3, ("127.0.0.1", 1)), None
    first, second = (stream := first).packet(), stream.packet()
    for packet in (first, second):
        assert len(packet) == 12 + 160
        assert packet[0] == 0x80
        assert packet[1] == 8
    one, other = (struct.unpack_from("!HII", packet, 2) for packet in (first, second))
    assert (other[0] - one[0], other[1] - one[1], other[2]) == (1, 160, one[2])


def test_results_come_back_as_they_were_told():
    one = messages.Result(200, "answered", answered_ms=3.5, caller=messages.Direction(5, 4, 1.0), keys="1")
    told = json.loads(messages.dumps("result", one, id=7))
    assert told["id"] == 7
    assert messages.result(told) == one
    start = messages.Start("127.0.0.2", "127.0.0.3", "127.0.0.1", [("127.0.0.1", 5060)])
    assert messages.start(json.loads(messages.dumps("start", start))) == start


def test_rules_are_of_the_kinds_of_the_model_and_can_be_taken_away():
    model = Model(settings.read(FOLDER / "traffic.toml"))
    here = site.Site(3, "127.0.0.2", ("127.0.0.3", 5060))
    found = site.objects(here, model)
    numbers = [one.number for one in found if one.WhichOneof("object") == "number"]
    assert [number.number for number in numbers] == [str(4007030000 + rank) for rank in range(100)]
    assert {number.tenant for number in numbers} == {"loadtest-3"}
    assert [number.flow for number in numbers] == ["welcome" if kind == "menu" else "" for kind in model.kinds]
    # None is limited to ten calls, the default.
    assert all(number.limits.HasField("concurrent_calls") for number in numbers)
    gone = site.identities(found)
    assert gone[-1].tenant.id == "loadtest-3"
    assert len(gone) == len(found) - 1
    for rank, index in ((-1, 0), (10_000, 0), (0, 100)):
        with pytest.raises(ValueError, match="there is no number of rank"):
            site.Site(index, "127.0.0.2", ("127.0.0.3", 1)).number(rank)


def given(**some):
    names = (
        "cluster",
        "proxies",
        "provisioning",
        "routing",
        "ca",
        "cert",
        "key",
        "routing_ca",
        "routing_cert",
        "routing_key",
    )
    return argparse.Namespace(**{**dict.fromkeys(names, ""), **some})


def test_a_cluster_is_found_by_its_file_or_by_addresses(tmp_path):
    processes = [manifest.ProcessEntry("kamailio-1", "kamailio", {"sip": "127.0.0.1:5060"}, "log")]
    services = {"provisioning": ["127.0.0.1:1"], "routing": ["127.0.0.1:2"]}
    manifest.write(tmp_path, manifest.Manifest("x", processes, services, {"ca": "a", "cert": "b", "key": "c"}))
    found = options.target(given(cluster=str(tmp_path / "cluster.json")))
    assert found.proxies == [("127.0.0.1", 5060)]
    assert found.provisioning.addresses == ["127.0.0.1:1"]
    assert found.routing is not None
    by_hand = options.target(given(proxies="10.0.0.1:5060,10.0.0.2:5060", provisioning="10.0.0.3:7000"))
    assert by_hand.proxies == [("10.0.0.1", 5060), ("10.0.0.2", 5060)]
    assert by_hand.routing is None


@pytest.mark.parametrize(
    ("some", "says"),
    [
        ({}, "--cluster, or --proxies and --provisioning"),
        ({"cluster": "/nowhere/cluster.json"}, "--cluster: /nowhere/cluster.json is not there"),
        ({"proxies": "10.0.0.1", "provisioning": "10.0.0.1:1"}, "--proxies: "),
        ({"proxies": "10.0.0.1:1", "provisioning": "x"}, "--provisioning: "),
        ({"proxies": "10.0.0.1:1", "provisioning": "x:1", "routing": "y"}, "--routing: "),
        ({"proxies": "10.0.0.1:1", "provisioning": "x:1", "cert": "a.pem"}, "--cert and --key need --ca"),
    ],
)
def test_options_that_name_no_cluster_are_refused(some, says):
    with pytest.raises(ConfigurationError) as caught:
        options.target(given(**some))
    assert says in str(caught.value)


def test_the_page_has_verdict_tables_and_plots(tmp_path):
    file = tmp_path / "objectives.toml"
    file.write_text("asr = { least = 0.99 }")
    counts = {("SIP", rows.DELAY): Count(10, 0, 1000.0, {100: 10}), ("RTP", rows.LOST): Count(20, 0, 10.0, {0: 20})}
    outcomes = {Outcome.ANSWERED: 9, Outcome.REFUSED: 1}
    summary = Summary(
        machine={"date": "2026-11-24", "processor": "a <processor>", "cores": 2, "python": "3.11"},
        length_s=60.0,
        processes={"here": {("direct", "answered"): 9, ("direct", "refused"): 1}},
        outcomes=outcomes,
        counts=counts,
        figures=figures(counts, outcomes),
        verdicts=objectives.judge(objectives.read(file), figures(counts, outcomes), {CALLS}),
        void=[],
        seconds={"here": [Second(0.1, 0.05, 3.0, 4, 0, 0)]},
        windows=[Window(5.0, 5.0, 4, outcomes, counts)],
        errors=[("SIP", "call attempts", "refused: <404>", 1)],
    )
    plots = plotted.plots(summary)
    assert {"calls", "open_calls", "ratios", "delay", "audio", "generator"} == set(plots)
    text = page.render(summary, plots)
    assert summary.verdict == "breached"
    assert '<tr class="breached"><td class="name">asr</td><td>0.9</td><td>at least 0.99</td>' in text
    assert text.count("<svg") == len(plots)
    assert "a &lt;processor&gt;" in text
    assert "refused: &lt;404&gt;" in text
    told = json.loads(json.dumps(summary.json()))
    assert told["objectives"] == [{"name": "asr", "least": 0.99, "measured": 0.9, "breached": True}]
    assert told["outcomes"] == {"answered": 9, "refused": 1}


def test_the_telephone_of_the_cross_check_does_what_the_model_says():
    from loadtest.crosscheck.__main__ import TELEPHONE, TRAFFIC, of_log

    lines = settings.read(TRAFFIC).lines
    pauses = [int(found) for found in re.findall(r'<pause milliseconds="(\d+)"/>', TELEPHONE.read_text())]
    assert pauses == [lines.alerting_s * 1000, lines.ring.mean_s * 1000]

    def call(name, at):
        for after, sent, first, cseq in (
            (0.0, True, "INVITE sip:x SIP/2.0", "1 INVITE"),
            (0.2, False, "SIP/2.0 180 Ringing", "1 INVITE"),
            (0.7, False, "SIP/2.0 200 OK", "1 INVITE"),
            (0.7, True, "ACK sip:x SIP/2.0", "1 ACK"),
            (2.7, True, "BYE sip:x SIP/2.0", "2 BYE"),
            (2.71, False, "SIP/2.0 200 OK", "2 BYE"),
        ):
            yield TracedMessage(at + after, sent, f"{first}\nCall-ID: {name}\nCSeq: {cseq}\n\n")

    log = [message for name, at in (("a", 0.0), ("b", 0.1), ("c", 0.2)) for message in call(name, at)]
    assert of_log(log, 3).values() == pytest.approx((10.0, 1.0, 200.0, 700.0, 2000.0))
