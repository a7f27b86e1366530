"""Whose a certificate is, and what it may call by one table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from signalbox.certificates import Access, Peer, Role, of_certificate
from signalbox.errors import CredentialsRefusedError, PermissionRefusedError


def shown(*names: str) -> dict[str, list[bytes]]:
    return {"x509_common_name": [b"somebody"], "x509_subject_alternative_name": [name.encode() for name in names]}


@pytest.mark.parametrize(
    ("names", "peer"),
    [
        ([], Peer(Role.OPERATOR)),
        (["localhost"], Peer(Role.OPERATOR)),
        (["signalbox://operator"], Peer(Role.OPERATOR)),
        (["localhost", "signalbox://recorder/recorder-1"], Peer(Role.RECORDER, "recorder-1")),
        (["signalbox://edge/e"], Peer(Role.EDGE, "e")),
    ],
)
def test_a_certificate_says_whose_it_is(names: list[str], peer: Peer) -> None:
    assert of_certificate(shown(*names)) == peer


@pytest.mark.parametrize(
    "names",
    [
        ["signalbox://recorder"],
        ["signalbox://recorder/"],
        ["signalbox://recorder/A"],
        ["signalbox://recorder/a/b"],
        ["signalbox://operator", "signalbox://recorder/a"],
        ["signalbox://tenants/acme/reader"],
    ],
)
def test_one_that_is_not_clear_is_refused(names: list[str]) -> None:
    with pytest.raises(CredentialsRefusedError):
        of_certificate(shown(*names))


def test_none_is_refused() -> None:
    with pytest.raises(CredentialsRefusedError):
        of_certificate({})


def test_a_table_says_who_may_call_what() -> None:
    context: Any = SimpleNamespace(auth_context=lambda: shown("signalbox://recorder/r"))
    access = Access({"Claim": {Role.RECORDER}, "Pause": {Role.OPERATOR}}, certified=True)
    assert access.check(context, "Claim") == Peer(Role.RECORDER, "r")
    with pytest.raises(PermissionRefusedError):
        access.check(context, "Pause")
    assert Access({}, certified=False).check(context, "Pause") is None, "nobody is asked"
