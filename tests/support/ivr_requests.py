"""Requests of flows to services on loopback."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.ivr.outside.signing import Secrets
from signalbox.ivr.requests import HttpRequests
from signalbox.settings.outside import RequestsSettings
from signalbox.store import codec
from signalbox.store.base import Put
from signalbox.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.ivr.outside.names import Names


NOW = 1_769_999_999
SECRET_HASH = hashlib.sha256(b"sb.acme.crm.x").digest()
LOOPBACK = ["127.0.0.0/8", "::1/128"]


async def requests(*, names: Names | None = None, **settings: Any) -> HttpRequests:
    store = MemoryStore()
    for tenant in ("acme", "other"):
        key = types_pb2.ApiKey(tenant=tenant, id="crm", secret_hash=SECRET_HASH)
        await store.commit([], [Put(codec.key_of(key), codec.encode(key))])
    made = RequestsSettings(**{"allowed_networks": LOOPBACK, **settings})
    return HttpRequests(made, Secrets(store), names=names, clock=lambda: NOW + 0.9)


def node(url: str, timeout_s: int = 10, *keys: str, branch_key: str = "state") -> flows_pb2.RequestNode:
    return flows_pb2.RequestNode(
        url=url,
        api_key="crm",
        timeout=Duration(seconds=timeout_s),
        receive=[flows_pb2.ReceivedValue(key=key, variable=f"v{n}") for n, key in enumerate(keys)],
        branch_key=branch_key,
    )


async def ask(port: int, path: str = "/", *, timeout_s: int = 10, **settings: Any) -> Mapping[str, str]:
    made = await requests(**settings)
    return await made.post(node(f"http://127.0.0.1:{port}{path}", timeout_s), "acme", "{}")
