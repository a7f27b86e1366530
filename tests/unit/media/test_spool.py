"""The directory that rtpengine captures into: files are taken in, found again, and deleted, whenever one stops."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
from signalbox.media import note
from signalbox.media import spool as spool_module
from signalbox.media.note import Note
from signalbox.media.sides import Side
from signalbox.media.spool import Spool, Stored

FIRST, SECOND = "00000000000000aa", "00000000000000bb"
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)


class Rtpengine:
    """What it does to its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("pcaps", "tmp", "metadata"):
            (directory / name).mkdir(parents=True)

    def begin(self, digits: str = FIRST, call: str = "call", content: bytes = b"") -> Path:
        """A segment."""
        (self.directory / "tmp" / f"rtpengine-meta-{call}-{digits}.tmp").touch()
        path = self.directory / "pcaps" / f"{call}-{digits}.pcap"
        path.write_bytes(content)
        return path

    def end(self, digits: str = FIRST, call: str = "call", text: str = "sb1,x") -> None:
        """In order."""
        temporary = self.directory / "tmp" / f"rtpengine-meta-{call}-{digits}.tmp"
        temporary.write_text(f"/x.pcap\n\n\ncall end time: 2026\n\n\n{text}\n")
        temporary.rename(self.directory / "metadata" / f"rtpengine-meta-{call}-{digits}.txt")


@pytest.fixture
def rtpengine(tmp_path: Path) -> Rtpengine:
    return Rtpengine(tmp_path / "spool")


@pytest.fixture
def spool(rtpengine: Rtpengine) -> Spool:
    return Spool(rtpengine.directory)


def files(spool: Spool) -> set[str]:
    return {str(path.relative_to(spool.directory)) for path in spool.directory.rglob("*") if not path.is_dir()}


def loaded(spool: Spool) -> Stored:
    """The one capture that there is."""
    (stored,) = spool.load()
    return stored


def test_a_segment_is_taken_in_when_it_begins_and_when_it_ends(rtpengine: Rtpengine, spool: Spool) -> None:
    packet = struct.pack("<IIII", 1_795_365_481, 42_999, 0, 0)
    rtpengine.begin(content=HEADER + packet)
    found = spool.arrivals()
    ((folder, segment, start_ms),) = found.began
    assert (folder, segment.name, segment.whole, start_ms) == (
        "call.call",
        f"000001-{FIRST}.pcap",
        False,
        1_795_365_481_042,
    )
    assert spool.arrivals() == type(found)()
    assert [each.whole for each in loaded(spool).segments] == [False]
    rtpengine.end()
    assert spool.arrivals().ended == [("call.call", segment.name, "sb1,x")]
    stored = loaded(spool)
    assert (stored.note.metadata, stored.note.start_ms) == ("sb1,x", 1_795_365_481_042)
    assert [each.whole for each in stored.segments] == [True]
    assert stored.segments[0].size == len(HEADER + packet)


def test_rtpengine_writes_on_into_a_file_that_was_moved(rtpengine: Rtpengine, spool: Spool) -> None:
    path = rtpengine.begin()
    with path.open("ab") as file:
        ((folder, segment, _),) = spool.arrivals().began
        file.write(b"packets")
    assert spool.path(folder, segment).read_bytes() == b"packets"


def test_a_file_that_is_begun_anew_by_the_same_name_costs_nothing(rtpengine: Rtpengine, spool: Spool) -> None:
    rtpengine.begin(content=b"before")
    spool.arrivals()
    rtpengine.begin(content=b"after")
    spool.arrivals()
    rtpengine.end()
    spool.arrivals()
    stored = loaded(spool)
    assert [each.whole for each in stored.segments] == [False, True]
    assert [spool.path(stored.folder, each).read_bytes() for each in stored.segments] == [b"before", b"after"]


def test_segments_that_are_found_together_are_in_the_order_of_time(rtpengine: Rtpengine, spool: Spool) -> None:
    os.utime(rtpengine.begin(SECOND), ns=(0, 1))
    os.utime(rtpengine.begin(FIRST), ns=(0, 2))
    rtpengine.end(SECOND)
    found = spool.arrivals()
    assert [segment.name for _, segment, _ in found.began] == [f"000001-{SECOND}.pcap", f"000002-{FIRST}.pcap"]
    assert [name for _, name, _ in found.ended] == [f"000001-{SECOND}.pcap"]


def test_ids_are_those_of_the_calls(rtpengine: Rtpengine, spool: Spool) -> None:
    for escaped in ("edge-1-2%2F3%20x", ".", "..", "a-00000000000000aa"):
        rtpengine.begin(call=escaped)
    spool.arrivals()
    assert {stored.note.call_id for stored in spool.load()} == {"edge-1-2/3 x", ".", "..", "a-00000000000000aa"}
    assert files(spool) == {name for name in files(spool) if name.startswith(("tmp/", "signalbox/"))}


def test_what_is_not_rtpengines_is_left_alone(rtpengine: Rtpengine, spool: Spool) -> None:
    others = {"pcaps/x.pcap", "pcaps/call-1.pcap", "metadata/notes.txt", "signalbox/README", "signalbox/a/b"}
    for other in others:
        (rtpengine.directory / other).parent.mkdir(parents=True, exist_ok=True)
        (rtpengine.directory / other).touch()
    assert spool.arrivals() == type(spool.arrivals())()
    assert spool.load() == []
    assert files(spool) == others


def test_a_call_of_which_no_packet_could_be_written(rtpengine: Rtpengine, spool: Spool) -> None:
    rtpengine.begin().unlink()
    rtpengine.end()
    assert spool.arrivals().strays == [("call", "sb1,x")]
    assert files(spool) == set()


def test_metadata_wait_for_packets_that_cannot_be_taken_in(
    rtpengine: Rtpengine, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtpengine.begin()
    rtpengine.end()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", full)
        found = spool.arrivals()
        assert "No space" in found.errors["call.call"]
        assert (found.began, found.ended, found.strays) == ([], [], [])
    found = spool.arrivals()
    assert (len(found.began), len(found.ended), found.errors) == (1, 1, {})


def test_metadata_that_cannot_be_taken_in_are_tried_again(
    rtpengine: Rtpengine, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtpengine.begin()
    spool.arrivals()
    rtpengine.end()
    with monkeypatch.context() as patched:
        patched.setattr("signalbox.media.spool.os.rename", lambda *_: os.stat("/nonexistent"))
        assert len(spool.arrivals().errors) == 1
    assert len(spool.arrivals().ended) == 1


def test_the_note_is_found_again(rtpengine: Rtpengine, spool: Spool) -> None:
    rtpengine.begin()
    spool.arrivals()
    known = Note("call", 5, "sb1,y", True, {(30_000, "caller"): Side("PCMA/8000")})
    spool.write("call.call", note.encode(known))
    assert loaded(spool).note == known
    (rtpengine.directory / "signalbox/call.call/note.json").write_bytes(b"{")
    assert abs(loaded(spool).note.start_ms - time.time() * 1000) < 60_000


def test_a_deletion_that_was_cut_short_is_found_again(
    rtpengine: Rtpengine, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the step at which it ends: what is left is a capture that can be deleted, or nothing."""
    steps = 0
    unlink = Path.unlink

    def cut(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if not left:
            raise InterruptedError(str(path))
        left -= 1
        unlink(path, missing_ok)

    while True:
        for digits in (FIRST, SECOND):
            rtpengine.begin(digits)
        spool.arrivals()
        rtpengine.end(FIRST)
        spool.arrivals()
        spool.write("call.call", note.encode(Note("call", 5, paused=True)))
        left = steps
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", cut)
            try:
                spool.delete("call.call")
                break
            except InterruptedError:
                steps += 1
        assert loaded(spool).note.paused, "the note goes last"
        spool.delete("call.call")
        assert files(spool) == set()
        assert spool.load() == []
    assert steps >= 6
    assert files(spool) == set()


def test_deleting_what_is_not_there_is_no_error(spool: Spool) -> None:
    spool.delete("call.call")


def test_an_empty_folder_is_no_capture(rtpengine: Rtpengine, spool: Spool) -> None:
    folder = rtpengine.directory / "signalbox" / "call.call"
    folder.mkdir(parents=True)
    (folder / ".note.json.x1").touch()
    assert spool.load() == []
    assert not folder.exists()


def test_one_segment_is_dropped_with_all_that_it_has(rtpengine: Rtpengine, spool: Spool) -> None:
    rtpengine.begin(FIRST)
    rtpengine.begin(SECOND)
    for folder, segment, _ in spool.arrivals().began:
        if SECOND in segment.name:
            spool.drop(folder, segment)
    assert len(files(spool)) == 2
    assert all(FIRST in name for name in files(spool))


def test_a_disk_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Spool(tmp_path / "missing").load()


def test_sizes_are_those_of_now(rtpengine: Rtpengine, spool: Spool) -> None:
    rtpengine.begin(content=b"12345")
    ((folder, segment, _),) = spool.arrivals().began
    spool.measure([(folder, [segment])])
    assert segment.size == 5
    spool.delete(folder)
    spool.measure([(folder, [segment])])
    assert segment.size == 0


def test_what_was_said_can_be_read_by_nobody_else(rtpengine: Rtpengine, spool: Spool) -> None:
    before = os.umask(0o022)
    try:
        rtpengine.begin()
        spool.arrivals()
        spool.write("other.call", b"{}")
    finally:
        os.umask(before)
    own = rtpengine.directory / "signalbox"
    assert {path.stat().st_mode & 0o777 for path in (own, own / "call.call", own / "other.call")} == {0o700}


def test_sizes_that_cannot_be_looked_at_stay(
    rtpengine: Rtpengine, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtpengine.begin(content=b"12345")
    ((folder, segment, _),) = spool.arrivals().began
    spool.measure([(folder, [segment])])

    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", broken)
        spool.measure([(folder, [segment])])
    assert segment.size == 5


@pytest.mark.parametrize("call_id", ["edge-1-2/3 x", "a%b", "~.-_", "ä", "x@192.0.2.1"])
def test_a_folder_has_the_name_that_rtpengine_gives_the_call(call_id: str) -> None:
    assert spool_module.call_id(spool_module.folder_of(call_id)) == call_id
