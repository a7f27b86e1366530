"""``signalbox recordings``: what people and programs see of recordings, and how these come to them."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.commands import asking, recordingfetch, recordings, retrying
from signalbox.errors import DrainingError
from signalbox.store.envelope import Vault
from support.recordings import ANSWERED_MS, sound

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from support.commands import Service, Shell
    from support.recordings import Recorder

LIST = """\
CALL  ANSWERED (UTC)       TENANT  NUMBER        CALLER       LINE  STATE     LENGTH  NOTES                         ETAG
c3    2026-01-31 09:30:02  best    400-123-4567  13800001234  desk  missing           disk_full                     2
c2    2026-01-31 09:30:01  acme    400-123-4567  13800001234  desk  stored    12.5 s  partial held media_node_died  3
c1    2026-01-31 09:30:00  acme    400-123-4567  13800001234  desk  promised                                        1
"""


@pytest.fixture
def recorder(service: Service) -> Recorder:
    return service.record()


@pytest.fixture
def three(service: Service, shell: Shell, recorder: Recorder) -> Shell:
    """One recording of each state."""

    async def make() -> None:
        await recorder.promise("c1")
        await recorder.store("c2", sound(), answer_ms=ANSWERED_MS + 1000, reasons=("media_node_died",))
        await recorder.promise("c3", "best", answer_ms=ANSWERED_MS + 2000)
        await recorder.catalog.missing("c3", ["disk_full"])

    service.run(make())
    shell("recordings hold c2")
    return shell


def test_recordings_are_shown_to_people_and_programs(three: Shell) -> None:
    assert three("recordings list").stdout == LIST
    assert [one["call_id"] for one in three.json("recordings list")] == ["c3", "c2", "c1"]
    (one,) = three.json("recordings list --tenant acme --state stored --number 400-123-4567 --caller 13800001234")
    assert (one["sha256"], one["legal_hold"]) == (hashlib.sha256(sound()).hexdigest(), True)
    for options, ids in (
        ("--flawed", ["c3", "c2"]),
        ("--line desk --limit 2", ["c3", "c2"]),
        ("--since 2026-01-31T09:30:01 --until 2026-01-31T09:30:02", ["c2"]),
        ("--tenant nobody", []),
    ):
        assert [one["call_id"] for one in three.json(f"recordings list {options}")] == ids, options


def test_a_message_says_that_it_is_one(service: Service, shell: Shell, recorder: Recorder) -> None:
    kind = recordings_pb2.RECORDING_KIND_MESSAGE
    service.run(recorder.promise("c1", line="night", kind=kind))
    row = shell("recordings list --line night").stdout.splitlines()[1]
    assert row.split()[-3:] == ["promised", "message", "1"]
    (one,) = shell.json("recordings list --line night")
    assert one["kind"] == "RECORDING_KIND_MESSAGE"


def test_a_list_goes_on_over_pages(three: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAGE_SIZE", 1)
    assert [one["call_id"] for one in three.json("recordings list --limit 2")] == ["c3", "c2"]


def test_a_hold_is_lifted_on_the_version_that_was_seen(three: Shell) -> None:
    assert "(ETAG_MISMATCH)" in three("recordings unhold c2 --etag 2", code=1).output
    assert three.json("recordings unhold c2 --etag 3")["legal_hold"] is False
    assert "partial media_node_died" in three("recordings unhold c2").stdout


def test_a_recording_is_deleted_unless_it_is_held(three: Shell) -> None:
    assert "(ON_HOLD)" in three("recordings delete c2", code=1).output
    three("recordings unhold c2")
    assert three("recordings delete c2").stdout == "deleted recording c2\n"
    assert "(RESOURCE_NOT_FOUND)" in three("recordings delete c2", code=1).output
    (record,) = three.json("audit list --kind recording --method DeleteRecording")
    assert record["change"]["id"] == "c2"
    told = three(f"audit show {record['sequence']}").stdout
    assert "what      deleted" in told
    assert "number: 4001234567" in told
    assert "13800001234" not in told


def test_what_cannot_be_paused_says_so(three: Shell) -> None:
    assert "(MEDIA_NODE_UNAVAILABLE)" in three("recordings pause c1", code=3).output
    # One that is stored may be captured all the same: only the node knows.
    assert "(MEDIA_NODE_UNAVAILABLE)" in three("recordings resume c2", code=3).output
    assert "none is registered that captures" in three("recordings pause unknown", code=3).output
    record, _ = three.json("audit list --kind recording --method PauseRecording")
    assert record["change"]["paused"] is True
    assert "ordered to pause" in three("audit list --method PauseRecording").stdout


def test_events_are_shown_one_a_line(three: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = three("recordings events").stdout.splitlines()
    assert [line.split()[3:] for line in lines] == [
        ["stored", "acme", "c2", "-", "media_node_died"],
        ["missing", "best", "c3", "-", "disk_full"],
        ["hold_changed", "acme", "c2", "anonymous", "set"],
    ]
    monkeypatch.setattr(recordings, "PAGE_SIZE", 1)
    told = three("recordings events --output json").stdout
    assert [json.loads(line)["sequence"] for line in told.splitlines()] == ["1", "2", "3"]
    assert three("recordings events --call c3 --output yaml").stdout.startswith("---\nsequence: 2\n")
    assert three("recordings events --after 2 --tenant best").stdout == ""


def test_events_are_followed(
    three: Shell, service: Service, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    naps = []

    def nap(seconds: float) -> None:
        if naps:
            raise Enough
        naps.append(seconds)
        service.run(recorder.store("c9", b"x"))

    monkeypatch.setattr(recordings.time, "sleep", nap)
    with pytest.raises(AssertionError) as ended:
        three("recordings events --follow --after 2")
    told = str(ended.value)
    assert told.index("hold_changed") < told.index("c9"), told


def test_a_recording_comes_down_as_it_was_stored(three: Shell, elsewhere: Path) -> None:
    told = three("recordings get c2").stdout
    assert told == f"c2.wav: 200,000 bytes, SHA-256 {hashlib.sha256(sound()).hexdigest()}\n"
    assert (elsewhere / "c2.wav").read_bytes() == sound()
    assert (elsewhere / "c2.wav").stat().st_mode & 0o777 == 0o600, "it is nobody else's to hear"
    assert "is there already" in three("recordings get c2", code=2).output
    three("recordings get c2 --output other.wav --tenant acme")
    assert (elsewhere / "other.wav").read_bytes() == sound()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["c2.wav", "other.wav"]


@pytest.mark.parametrize("held", [0, 1, 65_536, 100_000, 200_000, 200_005])
def test_what_was_interrupted_goes_on_where_it_was(three: Shell, elsewhere: Path, held: int) -> None:
    (elsewhere / "c2.wav.part").write_bytes((sound() + b"xxxxx")[:held])
    three("recordings get c2")
    assert (elsewhere / "c2.wav").read_bytes() == sound()
    assert not (elsewhere / "c2.wav.part").exists()


def test_a_part_of_something_else_is_thrown_away(three: Shell, elsewhere: Path) -> None:
    (elsewhere / "c2.wav.part").write_bytes(b"y" * 1000)
    assert "what has come is not what is kept there" in three("recordings get c2", code=1).output
    assert list(elsewhere.iterdir()) == []
    three("recordings get c2")


def test_a_stream_that_breaks_is_gone_on_with(three: Shell, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "RETRY_S", 0.01)
    offsets = []
    get = Vault.get

    async def breaking(self: Any, tenant: str, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        offsets.append(offset)
        async for piece in get(self, tenant, name, offset):
            yield piece
            if len(offsets) % 3:
                raise DrainingError("this replica is stopping")

    monkeypatch.setattr(Vault, "get", breaking)
    three("recordings get c2")
    assert (elsewhere / "c2.wav").read_bytes() == sound()
    assert offsets == [0, 65_536, 131_072]
    offsets.clear()
    assert three("recordings verify c2").stdout == "1 whole, 0 damaged, 0 not stored\n"
    assert offsets == [0, 65_536, 131_072]


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("recordings get c1", 1, "recording c1 is promised"),
        ("recordings get c3", 1, "recording c3 is missing: disk_full"),
        ("recordings get c9", 1, "(RESOURCE_NOT_FOUND)"),
        ("recordings get c2 --tenant best", 1, "(RESOURCE_NOT_FOUND)"),
        ("recordings get c2 --output nowhere/c2.wav", 1, "No such file or directory"),
        ("recordings play c1", 1, "recording c1 is promised"),
        ("recordings play c2 --player=", 2, "--player is empty"),
        ("recordings play c2 --player /nowhere/player", 1, "/nowhere/player: No such file or directory"),
        ("recordings play c2 --player false", 1, "false ended with exit code 1"),
        ("recordings verify c1 --flawed", 2, "not both"),
        ("recordings list --number x", 1, "number: must be 3 to 15 digits"),
    ],
)
def test_what_does_not_go_says_why(three: Shell, line: str, code: int, told: str) -> None:
    assert told in three(line, code=code).output


@pytest.mark.parametrize("call_id", [".profile", "a/b", "a\x1bb"])
def test_a_name_that_is_no_good_for_a_file_is_not_taken(
    shell: Shell, service: Service, recorder: Recorder, elsewhere: Path, call_id: str
) -> None:
    service.run(recorder.store(call_id, b"x"))
    assert "name one with --output" in shell(["recordings", "get", call_id], code=2).output
    shell(["recordings", "get", call_id, "--output", "x.wav"])
    assert [path.name for path in elsewhere.iterdir()] == ["x.wav"]


def test_it_is_played_from_a_file_that_is_gone_afterwards(three: Shell, elsewhere: Path) -> None:
    script = elsewhere / "player.py"
    script.write_text(
        "import os, shutil, sys\n"
        "print(oct(os.stat(sys.argv[2]).st_mode & 0o777), sys.argv[1], sys.argv[2], file=open('said', 'w'))\n"
        "shutil.copy(sys.argv[2], 'heard')\n"
    )
    three(["recordings", "play", "c2", "--player", f"{sys.executable} {script} --loud"])
    assert (elsewhere / "heard").read_bytes() == sound()
    mode, option, name = (elsewhere / "said").read_text().split()
    assert (mode, option) == ("0o600", "--loud")
    assert name.endswith("/recording.wav")
    assert not (elsewhere / name).exists()


def test_the_player_is_one_that_is_installed(three: Shell, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = elsewhere / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    assert "none of aplay, paplay, play, ffplay is installed" in three("recordings play c2", code=1).output
    player = programs / "paplay"
    player.write_text(f"#!{sys.executable}\nimport sys\nopen('played', 'w').write(sys.argv[1])\n")
    player.chmod(0o755)
    three("recordings play c2")
    assert (elsewhere / "played").read_text().endswith("/recording.wav")
    assert recordingfetch.PLAYERS.keys() == {types_pb2.RECORDING_FORMAT_OGG_OPUS, types_pb2.RECORDING_FORMAT_WAV}


def test_what_was_damaged_or_lost_is_found(three: Shell, service: Service, recorder: Recorder) -> None:
    async def make() -> None:
        for number in range(3):
            await recorder.store(f"v{number}", sound(number), line="shop")

    service.run(make())
    assert three("recordings verify --line shop").stdout == "3 whole, 0 damaged, 0 not stored\n"
    assert three("recordings verify").stdout == "4 whole, 0 damaged, 2 not stored\n"
    objects = service.audit.parent / "objects"
    (file,) = objects.rglob("v1.*.wav")
    content = bytearray(file.read_bytes())
    content[100_000] ^= 1
    file.write_bytes(content)
    next(objects.rglob("v2.*.wav")).unlink()
    done = three("recordings verify v0 v1 v2 c1", code=1)
    assert done.stdout == "1 whole, 2 damaged, 1 not stored\n"
    faults = dict(line.split(": ", 1) for line in done.stderr.splitlines())
    assert faults.keys() == {"v1", "v2", "c1"}
    assert "is not as it was stored (CONTENT_LOST)" in faults["v1"]
    assert "not in the object store (CONTENT_LOST)" in faults["v2"]
    assert faults["c1"] == "is promised"
    three("recordings verify --line shop", code=1)
    three("recordings verify --caller 13800001234 --line desk")


@pytest.mark.parametrize(
    ("content", "told"), [(b"a", "has 1 bytes, 2 were stored"), (b"ab", "its SHA-256 is not that of what was stored")]
)
def test_what_is_another_than_the_list_says_is_found(
    shell: Shell, service: Service, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, content: bytes, told: str
) -> None:
    service.run(recorder.store("c1", b"xy"))

    async def other(self: Any, tenant: str, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        yield content

    monkeypatch.setattr(Vault, "get", other)
    assert told in shell("recordings verify c1", code=1).stderr


def test_without_a_database_it_says_so(shell: Shell) -> None:
    assert "(DATABASE_UNAVAILABLE)" in shell("recordings list", code=3).output


def test_how_calls_are_recorded_is_a_part_of_their_tenant(shell: Shell, elsewhere: Path) -> None:
    shell("tenants create acme")
    policy = "recording={format: RECORDING_FORMAT_WAV, retention: 864000s, unrecordable: UNRECORDABLE_CALL_IS_REFUSED}"
    shell(["tenants", "update", "acme", "--set", policy])
    assert shell.json("tenants get acme")["recording"] == {
        "format": "RECORDING_FORMAT_WAV",
        "retention": "864000s",
        "unrecordable": "UNRECORDABLE_CALL_IS_REFUSED",
    }
    shell(["tenants", "update", "acme", "--set", "recording.retention=2592000s"])
    assert shell.json("tenants get acme")["recording"]["retention"] == "2592000s"
    (elsewhere / "acme.yaml").write_text("kind: Tenant\nid: acme\nrecording: {retention: 86400s}\n")
    shell("apply -f acme.yaml")
    told = shell.json("tenants get acme")["recording"]
    assert (told["format"], told["retention"]) == ("RECORDING_FORMAT_UNSPECIFIED", "86400s")
    assert (
        "tenant.recording.retention"
        in shell(["tenants", "update", "acme", "--set", "recording.retention=5s"], code=1).output
    )
