"""A backup of etcd is taken and comes back, with the commands of docs/etcd.md, while calls go on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import grpc

from signalbox_local.rules import Rules, existing_is_fine
from signalbox_local.testcluster.kube import KubeError
from signalbox_local.testcluster.site import LINES, TENANT

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from signalbox_local.testcluster.kube import Helm, Kube

MARKER = "4009990099"
"""A number that nobody calls: there at the backup, deleted after it."""
JOB = "backup-now"
JOB_S = 300
_FILE = re.compile(r"(etcd-[-\w]+\.db): ")


def restored(kube: Kube, helm: Helm, api: Callable[[], AbstractContextManager[grpc.Channel]], settle_s: float) -> None:
    """Raises KubeError, also when the data are not those of the backup afterwards."""
    with api() as channel, existing_is_fine():
        Rules(channel).number(TENANT, MARKER, [[LINES[0]]])
    file = _backup(kube)
    with api() as channel:
        Rules(channel).delete_number(MARKER)
    generation = helm.user_values().get("etcd", {}).get("generation", 1) + 1
    restore = (f"backup.restore.file={file}", f"backup.restore.generation={generation}")
    helm.upgrade(*restore, timeout_s=settle_s, stay=False)
    jobs = f"app.kubernetes.io/instance={kube.release},app.kubernetes.io/component=restore"
    _complete(kube, "job", "-l", jobs)
    helm.upgrade(f"etcd.generation={generation}", timeout_s=settle_s * 2)
    kube.settle(settle_s)
    with api() as channel:
        try:
            Rules(channel).delete_number(MARKER)
        except grpc.RpcError as error:
            raise KubeError(f"number {MARKER} of the backup {file} is not there: {error.code()}") from error
    kube.kubectl("exec", f"{kube.fullname}-provisioning-0", "--", "signalbox", "etcd", "check")


def _backup(kube: Kube) -> str:
    """The name of the file of one that is taken now."""
    # `kubectl create job --from` of today knows no CronJob of Kubernetes before 1.21.
    template = kube.get("cronjob", f"{kube.fullname}-backup")[0]["spec"]["jobTemplate"]
    kube.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": JOB}, "spec": template["spec"]})
    try:
        _complete(kube, f"job/{JOB}")
        told = kube.kubectl("logs", f"job/{JOB}")
    finally:
        kube.kubectl("delete", "job", JOB, "--ignore-not-found")
    if (found := _FILE.search(told)) is None:
        raise KubeError(f"the backup does not say which file it has written: {told.strip()}")
    return found[1]


def _complete(kube: Kube, *what: str) -> None:
    kube.kubectl("wait", "--for=condition=complete", f"--timeout={JOB_S}s", *what, timeout_s=JOB_S + 10.0)
