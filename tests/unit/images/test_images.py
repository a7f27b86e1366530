"""Dockerfiles, the script that builds them, and the list of what is in an image."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.script import load

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "deploy/images"
NAMES = ["signalbox", "kamailio", "rtpengine", "etcd", "valkey", "loadtest"]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_runs_a_program_as_a_user_without_rights(name: str) -> None:
    last = (IMAGES / name / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert "\nUSER 10001:10001\n" in last
    # The exec form: an array, not a line for a shell.
    entry = re.search(r"^ENTRYPOINT (.*)$", last, re.MULTILINE)
    assert entry is not None
    assert Path(json.loads(entry[1])[0]).is_absolute()


@pytest.mark.parametrize("name", NAMES)
def test_every_package_of_debian_is_pinned(name: str) -> None:
    lines = (IMAGES / name / "packages").read_text().splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert packages
    for line in packages:
        assert re.fullmatch(r"[a-z0-9.+-]+=[0-9A-Za-z.+~:-]+", line), line


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_with_a_package_is_pinned_too(name: str) -> None:
    named, brought = (IMAGES / name / "packages").read_text().split("# What comes with them.\n")
    assert len(named.splitlines()) > 1
    lines = brought.splitlines()
    assert lines == sorted(lines)
    assert len({line.partition("=")[0] for line in lines}) == len(lines) > 0


def test_the_context_has_what_the_images_are_made_of_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    let_in = [Path(line[1:]) for line in lines if line.startswith("!")]
    copied = set()
    for name in NAMES:
        text = (IMAGES / name / "Dockerfile").read_text()
        for sources in re.findall(r"^COPY (?:--chmod=\d+ )?((?:[^-\s]\S* )+)\S+$", text, re.MULTILINE):
            copied |= {Path(source) for source in sources.split()}
        copied |= {Path(source) for source in re.findall(r"type=bind,source=([^,]+),", text)}
    assert len(copied) > 6
    for source in copied:
        assert (ROOT / source).exists()
        assert any(source == one or one in source.parents for one in let_in), source
    assert all(any(one == source or one in source.parents for source in copied) for one in let_in)


@pytest.mark.parametrize("name", NAMES)
def test_images_are_made_of_the_same_base(name: str) -> None:
    text = (IMAGES / name / "Dockerfile").read_text()
    # One argument for all stages: none is left on another base when the base is named.
    assert re.findall(r"^ARG BASE=(\S+)\nFROM ", text, re.MULTILINE) == ["debian:trixie-slim"]
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - stages == {"${BASE}"}


@pytest.mark.parametrize("name", ["kamailio", "rtpengine"])
def test_servers_are_ended_by_their_sidecars(name: str) -> None:
    assert "\nSTOPSIGNAL SIGCONT\n" in (IMAGES / name / "Dockerfile").read_text()


def test_the_image_has_the_modules_that_the_script_loads() -> None:
    packages = (IMAGES / "kamailio/packages").read_text()
    script = "".join(file.read_text() for file in (ROOT / "kamailio/routes").glob("*.cfg"))
    for module, package in (("jansson", "kamailio-extra-modules"), ("crypto", "kamailio-tls-modules")):
        assert f'loadmodule "{module}.so"' in script
        assert f"\n{package}=" in packages


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """Builds nothing, and tells what it was asked for; every image has 123 MB."""
    file = tmp_path / "tool"
    file.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n[ "$1" != image ] || echo 123456789\n')
    file.chmod(0o755)
    return file


def _build(tool: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "IMAGE_TOOL": str(tool), **variables}
    command = [str(IMAGES / "build"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_all_images_are_built_by_another_command_and_shown_with_their_sizes(tool: Path) -> None:
    done = _build(tool, IMAGE_BUILD=f"{tool} make", IMAGE_PREFIX="registry.example/", IMAGE_TAG="7")
    assert done.returncode == 0, done.stderr
    asked = (tool.parent / "asked").read_text()
    for name in ("signalbox", *(f"signalbox-{other}" for other in NAMES[1:])):
        assert re.search(
            rf"^make registry.example/{name}:7 \S+/Dockerfile {ROOT} --timestamp (\d+)"
            rf" --build-arg SOURCE_DATE_EPOCH=\1 --no-cache$",
            asked,
            re.MULTILINE,
        )
        assert re.search(rf"^registry.example/{name}:7 +123$", done.stdout, re.MULTILINE)


def test_layers_are_kept_only_when_asked_for(tool: Path) -> None:
    # A layer that was kept does not notice that the list of packages changed.
    done = _build(tool, "etcd", IMAGE_BUILD=f"{tool} make", IMAGE_FLAGS="")
    assert done.returncode == 0, done.stderr
    assert "--no-cache" not in (tool.parent / "asked").read_text()


def test_files_have_the_time_that_is_asked_for(tool: Path) -> None:
    done = _build(tool, "etcd", IMAGE_BUILD=f"{tool} make", SOURCE_DATE_EPOCH="86400")
    assert done.returncode == 0, done.stderr
    assert "--timestamp 86400 " in (tool.parent / "asked").read_text()


def test_the_base_can_be_named_by_digest(tool: Path) -> None:
    base = "registry.example/debian@sha256:" + "0a" * 32
    done = _build(tool, "etcd", IMAGE_BUILD=f"{tool} make", IMAGE_BASE=base)
    assert done.returncode == 0, done.stderr
    assert f" --build-arg BASE={base} --no-cache\n" in (tool.parent / "asked").read_text()


APT = """#!/bin/sh
echo "$1" >>{folder}/asked
[ "$1" = sh ] || exit 2
PATH={folder}:$PATH exec "$@"
"""
APT_GET = """#!/bin/sh
echo "$@" >>{folder}/apt
[ "$1" != -qq ] || exit 0
shift 3
for name; do
    [ "$name" != missing ] || {{ echo "E: Unable to locate package $name" >&2; exit 100; }}
    [ "$name" = base ] || echo "Inst $name (1:2-$name Debian:13/stable [amd64])"
done
echo "Inst libc-ares2 (3 Debian:13/stable [amd64])"
"""


def _pin(folder: Path, **lists: str) -> subprocess.CompletedProcess[str]:
    """A copy of ``pin`` beside lists of packages, with an apt-get that knows all but ``missing`` and has ``base``."""
    for name, text in lists.items():
        (folder / "images" / name).mkdir(parents=True)
        (folder / "images" / name / "packages").write_text(text)
    (folder / "images/pin").write_bytes((IMAGES / "pin").read_bytes())
    for name, text in (("in-base", APT), ("apt-get", APT_GET)):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    environment = {**os.environ, "IMAGE_RUN": str(folder / "in-base")}
    command = ["bash", str(folder / "images/pin")]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_versions_of_all_images_are_of_one_update(tmp_path: Path) -> None:
    done = _pin(tmp_path, one="old=1\n# What comes with them.\nlost=1\n", two="new\nother=0\n")
    assert done.returncode == 0, done.stderr
    made = "# Made by deploy/images/pin.\n"
    brought = "# What comes with them.\nlibc-ares2=3\n"
    assert (tmp_path / "images/one/packages").read_text() == f"{made}old=1:2-old\n{brought}"
    assert (tmp_path / "images/two/packages").read_text() == f"{made}new=1:2-new\nother=1:2-other\n{brought}"
    assert (tmp_path / "apt").read_text().count("update") == 1


@pytest.mark.parametrize(
    ("package", "told"), [("missing", "Unable to locate package missing"), ("base", "the base has base already")]
)
def test_lists_stay_as_they_are_when_one_package_cannot_be_pinned(tmp_path: Path, package: str, told: str) -> None:
    done = _pin(tmp_path, one="old=1\n", two=f"{package}=1\n")
    assert done.returncode == 1
    assert told in done.stderr
    assert "pin: error: " in done.stderr
    assert (tmp_path / "images/one/packages").read_text() == "old=1\n"
    assert sorted(file.name for file in (tmp_path / "images").rglob("*") if file.is_file()) == [
        "packages",
        "packages",
        "pin",
    ]


def test_an_image_that_there_is_not_is_refused(tool: Path) -> None:
    done = _build(tool, "asterisk")
    assert done.returncode == 1
    assert "there is no image asterisk: signalbox kamailio" in done.stderr


def test_a_build_that_fails_ends_it_and_tells_why(tool: Path) -> None:
    failing = tool.parent / "failing"
    failing.write_text("#!/bin/sh\necho no room >&2\nexit 3\n")
    failing.chmod(0o755)
    done = _build(tool, "etcd", IMAGE_BUILD=str(failing))
    assert done.returncode == 1
    assert "no room" in done.stderr
    assert "signalbox-etcd:" in done.stderr
    assert "could not be built" in done.stderr


COMPARED = """#!/bin/sh
echo "$@" >>{folder}/asked
case "$1" in
image) echo 1000000 ;;
create) echo box ;;
export) {export} ;;
esac
"""


@pytest.mark.parametrize(("export", "code"), [("tar -cf - -C {folder} one", 0), ("exit 3", 1)])
def test_what_compare_built_is_removed_even_if_it_fails(tmp_path: Path, export: str, code: int) -> None:
    (tmp_path / "one").write_text("the same")
    tool = tmp_path / "tool"
    tool.write_text(COMPARED.format(folder=tmp_path, export=export.format(folder=tmp_path)))
    tool.chmod(0o755)
    environment = {**os.environ, "IMAGE_TOOL": str(tool), "IMAGE_BUILD": f"{tool} make"}
    done = subprocess.run(
        [IMAGES / "compare", "etcd"], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert (done.returncode == 0) == (code == 0), done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    made = {line.split()[1] for line in asked if line.startswith("make ")}
    assert made == {line.split()[1] for line in asked if line.startswith("rmi ")}
    assert all(re.fullmatch(r"signalbox-etcd:compare-\d+-[12]", one) for one in made)
    assert asked.count("rm box") == sum(line.startswith("create ") for line in asked)
    assert (done.stdout == "etcd: 1 files, none differs\n") == (code == 0)


def test_health_refuses_what_it_does_not_know() -> None:
    done = subprocess.run([IMAGES / "health", "http", "127.0.0.1:1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: health" in done.stderr


def test_the_list_of_an_image_has_packages_with_versions_and_licences(tmp_path: Path) -> None:
    inventory = load(IMAGES / "inventory.py")
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        "Package: good\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    )
    (tmp_path / "usr/share/doc/good").mkdir(parents=True)
    (tmp_path / "usr/share/doc/good/copyright").write_text("Files: *\nLicense: GPL-2+\n")
    components = inventory.debian(tmp_path)
    assert [(one.name, one.version, one.licences) for one in components] == [("good", "1:2-3", ("GPL-2+",))]
    listed = inventory.sbom("image", components)["components"]
    assert listed[0]["purl"] == "pkg:deb/debian/good@1%3A2-3?arch=amd64"
