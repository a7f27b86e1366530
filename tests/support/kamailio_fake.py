"""The proxy as the edge sees it: a UDP socket that asks and receives ROUTE, and JSON-RPC on a UNIX datagram socket."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Route:
    """A ROUTE request: transaction and decision."""

    index: int
    label: int
    headers: dict[str, str]
    request_line: str
    body: dict[str, Any]


def question(index: int = 1, label: int = 2, called: str = "4001234567", **changes: Any) -> bytes:
    """A question datagram as the script sends it; values in ``changes`` replace whole fields."""
    fields: dict[str, Any] = {
        "v": 1,
        "i": index,
        "l": label,
        "id": f"edge-1-65a1b2c3-{index}-{label}",
        "tr": "carrier-a",
        "to": b64(called),
        "fr": b64("13800001234"),
        "pa": "",
        "ci": b64("a84b4c76e66710@192.0.2.9"),
        "src": "192.0.2.9",
        "dv": 0,
        "lg": "",
        "pn": "",
    }
    return json.dumps(fields | changes).encode()


def b64(text: str | bytes) -> str:
    """Base64 as Kamailio writes it."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


class RouteSocket(asyncio.DatagramProtocol):
    """Sends questions to the edge and keeps the ROUTE requests that come back."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.messages = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._news = asyncio.Event()

    @classmethod
    async def open(cls) -> RouteSocket:
        """On a free loopback port."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        return protocol

    @property
    def address(self) -> str:
        """host:port."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return f"{host}:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's protocol."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Part of asyncio's protocol."""
        self.messages += 1
        self.routes.extend(parse_routes(data))
        self._news.set()

    def ask(self, edge: tuple[str, int], datagram: bytes) -> None:
        """Send one question."""
        assert self._transport is not None
        self._transport.sendto(datagram, edge)

    async def wait(self, count: int, timeout_s: float = 5.0) -> list[Route]:
        """Wait until so many ROUTE requests have come."""
        async with asyncio.timeout(timeout_s):
            while len(self.routes) < count:
                self._news.clear()
                await self._news.wait()
        return self.routes

    def close(self) -> None:
        """Close the socket."""
        assert self._transport is not None
        self._transport.close()


def parse_routes(message: bytes) -> list[Route]:
    """Read a ROUTE request, one for each decision in it; asserts that it is well-formed."""
    head, _, body = message.partition(b"\r\n\r\n")
    request_line, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    assert body.endswith(b"\n")
    opened, decisions = body.splitlines()[::2], body.splitlines()[1::2]
    routes = []
    for open_, decision in zip(opened, decisions, strict=True):
        index, label = map(int, open_.split(b" "))
        routes.append(Route(index, label, headers, request_line, json.loads(decision)))
    return routes


@dataclass
class KamailioFake:
    """JSON-RPC with the methods that the edge uses and a memory like the proxy's."""

    runtime_dir: Path
    reload_interval_s: float = 10.0
    refuse: set[str] = field(default_factory=set)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    htables: dict[str, dict[str, str]] = field(default_factory=dict)
    nodes: dict[tuple[int, str], int] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    silent: bool = False
    _socket: socket.socket | None = None
    _reloaded_at: float = -100.0

    def start(self) -> None:
        """Start with an empty memory; the rtpengine table is read as the proxy does at its start."""
        self.htables = {"cfg": {}, "ban": {}, "health": {}}
        self._load_nodes()
        self.runtime_dir.mkdir(parents=True, exist_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        path = self.runtime_dir / "rpc.sock"
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read)
        self._socket = sock

    def stop(self) -> None:
        """End; the socket's path stays, as after a crash."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def methods(self) -> list[str]:
        """Methods called, without the polling of the mark and the sign of life."""
        steady = (
            ("htable.get", "cfg", "version"),
            ("htable.seti", "health", "alive"),
            ("cnt.grp_get_all", "signalbox"),
        )
        return [call[0] for call in self.calls if call[:3] not in steady]

    def table(self, name: str) -> list[list[str]]:
        """Rows of a db_text table, without the id column."""
        text = (self.runtime_dir / "tables" / name).read_text()
        marked = text.replace("\\:", "\0")
        return [[cell.replace("\0", ":") for cell in row.split(":")[1:]] for row in marked.splitlines()[1:]]

    def _load_nodes(self) -> None:
        if (self.runtime_dir / "tables" / "rtpengine").exists():
            self.nodes = {(int(row[0]), row[1]): int(row[3]) for row in self.table("rtpengine")}

    def _read(self) -> None:
        assert self._socket is not None
        data, peer = self._socket.recvfrom(65535)
        request = json.loads(data)
        method, parameters = request["method"], request["params"]
        self.calls.append((method, *parameters))
        if self.silent:
            return
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        if method in self.refuse:
            answer["error"] = {"code": 500, "message": "as told"}
        else:
            answer |= self._answer(method, parameters)
        self._socket.sendto(json.dumps(answer).encode(), peer)

    def _answer(self, method: str, parameters: list[Any]) -> dict[str, Any]:
        match method, parameters:
            case "htable.get", [table, key]:
                if key not in self.htables[table]:
                    return {"error": {"code": 500, "message": "Key name doesn't exist in htable."}}
                return {"result": {"item": {"name": key, "value": self.htables[table][key], "flags": 2}}}
            case "htable.sets" | "htable.seti", [table, key, value]:
                self.htables[table][key] = value
            case "htable.delete", [table, key]:
                if self.htables[table].pop(key, None) is None:
                    return {"error": {"code": 404, "message": "Key not found in htable."}}
            case "htable.dump", [table]:
                slots = [{"name": k, "value": v, "type": "str"} for k, v in self.htables[table].items()]
                return {"result": [{"entry": 1, "size": len(slots), "slot": slots}] if slots else []}
            case "rtpengine.show", ["all"]:
                if not self.nodes:
                    return {"error": {"code": 404, "message": "Instance not found (no sets loaded)"}}
                shown = [
                    {"url": url, "set": number, "disabled": "1(permanent)" if off else 0}
                    for (number, url), off in self.nodes.items()
                ]
                return {"result": shown}
            case "rtpengine.reload", []:
                now = asyncio.get_running_loop().time()
                if now - self._reloaded_at < self.reload_interval_s:
                    return {"error": {"code": 500, "message": "Too short reload interval - try later"}}
                self._reloaded_at = now
                self._load_nodes()
            case "rtpengine.enable", [url, on]:
                status = "disable" if not on else "fail" if url in self.dead else "enable"
                for key in self.nodes:
                    if key[1] == url:
                        self.nodes[key] = int(status != "enable")
                return {"result": {"url": url, "status": status}}
        return {"result": {}}
