"""The step in which a backup comes back: in which order what is asked, and what it does not take for good."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox_local.testcluster import restore
from signalbox_local.testcluster.kube import KubeError

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLD = "/var/backups/signalbox/etcd-2027-03-01T021700Z.db: 1 MiB, of etcd-1:2379\n"


class Rules:
    """Provisioning that knows one number, until it is deleted; the backup brings it again, or not."""

    there = False
    comes_back = True

    def __init__(self, channel: object) -> None:
        pass

    def number(self, tenant: str, number: str, stages: object) -> None:
        Rules.there = True

    def delete_number(self, number: str) -> None:
        if not Rules.there:
            raise Missing
        Rules.there = False


class Missing(grpc.RpcError):
    """NOT_FOUND."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.NOT_FOUND


class Kube:
    """Jobs that are complete at once."""

    fullname, release = "sb-signalbox", "sb"

    def __init__(self, log: str = TOLD) -> None:
        self.log, self.asked = log, list[str]()

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        return [{"spec": {"jobTemplate": {"spec": {"template": {}}}}}]

    def create(self, item: dict[str, Any]) -> None:
        self.asked.append(f"create {item['metadata']['name']}")

    def kubectl(self, *arguments: str, timeout_s: float = 0.0) -> str:
        self.asked.append(" ".join(arguments[:2]))
        return self.log

    def settle(self, timeout_s: float) -> None:
        self.asked.append("settle")


class Helm:
    """A release whose etcd is at its third generation."""

    def __init__(self) -> None:
        self.upgrades: list[tuple[tuple[str, ...], bool]] = []

    def user_values(self) -> dict[str, Any]:
        return {"etcd": {"generation": 3}}

    def upgrade(self, *values: str, timeout_s: float, stay: bool = True) -> None:
        self.upgrades.append((values, stay))
        Rules.there = Rules.comes_back


@pytest.fixture(autouse=True)
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provisioning is ours."""
    monkeypatch.setattr(restore, "Rules", Rules)
    monkeypatch.setattr(Rules, "comes_back", True)


@contextlib.contextmanager
def api() -> Iterator[None]:
    yield


def go(kube: Kube, helm: Helm) -> None:
    restore.restored(kube, helm, api, 1.0)  # type: ignore[arg-type]


def test_the_generation_after_the_one_that_is_there_gets_the_file_and_stays():
    kube, helm = Kube(), Helm()
    go(kube, helm)
    file = "backup.restore.file=etcd-2027-03-01T021700Z.db"
    assert helm.upgrades == [((file, "backup.restore.generation=4"), False), (("etcd.generation=4",), True)]
    assert kube.asked[:4] == ["create backup-now", "wait --for=condition=complete", "logs job/backup-now", "delete job"]
    assert kube.asked[-2:] == ["settle", "exec sb-signalbox-provisioning-0"]


def test_rules_that_are_not_those_of_the_backup_are_an_error():
    Rules.comes_back = False
    with pytest.raises(KubeError, match=r"4009990099 of the backup .* is not there"):
        go(Kube(), Helm())


def test_a_backup_that_names_no_file_is_an_error_and_its_job_is_gone():
    kube = Kube(log="Error: no member answers\n")
    with pytest.raises(KubeError, match="which file it has written: Error: no member answers"):
        go(kube, Helm())
    assert kube.asked[-1] == "delete job"
