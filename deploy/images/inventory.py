"""What is in an image: an SBOM (CycloneDX 1.5, JSON) and a list of licences, from what dpkg and Python know.

Run while the image is built, by the Python of the image or of another stage; standard library only. Output is sorted
and has no time in it, so that two builds of the same packages give the same files.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
from pathlib import Path
from typing import NamedTuple

COMMON = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE)
"""In a machine-readable copyright file (Debian copyright format 1.0)."""
POINTED = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]+)")
"""In any other: where the text of a common licence lies."""


class Component(NamedTuple):
    """A package."""

    name: str
    version: str
    url: str
    """Package URL (purl)."""
    licences: tuple[str, ...]


def debian(root: Path) -> list[Component]:
    """All packages that dpkg has installed below ``root``."""
    found = []
    for block in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", block, re.MULTILINE))
        if fields.get("Status") != "install ok installed":
            continue
        name, version = fields["Package"], fields["Version"]
        url = f"pkg:deb/debian/{name}@{version.replace(':', '%3A')}?arch={fields['Architecture']}"
        found.append(Component(name, version, url, _licences_of(root / f"usr/share/doc/{name}/copyright", root)))
    return sorted(found)


def _licences_of(file: Path, root: Path) -> tuple[str, ...]:
    # Documentation may be a link to another package's.
    if file.parent.is_symlink():
        target = file.parent.readlink()
        file = (root / target.relative_to("/") if target.is_absolute() else file.parent.parent / target) / file.name
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return ()
    named = COMMON.findall(text) or POINTED.findall(text)
    return tuple(sorted({name.strip().rstrip(".") for name in named}))


def python(site: Path) -> list[Component]:
    """All distributions in a folder of packages."""
    found = []
    for one in importlib.metadata.distributions(path=[str(site)]):
        name, version = one.metadata["Name"], one.version
        classified = [
            text.rpartition(" :: ")[2]
            for text in one.metadata.get_all("Classifier", [])
            if text.startswith("License ::")
        ]
        expression = one.metadata.get("License-Expression") or one.metadata.get("License") or ""
        told = [expression.splitlines()[0]] if expression.strip() else classified
        url = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
        found.append(Component(name, version, url, tuple(sorted(set(told)))))
    return sorted(found, key=lambda one: one.name.lower())


def sbom(name: str, components: list[Component]) -> dict[str, object]:
    """As CycloneDX 1.5."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name}},
        "components": [
            {
                "type": "library",
                "bom-ref": one.url,
                "name": one.name,
                "version": one.version,
                "purl": one.url,
                "licenses": [{"license": {"name": licence}} for licence in one.licences],
            }
            for one in components
        ],
    }


def main() -> None:
    """Write ``sbom.cdx.json`` and ``licences.txt``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the file system of the image")
    parser.add_argument("--name", required=True, help="of the image")
    parser.add_argument("--output", type=Path, required=True, help="folder, made if absent")
    options = parser.parse_args()
    components = debian(options.root)
    for site in sorted(options.root.glob("opt/*/lib/python3*/site-packages")):
        components += python(site)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "sbom.cdx.json").write_text(json.dumps(sbom(options.name, components), indent=1) + "\n")
    lines = [f"{one.name} {one.version}: {', '.join(one.licences) or 'see its documentation'}\n" for one in components]
    (options.output / "licences.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
