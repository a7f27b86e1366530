"""The pieces of the drouting benchmark that need no proxy."""

from __future__ import annotations

import io
import json
import socket
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from signalbox_local import bench_drouting, drouting_data, drouting_peer, drouting_probe
from signalbox_local.bench_edge import ROUTED, Run
from signalbox_local.drouting_probe import Outcome, Probe, ProbeError
from signalbox_local.routing_data import DataSet
from signalbox_local.setup_delay import Invite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INVITE = (
    b"INVITE sip:4000000001@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=b1\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:2;branch=b2\r\nMax-Forwards: 70\r\nFrom: <sip:1@a>;tag=x\r\nTo: <sip:2@b>\r\n"
    b"Contact: <sip:1@a>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n"
)


# --- the table -----------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "new" / "drouting.sqlite"
    drouting_data.write(file, {1: "127.0.0.1:5060", 2: "127.0.0.1:5061"}, [("4000000001", 1), ("4000000002", 2)])
    return file


def rules(file: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT groupid, prefix, gwlist FROM dr_rules ORDER BY ruleid").fetchall()


def test_a_table_has_gateways_and_one_rule_a_prefix(table: Path) -> None:
    assert rules(table) == [("0", "4000000001", "1"), ("0", "4000000002", "2")]
    with closing(sqlite3.connect(table)) as connection:
        assert connection.execute("SELECT gwid, address FROM dr_gateways").fetchall() == [
            (1, "127.0.0.1:5060"), (2, "127.0.0.1:5061")
        ]  # fmt: skip
        # What the module asks for before it reads anything.
        assert connection.execute("SELECT table_version FROM version WHERE table_name = 'dr_rules'").fetchone() == (3,)


def test_a_table_is_written_anew(table: Path) -> None:
    drouting_data.write(table, {1: "127.0.0.1:5060"}, [("4000000003", 1)])
    assert rules(table) == [("0", "4000000003", "1")]


def test_one_prefix_is_changed(table: Path) -> None:
    drouting_data.change(table, "4000000001", 2)
    assert rules(table) == [("0", "4000000001", "2"), ("0", "4000000002", "2")]


def test_a_prefix_that_is_not_there_cannot_be_changed(table: Path) -> None:
    with pytest.raises(KeyError, match="4000000009"):
        drouting_data.change(table, "4000000009", 2)


def test_the_instance_file_names_the_table_before_all_else(tmp_path: Path) -> None:
    config = tmp_path / "kamailio.cfg"
    config.write_text('#!KAMAILIO\n# Proxy\ninclude_file "x"\n')
    drouting_data.route_by(tmp_path / "d.sqlite", config)
    first, second, *rest = config.read_text().splitlines()
    assert (first, rest) == ("#!KAMAILIO", ["# Proxy", 'include_file "x"'])
    assert second == f'#!substdef "!DROUTING_FILE!{tmp_path}/d.sqlite!g"'


def test_a_path_that_would_be_more_than_a_path_to_kamailio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other than"):
        drouting_data.route_by(tmp_path / "a!b", tmp_path / "kamailio.cfg")


# --- the probe -----------------------------------------------------------------------------------------------------


def test_a_busy_line_sends_back_what_a_reply_must_have() -> None:
    assert drouting_probe.busy(INVITE).decode().split("\r\n") == [
        "SIP/2.0 486 Busy Here",
        "Via: SIP/2.0/UDP 127.0.0.1:1;branch=b1",
        "Via: SIP/2.0/UDP 127.0.0.1:2;branch=b2",
        "From: <sip:1@a>;tag=x",
        "Call-ID: c1",
        "CSeq: 7 INVITE",
        "To: <sip:2@b>;tag=busy",
        "Content-Length: 0",
        "",
        "",
    ]


def test_a_refusal_is_acknowledged_in_the_same_transaction() -> None:
    message = drouting_probe.ack(INVITE, drouting_probe.busy(INVITE)).decode().split("\r\n")
    assert message[0] == "ACK sip:4000000001@127.0.0.1:5060 SIP/2.0"
    assert "Via: SIP/2.0/UDP 127.0.0.1:1;branch=b1" in message
    assert "To: <sip:2@b>;tag=busy" in message
    assert "CSeq: 1 ACK" in message


class Proxy(threading.Thread):
    """Sends calls to a line, or refuses them; a datagram of another call comes first."""

    def __init__(self, line: str = "") -> None:
        super().__init__(daemon=True)
        self._line = line
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(5)
        self.address: tuple[str, int] = self._socket.getsockname()
        self.start()

    def run(self) -> None:
        with self._socket:
            invite, caller = self._socket.recvfrom(65535)
            self._socket.sendto(b"SIP/2.0 404 Not Found\r\nCall-ID: another\r\n\r\n", caller)
            reply = drouting_probe.busy(invite).replace(b"486 Busy Here", b"404 Not Found")
            if self._line:
                host, _, port = self._line.rpartition(":")
                self._socket.sendto(invite, (host, int(port)))
                reply, _ = self._socket.recvfrom(65535)
            self._socket.sendto(reply, caller)
            assert self._socket.recv(65535).startswith(b"ACK ")


@pytest.fixture
def probe() -> Iterator[Probe]:
    with Probe(2) as probe:
        yield probe


def test_the_line_that_is_called_is_told(probe: Probe) -> None:
    proxy = Proxy(probe.lines[1])
    assert probe.ask(proxy.address, "4000000001", 5) == Outcome(1, 0)
    proxy.join(5)
    assert not proxy.is_alive()


def test_a_refusal_is_told(probe: Probe) -> None:
    proxy = Proxy()
    assert probe.ask(proxy.address, "4000000001", 5) == Outcome(None, 404)
    proxy.join(5)
    assert not proxy.is_alive()


def test_silence_is_told(probe: Probe) -> None:
    host, _, port = probe.lines[0].rpartition(":")
    with Probe(0) as alone:
        assert alone.ask((host, int(port)), "4000000001", 0.05) == Outcome(None, 0)


@pytest.mark.parametrize("answer", [b'{"error": {"code": 500}, "id": 1}', b"[1]", b"no JSON"])
def test_an_order_that_is_refused_is_an_error(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "rpc.sock"))
        server.settimeout(5)

        def serve() -> None:
            request, client = server.recvfrom(65535)
            assert json.loads(request)["method"] == "drouting.reload"
            server.sendto(answer, client)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ProbeError, match=r"drouting\.reload"):
            drouting_probe.order(tmp_path, "drouting.reload", 5)
        thread.join(5)
    assert [file.name for file in tmp_path.iterdir()] == ["rpc.sock"]


def test_an_order_to_nobody_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="No such file"):
        drouting_probe.order(tmp_path, "drouting.reload", 1)


# --- figures -------------------------------------------------------------------------------------------------------


def test_memory_is_that_of_all_processes_together() -> None:
    one = {"Pss": 3_000, "Pss_Anon": 2_000, "Pss_Shmem": 500}
    assert drouting_peer.resident([one, one, {}]) == {"mb": 6.1, "own_mb": 4.1, "common_mb": 1.0}


def test_what_the_log_says_of_memory_is_found() -> None:
    log = (
        "0(1) ERROR: rtpengine: no nodes\n"
        "1(2) ERROR: <core> [db_row.c:114]: could not allocate private memory from pkg pool\n"
        "1(2) CRITICAL: drouting: no private memory left\n"
    )
    assert drouting_peer.shortage(log) == "<core> [db_row.c:114]: could not allocate private memory from pkg pool"
    assert drouting_peer.shortage("0(1) ERROR: bad table\n") == "not for lack of memory"


def test_delays_are_of_the_calls_of_a_time() -> None:
    caller, proxy, line = ("a", 1), ("p", 1), ("l", 1)
    invites = []
    for n in range(10):
        invites += [Invite(n, caller, proxy, b"%d" % n), Invite(n + 0.001 * (n + 1), proxy, line, b"%d" % n)]
    assert drouting_peer.delays(invites, proxy, 0, 5) == {"calls": 5, "p50": 3.0, "p99": 5.0, "max": 5.0}
    assert drouting_peer.delays(invites, proxy, 20, 30) == {"calls": 0}


def test_numbers_that_are_called_have_lines_of_their_own() -> None:
    data = DataSet(1_000)
    found = bench_drouting.called(data)
    assert len(set(found)) == len(found) == 499
    assert all(int(number) % 2 for number in found)
    assert "4000000999" not in found  # the one that changes


def test_tables_end_with_the_number_that_changes(tmp_path: Path) -> None:
    tables = bench_drouting.Tables(tmp_path / "d", "127.0.0.1:1", ["127.0.0.1:2", "127.0.0.1:3"], DataSet(1_000))
    for numbers in (list(tables.in_a_row()), list(tables.scattered())):
        assert len(set(numbers)) == 1_000
        assert numbers[-1] == tables.changed == "4000000999"
    tables.write_own_gateways(3)
    assert rules(tmp_path / "d") == [("0", "4000000000", "4"), ("0", "4000000001", "5"), ("0", "4000000999", "2")]
    tables.write(tables.in_a_row())
    assert rules(tmp_path / "d")[-2:] == [("0", "4000000998", "1"), ("0", "4000000999", "2")]


def run(variant: str, rate: float, proxy: float, edge: float, routing: float = 0.0) -> Run:
    cpu = {"kamailio-1": proxy, "edge-1": edge} | ({"routing-1": routing} if routing else {})
    return Run(variant, "load", rate, rate, 100, 1, 2, cpu)


def test_both_are_compared_round_by_round() -> None:
    runs = []
    for rate in bench_drouting.RATES:
        runs += [run("drouting", rate, 0.2, 0.1), run(ROUTED, rate, 0.3, 0.1, 0.2)]
        runs += [run(ROUTED, rate, 0.2, 0.2, 0.2), run("drouting", rate, 0.4, 0.2)]
    found = bench_drouting.summary(runs, {"drouting": 2000.4, ROUTED: 1500.0})
    cpu = found["cpu"]
    assert isinstance(cpu, dict)
    assert cpu["500"]["proxy_ratio"] == {"median": 1.0, "min": 0.5, "max": 1.5}
    assert cpu["500"]["all_ratio"] == {"median": 2.25, "min": 1.5, "max": 3.0}
    assert cpu["1000"]["events_followed_ratio"] == {"median": 1.5, "min": 1.0, "max": 2.0}
    assert found["failed"] == {"drouting": 4, ROUTED: 4}
    assert found["max_clean_cps"] == {"drouting": 2000, ROUTED: 1500}


def test_the_tables_for_people_have_every_figure() -> None:
    one = {"median": 4.25, "min": 3.87, "max": 10.46}
    names = ("drouting_cpu_ms", "routed_proxy_cpu_ms", "routed_cpu_ms", "proxy_ratio", "all_ratio")
    calls = {"cpu": {"500": dict.fromkeys((*names, "events_followed_ratio"), one)}}
    found = {
        "prefixes": 1_000_000, "file_mb": 28.1, "write_s": 1.9, "own_gateways_load_cpu_s": {"10000": 2.18},
        "load": {"wall_s": one, "cpu_s": one, "refused_calls_s": one}, "load_scattered": {"wall_s": one, "cpu_s": one},
        "private_memory_mb": {"16": "ends: <core> [db_row.c:114]: no memory"}, "memory": {"loaded": {"mb": 1406.3}},
        "first_reload": {"wall_s": 4.88, "cpu_s": 2.27}, "reload": {"wall_s": one, "cpu_s": one},
        "change": {
            "change_in_force_s": 1.67, "calls": 1625, "failed": 7,
            "delay_ms": {"during": {"p50": 1, "p99": 2, "max": 3}},
        },
        "calls": calls | dict.fromkeys(("made", "answered", "failed", "retransmissions", "max_clean_cps"), 85_000),
    }  # fmt: skip
    console = Console(width=200, record=True, file=io.StringIO())
    bench_drouting.show(console, found)
    shown = console.export_text()
    for figure in ("28.1 MB", "4.25 (3.87–10.46) s", "[db_row.c:114]", "1406 MB", "10000 own gateways", "7 of 1625",
                   "max 3", "1.67 s", "4.250 (3.870–10.460)", "answered: 85000"):  # fmt: skip
        assert figure in shown


def test_other_figures_of_the_file_stay(tmp_path: Path) -> None:
    file = tmp_path / "routing.json"
    file.write_text('{"numbers": {"1000": 1}, "peer": {"other": 2}}')
    bench_drouting.merge(file, {"prefixes": 5})
    assert json.loads(file.read_text()) == {"numbers": {"1000": 1}, "peer": {"other": 2, "drouting": {"prefixes": 5}}}


def test_a_file_of_its_own_says_on_which_machine(tmp_path: Path) -> None:
    bench_drouting.merge(tmp_path / "routing.json", {"prefixes": 5})
    found = json.loads((tmp_path / "routing.json").read_text())
    assert found["peer"] == {"drouting": {"prefixes": 5}}
    assert found["machine"]["cores"]
