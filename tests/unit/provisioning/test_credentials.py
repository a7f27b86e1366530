"""Who asks: API keys and what certificates say."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import CredentialsRefusedError
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER
from signalbox.provisioning.credentials import Authenticator, of_certificate
from signalbox.store import codec, keys
from support.provisioning import As, Stub, invalid, key, reason_of, refused

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore

    from .conftest import Clock


@pytest.fixture(autouse=True)
async def acme(api: Stub) -> None:
    await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))


def at(clock: Clock, seconds: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(clock.now + timedelta(seconds=seconds))
    return moment


async def test_a_secret_is_told_once_and_not_kept(api: Stub, store: MemoryStore) -> None:
    given = types_pb2.ApiKey(tenant="acme", id="k", role=READER, display_name="Console", secret_hash=b"chosen")
    created = await api.CreateApiKey(pb.CreateApiKeyRequest(api_key=given))
    assert created.secret.startswith("sb.acme.k.")
    assert len(created.secret) >= 50
    assert created.api_key.etag
    got = await api.GetApiKey(pb.GetApiKeyRequest(tenant="acme", id="k"))
    assert got == created.api_key
    (listed,) = (await api.ListApiKeys(pb.ListApiKeysRequest(tenant="acme"))).api_keys
    assert listed == got
    assert not got.secret_hash
    entry = await store.get(keys.api_key("acme", "k"))
    assert entry is not None
    stored = codec.decode(types_pb2.ApiKey, entry)
    assert stored.secret_hash == hashlib.sha256(created.secret.encode()).digest()
    secret = created.secret.encode()
    assert not any(secret in one.value for one in (await store.list("")).entries)


async def test_a_key_opens_until_it_is_deleted(api: Stub) -> None:
    caller = As(api, await key(api, "acme", ADMINISTRATOR))
    await caller.ListLines(pb.ListLinesRequest(tenant="acme"))
    await api.DeleteApiKey(pb.DeleteApiKeyRequest(tenant="acme", id="key"))
    with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED"):
        await caller.ListLines(pb.ListLinesRequest(tenant="acme"))


async def test_a_key_opens_until_it_expires(api: Stub, clock: Clock) -> None:
    caller = As(api, await key(api, "", OPERATOR, expire_time=at(clock, 60)))
    clock.advance(59)
    await caller.ListTenants(pb.ListTenantsRequest())
    clock.advance(1)
    with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED"):
        await caller.ListTenants(pb.ListTenantsRequest())


async def test_a_key_made_anew_has_another_secret(api: Stub) -> None:
    old = await key(api, "acme", READER)
    await api.DeleteApiKey(pb.DeleteApiKeyRequest(tenant="acme", id="key"))
    new = await key(api, "acme", READER)
    assert old != new
    assert await reason_of(As(api, old).GetTenant(pb.GetTenantRequest(id="acme"))) == "CREDENTIALS_REFUSED"
    assert await reason_of(As(api, new).GetTenant(pb.GetTenantRequest(id="acme"))) == "OK"


@pytest.mark.parametrize("change", [str.upper, lambda s: s[1:], lambda s: s + "x", lambda s: s.replace(".key.", ".k.")])
async def test_a_secret_that_is_a_little_wrong(api: Stub, change: Any) -> None:
    secret = await key(api, "acme", READER)
    assert await reason_of(As(api, change(secret)).GetTenant(pb.GetTenantRequest(id="acme"))) == "CREDENTIALS_REFUSED"


@pytest.mark.parametrize("header", ["Basic abc", "", "Bearer", "Bearer  ", "Bearer sb.../etc.x.y", "Bearer sb.a.b.c.d"])
async def test_what_is_no_bearer(api: Stub, header: str) -> None:
    call = api.GetTenant(pb.GetTenantRequest(id="acme"), metadata=(("authorization", header),))
    with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED"):
        await call


async def test_the_scheme_is_written_anyhow(api: Stub) -> None:
    secret = await key(api, "acme", READER)
    await api.GetTenant(pb.GetTenantRequest(id="acme"), metadata=(("authorization", f"bearer {secret}"),))


@pytest.mark.parametrize(
    ("tenant", "role"),
    [("acme", OPERATOR), ("", ADMINISTRATOR), ("", READER), ("acme", 0), ("", 0), ("acme", 7)],
)
async def test_the_role_goes_with_the_owner(api: Stub, tenant: str, role: Any) -> None:
    with invalid() as refusal:
        await key(api, tenant, role)
    assert list(refusal.fields) == ["api_key.role"]


async def test_a_key_of_the_past_or_of_nobody(api: Stub, clock: Clock) -> None:
    with invalid() as refusal:
        await key(api, "acme", READER, expire_time=at(clock, 0))
    assert list(refusal.fields) == ["api_key.expire_time"]
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await key(api, "nobody", READER)


async def test_a_tenant_with_keys_stays(api: Stub) -> None:
    await key(api, "acme", READER)
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await api.DeleteTenant(pb.DeleteTenantRequest(id="acme"))
    assert refusal.metadata["referrer"] == "api_key key"


@pytest.mark.parametrize(
    ("names", "role", "tenant"),
    [
        ([], OPERATOR, ""),
        (["localhost", "127.0.0.1"], OPERATOR, ""),
        (["signalbox://operator"], OPERATOR, ""),
        (["signalbox://tenants/acme/administrator"], ADMINISTRATOR, "acme"),
        (["console.example", "signalbox://tenants/acme/reader"], READER, "acme"),
    ],
)
def test_whose_a_certificate_is(names: list[str], role: int, tenant: str) -> None:
    properties = {
        "x509_common_name": [b"somebody"],
        "x509_subject_alternative_name": [name.encode() for name in names],
    }
    principal = of_certificate(properties)
    assert (principal.role, principal.tenant, principal.name) == (role, tenant, "somebody")


@pytest.mark.parametrize(
    "names",
    [
        ["signalbox://"],
        ["signalbox://tenants/acme"],
        ["signalbox://tenants/acme/owner"],
        ["signalbox://tenants//reader"],
        ["signalbox://tenants/A/reader"],
        ["signalbox://operator", "signalbox://tenants/acme/reader"],
        ["signalbox://tenants/acme/reader", "signalbox://tenants/best/reader"],
    ],
)
def test_a_certificate_that_does_not_say_clearly(names: list[str]) -> None:
    with pytest.raises(CredentialsRefusedError):
        of_certificate({"x509_subject_alternative_name": [name.encode() for name in names]})


async def test_without_credentials_nobody_is_served(store: MemoryStore, clock: Clock) -> None:
    class Context:
        def invocation_metadata(self) -> None:
            return None

        def auth_context(self) -> dict[str, list[bytes]]:
            return {"transport_security_type": [b"ssl"]}

    with pytest.raises(CredentialsRefusedError):
        await Authenticator(store, clock).principal(Context())  # type: ignore[arg-type]
