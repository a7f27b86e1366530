"""The load test as a Job with workers: what it is told is what our own commands take."""

from __future__ import annotations

import argparse

import pytest
from support.chart import CERT_MANAGER, ChartError, needs_helm, pod_of, render

from loadtest import options, remote, shapes

pytestmark = needs_helm
ENABLED = {"loadtest": {"enabled": True}}


def jobs(rendered):
    found = {job["metadata"]["labels"]["app.kubernetes.io/component"]: job for job in rendered.all("Job")}
    return found["loadtest"], found["loadtest-workers"]


def told(job):
    """Shape, what our options get, and what is left for Locust."""
    (container,) = pod_of(job)["spec"]["containers"]
    context = remote.main.make_context("remote", list(container["args"]))

    class Parser(argparse.ArgumentParser):
        def add_argument_group(self, *args, **kwargs):
            group = super().add_argument_group(*args, **kwargs)
            add = group.add_argument
            group.add_argument = lambda *names, env_var="", **more: add(*names, **more)
            return group

    parser = Parser()
    options.add(parser)
    ours, locust = parser.parse_known_args(list(context.params["locust"]))
    return context.params["shape"], ours, locust


def test_the_master_waits_for_its_workers_and_judges():
    rendered = render({"loadtest": {"enabled": True, "workers": 3, "shape": "steady", "options": ["--peak=70"]}})
    master, workers = jobs(rendered)
    shape, ours, locust = told(master)
    assert shape == "steady"
    assert (ours.peak, ours.report) == (70.0, "/var/lib/signalbox/report")
    assert {"--master", "--headless", "--expect-workers=3", "--master-bind-port=5557"} <= set(locust)
    assert locust[-3:] == ["SipCaller", "GrpcRouter", "Provisioner"]
    assert (workers["spec"]["parallelism"], workers["spec"]["completions"]) == (3, 3)
    assert master["spec"]["backoffLimit"] == workers["spec"]["backoffLimit"] == 0


def test_workers_are_told_where_the_cluster_and_their_master_are():
    rendered = render(ENABLED)
    shape, ours, locust = told(jobs(rendered)[1])
    assert shape in shapes.NAMES
    assert ours.proxies == "sb-signalbox-edge-replicas.voice.svc.cluster.local:5060"
    assert ours.provisioning == "sb-signalbox-provisioning.voice.svc.cluster.local:7420"
    assert ours.routing == "sb-signalbox-routing-replicas.voice.svc.cluster.local:7410"
    assert (ours.ca, ours.cert) == ("/etc/signalbox/client/ca.crt", "/etc/signalbox/client/tls.crt")
    (service,) = [one for one in rendered.all("Service") if one["metadata"]["name"] == "sb-signalbox-loadtest"]
    # Of all three the names are there.
    services = {one["metadata"]["name"] for one in rendered.all("Service")}
    assert {told.split(".")[0] for told in (ours.proxies, ours.provisioning, ours.routing)} <= services
    assert "--master-host=sb-signalbox-loadtest.voice.svc.cluster.local" in locust
    assert "--master-port=5557" in locust
    assert [port["port"] for port in service["spec"]["ports"]] == [5557]


def test_the_name_of_the_master_is_that_of_no_worker_and_of_no_other_run():
    rendered = render({"loadtest": {"enabled": True, "run": 7}})
    master, workers = jobs(rendered)
    (service,) = [one for one in rendered.all("Service") if one["metadata"]["name"] == "sb-signalbox-loadtest"]
    selector = service["spec"]["selector"].items()
    assert selector <= pod_of(master)["metadata"]["labels"].items()
    assert not selector <= pod_of(workers)["metadata"]["labels"].items()
    assert [job["metadata"]["name"] for job in (master, workers)] == [
        "sb-signalbox-loadtest-7",
        "sb-signalbox-loadtest-workers-7",
    ]
    other, _ = jobs(render(ENABLED))
    assert not selector <= pod_of(other)["metadata"]["labels"].items()


def test_replicas_that_want_certificates_of_each_other_are_not_asked():
    values = {"loadtest": {"enabled": True, "clientSecret": "operator"}, **CERT_MANAGER}
    _, ours, locust = told(jobs(render(values, apis=("cert-manager.io/v1",)))[1])
    assert ours.routing == ""
    assert locust[-2:] == ["SipCaller", "Provisioner"]


def test_users_are_those_that_are_named():
    assert told(jobs(render({"loadtest": {"enabled": True, "users": ["SipCaller"]}}))[0])[2][-1] == "SipCaller"


def test_there_is_none_unless_it_is_asked_for():
    assert "loadtest" not in render().text


@pytest.mark.parametrize(
    ("values", "size", "said"),
    [
        (ENABLED, "carrier", "loadtest.clientSecret: a load test writes rules"),
        ({**ENABLED, "edge": {"enabled": False}}, "laptop", "loadtest.enabled: needs edge, routing and provisioning"),
    ],
)
def test_what_it_needs_is_named(values, size, said):
    with pytest.raises(ChartError, match=said):
        render(values, size=size)
