"""``signalbox test-call``: what it makes, removes and refuses. That calls go through is tried with real servers."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.commands import testtelephones
from signalbox.commands.testrules import MADE_FOR_TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.commands import Shell

COPIED = re.compile(rb"^(?:Via|From|To|Call-ID|CSeq):.*\r\n", re.MULTILINE)
NUMBER = "999000000000001"


class Refuser:
    """A proxy that refuses every INVITE with a code, 0: is silent, and counts them."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.invites = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            request, source = self._socket.recvfrom(65_535)
            if request == b"end":
                return
            if request.startswith(b"INVITE"):
                self.invites += 1
                if self.code:
                    head = b"".join(COPIED.findall(request)).replace(b"\r\nCall-ID", b";tag=x\r\nCall-ID", 1)
                    self._socket.sendto(b"SIP/2.0 %d No\r\n%bContent-Length: 0\r\n\r\n" % (self.code, head), source)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"end", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@contextlib.contextmanager
def refuser(code: int) -> Iterator[Refuser]:
    proxy = Refuser(code)
    try:
        yield proxy
    finally:
        proxy.close()


def call(shell: Shell, *options: str, proxy: str = "127.0.0.1:9", code: int = 1) -> tuple[str, str]:
    """What a test call with any free ports prints, on both outputs; it must exit with the code."""
    done = shell(f"test-call --port 0 --within 0 --proxy {proxy} {' '.join(options)}", code)
    return done.stdout, done.stderr


def left(shell: Shell) -> list[str]:
    """Ids of tenants and trunks."""
    return [one["id"] for kind in ("tenants", "trunks") for one in shell.json(f"{kind} list")]


def test_a_call_that_is_refused_is_told_and_nothing_is_left(shell: Shell) -> None:
    with refuser(486) as proxy:
        told, failed = call(shell, proxy=proxy.address)
    first, second, third = told.splitlines()
    assert first.startswith("made: tenant test-call, line line at 127.0.0.1:")
    assert first.endswith(f"number {NUMBER}, trunk test-call from 127.0.0.1")
    assert second == f"{proxy.address}  FAILED: refused with 486"
    assert third == "removed: all of it"
    assert failed.startswith("1 of 1 calls failed")
    assert left(shell) == []


@pytest.mark.parametrize("code", [403, 404])
def test_a_call_that_is_not_known_yet_is_tried_again(shell: Shell, code: int) -> None:
    with refuser(code) as proxy:
        call(shell, "--within 1.2", proxy=proxy.address)
    assert proxy.invites >= 2


def test_silence_is_told_with_what_may_be_the_cause(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testtelephones, "ANSWER_S", 0.2)
    with refuser(0) as proxy:
        told, _ = call(shell, proxy=proxy.address)
    assert "no reply at all: is this machine's address known as a trunk's?" in told


def test_every_proxy_is_called_once_whatever_names_it(shell: Shell) -> None:
    with refuser(486) as one, refuser(486) as other:
        port = one.address.partition(":")[2]
        told, failed = call(shell, f"--proxy localhost:{port} --proxy {other.address}", proxy=one.address)
    assert [line.split()[0] for line in told.splitlines() if "FAILED" in line] == [one.address, other.address]
    assert failed.startswith("2 of 2 calls failed")


def test_of_which_node_a_proxy_is_that_is_silent_is_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testtelephones, "ANSWER_S", 0.2)
    with refuser(0) as proxy, refuser(486) as other:
        told, _ = call(shell, f"--proxy n2={other.address}", proxy=f"n1={proxy.address}")
    assert f"n1 {proxy.address}  FAILED: no reply at all" in told
    assert "Is there a proxy on node n1?" in told
    assert f"n2 {other.address}  FAILED: refused with 486\n" in told


def test_a_proxy_that_is_known_not_to_be_ready_is_told_and_not_called(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = {"ready.example": ["127.0.0.1"]}
    resolve = socket.getaddrinfo

    def resolved(host: str, *rest: Any, **more: Any) -> list[Any]:
        return [one for there in hosts.get(host, [host]) for one in resolve(there, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(testtelephones, "ANSWER_S", 0.2)
    with refuser(486) as proxy:
        port = proxy.address.partition(":")[2]
        options = f"--ready ready.example --proxy n2=127.0.0.2:{port}"
        told, failed = call(shell, options, proxy=f"n1={proxy.address}")
        assert f"n2 127.0.0.2:{port}  NOT CALLED: no proxy is ready there, says ready.example" in told
        assert failed.startswith("1 of 1 calls failed")
        # Somebody is ready at an address that is no target's: it may be n2's other one.
        hosts["ready.example"].append("127.0.0.3")
        told, failed = call(shell, options, proxy=f"n1={proxy.address}")
        assert "NOT CALLED" not in told
        assert failed.startswith("2 of 2 calls failed")


def test_the_trunk_that_has_our_address_is_used_and_stays(shell: Shell) -> None:
    shell("trunks create carrier --source 127.0.0.0/8")
    with refuser(486) as proxy:
        told, _ = call(shell, proxy=proxy.address)
    assert "no trunk: 127.0.0.1 is of trunk carrier already" in told
    assert left(shell) == ["carrier"]


def test_a_trunk_that_takes_no_calls_is_an_error(shell: Shell) -> None:
    shell("trunks create carrier --source 127.0.0.1 --disabled")
    assert call(shell)[1] == "Error: 127.0.0.1 is of trunk carrier, which is disabled\n"


def test_what_a_test_has_left_behind_is_replaced(shell: Shell) -> None:
    shell(["tenants", "create", "test-call", "--display-name", MADE_FOR_TESTS])
    shell("lines create test-call line --user x --host 192.0.2.1")
    shell(f"numbers create {NUMBER} --tenant test-call --stage line")
    with refuser(486) as proxy:
        told, _ = call(shell, proxy=proxy.address)
    assert told.endswith("removed: all of it\n")
    assert left(shell) == []


def test_what_is_somebody_else_s_is_not_touched(shell: Shell) -> None:
    shell("tenants create test-call")
    assert "there is a tenant test-call that no test has made" in call(shell)[1]
    shell("tenants create acme")
    shell("lines create acme desk --user x --host 192.0.2.1")
    shell(f"numbers create {NUMBER} --tenant acme --stage desk")
    assert f"number {NUMBER} is of tenant acme: choose another --number" in call(shell, "--id other")[1]
    assert left(shell) == ["acme", "test-call"]


def test_what_cannot_be_removed_is_told(shell: Shell) -> None:
    shell(["tenants", "create", "test-call", "--display-name", MADE_FOR_TESTS])
    shell("lines create test-call another --user x --host 192.0.2.1")
    # A tenant that owns something stays, so it cannot be made again either.
    told, failed = call(shell)
    assert "NOT removed: tenant test-call" in told
    assert "test-call" in failed


def test_a_port_that_is_taken_is_named(shell: Shell) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1] // 2 * 2
        taken_too = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with taken_too, contextlib.suppress(OSError):
            taken_too.bind(("127.0.0.1", port))
        failed = shell(f"test-call --proxy 127.0.0.1:9 --port {port}", 1).stderr
    assert failed.startswith("Error: sip udp 127.0.0.1:")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--proxy 127.0.0.1", "Invalid value for --proxy: '127.0.0.1' must be host:port"),
        ("--proxy no-such-host.invalid:5060", "Invalid value for --proxy: 'no-such-host.invalid:5060'"),
        ("--proxy n1=127.0.0.1", "Invalid value for --proxy: 'n1=127.0.0.1' must be host:port"),
        ("--proxy 127.0.0.1:9 --ready no-such-host.invalid", "Invalid value for --ready: 'no-such-host.invalid'"),
        ("--proxy 127.0.0.1:9 --address desk", "Invalid value for --address: 'desk' does not appear to be"),
        ("--proxy 127.0.0.1:9 --port 25061", "Invalid value for --port: must be even"),
        ("--proxy 127.0.0.1:9 --talk 0", "Invalid value for '--talk'"),
    ],
)
def test_wrong_options_are_named(shell: Shell, options: str, told: str) -> None:
    assert told in shell(f"test-call {options}", 2).stderr


def test_without_a_cluster_file_proxies_must_be_given(shell: Shell) -> None:
    assert "which proxies? Give --proxy" in shell("test-call", 2).stderr


def test_proxies_of_the_cluster_file_are_known(shell: Shell, elsewhere: Path) -> None:
    file = elsewhere / "cluster.json"
    kamailio = {"name": "kamailio-1", "kind": "kamailio", "addresses": {"sip": "127.0.0.1:x"}}
    told = {"version": 1, "credentials": {"ca": "", "cert": "", "key": ""}, "grpc": {}, "processes": [kamailio]}
    file.write_text(json.dumps(told))
    assert "'127.0.0.1:x' must end in a port" in shell(f"test-call --cluster {file}", 2).stderr
