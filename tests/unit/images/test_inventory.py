"""The list of what is in an image, against the schema of CycloneDX."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from support.script import load

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parents[3] / "deploy/images/inventory.py"


@pytest.fixture
def inventory() -> ModuleType:
    return load(SCRIPT)


def _wrong_in(text: str) -> str | None:
    """What the schema of 1.5 says against it; strict: a field that it does not know is wrong."""
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    return None if error is None else str(error)


def test_the_list_of_real_packages_obeys_the_schema(inventory: ModuleType) -> None:
    # Those of this machine: of Debian, and of Python the ones that the tests run with.
    components = inventory.debian(Path("/")) + inventory.python(Path(sysconfig.get_path("purelib")))
    assert {"python3", "grpcio"} <= {one.name for one in components}
    listed = inventory.sbom("signalbox", components)
    assert _wrong_in(json.dumps(listed)) is None
    references = [one["bom-ref"] for one in listed["components"]]
    assert len(set(references)) == len(references)


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"version": 0}, "version|minimum|0"), ({"licence": "GPL"}, "licence"), ({"components": [{"name": "x"}]}, "type")],
)
def test_the_schema_refuses_what_is_wrong(inventory: ModuleType, changed: dict[str, Any], told: str) -> None:
    wrong = _wrong_in(json.dumps(inventory.sbom("signalbox", []) | changed))
    assert wrong is not None
    assert any(one in wrong for one in told.split("|"))


def test_what_the_script_writes_obeys_the_schema(tmp_path: Path) -> None:
    # Packages as Debian and PyPI have them: an epoch, a tilde and a plus in versions, several licences or none.
    status = tmp_path / "root/var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: libx11-6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2:1.8.12-1\n\n"
        "Package: g++-base\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.5.9-1~deb13u1+b1\n"
    )
    site = tmp_path / "root/opt/signalbox/lib/python3.13/site-packages/a_b-1.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: a_b\nVersion: 1\n"
        "Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: BSD License\n"
    )
    out = tmp_path / "out"
    arguments = ["--root", str(tmp_path / "root"), "--name", "image", "--output", str(out)]
    subprocess.run([sys.executable, SCRIPT, *arguments], check=True, timeout=60)
    text = (out / "sbom.cdx.json").read_text()
    assert _wrong_in(text) is None
    assert [one["name"] for one in json.loads(text)["components"]] == ["g++-base", "libx11-6", "a_b"]
