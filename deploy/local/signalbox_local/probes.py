"""Is it ready? One question per kind of process, in the language that the process speaks.

Every probe raises NotReadyError with what it saw, and returns facts where the process tells some.
"""

from __future__ import annotations

import http.client
import json
import socket
import uuid
from collections.abc import Callable, Mapping

from signalbox.address import split

TIMEOUT_S = 1.0

Facts = Mapping[str, object]
Probe = Callable[[], Facts]


class NotReadyError(Exception):
    """The process did not answer, or said that it is not ready."""


def readyz(address: str) -> Facts:
    """Ask a process of ours on its side door; returns its facts. Facts of one that is not ready are in the error."""
    facts = _get(address, "/readyz")
    if facts.get("ready") is not True:
        raise NotReadyError(json.dumps(facts))
    return facts


def facts(address: str) -> Facts:
    """What the process says of itself on its side door, ready or not; empty if it cannot be reached."""
    try:
        return _get(address, "/readyz")
    except NotReadyError:
        return {}


def etcd(address: str) -> Facts:
    """etcd has a leader and commits."""
    health = _get(address, "/health")
    if str(health.get("health")).lower() != "true":
        raise NotReadyError(json.dumps(health))
    return health


def redis(address: str) -> Facts:
    """PING of the redis protocol."""
    try:
        with socket.create_connection(split(address), TIMEOUT_S) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except OSError as error:
        raise NotReadyError(str(error)) from error
    if not answer.startswith(b"+PONG"):
        raise NotReadyError(answer.decode(errors="replace").strip())
    return {}


def rtpengine(address: str) -> Facts:
    """``ping`` of rtpengine's ng protocol: a cookie and a bencoded dictionary in one datagram."""
    answer = _datagram(address, f"{uuid.uuid4().hex} d7:command4:pinge".encode())
    if b"4:pong" not in answer:
        raise NotReadyError(answer.decode(errors="replace"))
    return {}


def sip(address: str) -> Facts:
    """OPTIONS (RFC 3261 section 11): the proxy answers 200 when it is ready for calls."""
    branch = uuid.uuid4().hex
    request = (
        f"OPTIONS sip:{address} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK{branch}\r\n"
        f"From: <sip:probe@127.0.0.1>;tag={branch[:8]}\r\nTo: <sip:{address}>\r\n"
        f"Call-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 1\r\nContent-Length: 0\r\n\r\n"
    )
    status = _datagram(address, request.encode()).split(b"\r\n", 1)[0].decode(errors="replace")
    if not status.startswith("SIP/2.0 200 "):
        raise NotReadyError(status)
    return {}


def _get(address: str, path: str) -> dict[str, object]:
    connection = http.client.HTTPConnection(*split(address), timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotReadyError(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise NotReadyError(f"unexpected answer {answer!r}")
    return answer


def _datagram(address: str, request: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(TIMEOUT_S)
        probe.connect(split(address))
        try:
            probe.send(request)
            return probe.recv(65535)
        except OSError as error:
            raise NotReadyError(str(error) or type(error).__name__) from error
