"""``cluster.json``: its exact content, and what happens when it is not what it should be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from signalbox_local import manifest
from signalbox_local.manifest import Manifest, ManifestError, ProcessEntry

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER = Manifest(
    "local",
    [
        ProcessEntry("routing-1", "routing", {"grpc": "127.0.0.1:7410", "metrics": "127.0.0.1:7411"}, "/log/r", 123),
        ProcessEntry("edge-1", "edge", {"ask": "127.0.0.1:9007"}, "/log/e", 124, "/var/edge-1"),
    ],
    {"routing": ["127.0.0.1:7410"], "provisioning": []},
    {"ca": "/pki/ca.pem", "cert": "/pki/client.pem", "key": "/pki/client.key"},
)


def test_the_file_says_what_programs_rely_on(tmp_path: Path) -> None:
    manifest.write(tmp_path, CLUSTER)
    assert json.loads((tmp_path / "cluster.json").read_text()) == {
        "version": 1,
        "name": "local",
        "processes": [
            {
                "name": "routing-1",
                "kind": "routing",
                "pid": 123,
                "addresses": {"grpc": "127.0.0.1:7410", "metrics": "127.0.0.1:7411"},
                "log": "/log/r",
            },
            {
                "name": "edge-1",
                "kind": "edge",
                "pid": 124,
                "addresses": {"ask": "127.0.0.1:9007"},
                "log": "/log/e",
                "journal": "/var/edge-1",
            },
        ],
        "grpc": {"routing": ["127.0.0.1:7410"], "provisioning": []},
        "credentials": {"ca": "/pki/ca.pem", "cert": "/pki/client.pem", "key": "/pki/client.key"},
    }


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    manifest.write(tmp_path, CLUSTER)
    assert manifest.read(tmp_path) == CLUSTER
    assert [file.name for file in tmp_path.iterdir()] == ["cluster.json"]


def test_no_file_is_no_cluster(tmp_path: Path) -> None:
    assert manifest.read(tmp_path) is None
    manifest.remove(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ('{"version": 2}', "version 2, expected 1"),
        ('{"version": 1, "name": "x"}', "processes"),
        (
            '{"version": 1, "name": "x", "grpc": {}, "credentials": {}, "processes": '
            '[{"name": "a", "kind": "phone", "addresses": {}, "log": "", "pid": 1}]}',
            "no such kind of process: phone",
        ),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(ManifestError, match=f"cluster.json: .*{problem}"):
        manifest.read(tmp_path)
