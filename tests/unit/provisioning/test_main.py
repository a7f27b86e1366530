"""The process around the service: who is let in, and whether it says that it is ready."""

from __future__ import annotations

from pathlib import Path

import pytest
from signalbox.errors import ConfigurationError
from signalbox.provisioning.main import StoreProbe, check_transport
from signalbox.settings import ProvisioningSettings, ServerTlsSettings
from signalbox.store.memory import MemoryStore

TLS = ServerTlsSettings(ca_file=Path("ca"), cert_file=Path("cert"), key_file=Path("key"))


class Health:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.serving: bool | None = None

    async def set(self, serving: bool) -> None:
        self.serving = serving


def test_clients_must_be_authenticated() -> None:
    check_transport(ProvisioningSettings(tls=TLS))
    with pytest.raises(ConfigurationError, match="ca_file"):
        check_transport(ProvisioningSettings())
    with pytest.raises(ConfigurationError, match="ca_file"):
        check_transport(ProvisioningSettings(tls=ServerTlsSettings(cert_file=Path("cert"), key_file=Path("key"))))


def test_without_tls_only_if_said_so() -> None:
    check_transport(ProvisioningSettings(insecure=True))
    with pytest.raises(ConfigurationError, match="exclude"):
        check_transport(ProvisioningSettings(insecure=True, tls=TLS))


def test_clients_without_a_certificate_need_tls_and_a_key() -> None:
    check_transport(ProvisioningSettings(tls=TLS, keys_listen="127.0.0.1:0"))
    with pytest.raises(ConfigurationError, match="keys_listen"):
        check_transport(ProvisioningSettings(insecure=True, keys_listen="127.0.0.1:0"))
    with pytest.raises(ConfigurationError, match="ca_file"):
        check_transport(
            ProvisioningSettings(
                tls=ServerTlsSettings(cert_file=Path("cert"), key_file=Path("key")), keys_listen="127.0.0.1:0"
            )
        )


async def test_ready_while_the_store_answers() -> None:
    store, health = MemoryStore(), Health()
    probe = StoreProbe(store, health)
    assert probe.readiness() == (False, {"store_reachable": False, "store_answered_s_ago": None})
    await probe.ask()
    assert health.serving is True
    ready, facts = probe.readiness()
    assert ready
    assert facts["store_answered_s_ago"] is not None
    store.available = False
    await probe.ask()
    assert health.serving is False
    assert probe.readiness()[0] is False
    store.available = True
    await probe.ask()
    assert probe.readiness()[0] is True
