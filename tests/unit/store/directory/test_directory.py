"""The memory map of what tenants own: what its writer writes and its readers find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.store import mapfile
from signalbox.store.directory import Batch, DirectoryWriter, StartOverError
from signalbox.store.mapfile import State, digest_after
from signalbox.store.page import LAST
from structlog.testing import capture_logs
from support.directories import batch_of, digits, line, number, page, wrong
from support.map_content import FLOW, FRONT, SPAM

if TYPE_CHECKING:
    from pathlib import Path


SMALL = 1 << 16


class TestWriting:
    async def test_what_is_written_is_found_once_it_is_taken_up(self, writer: DirectoryWriter) -> None:
        await writer.write(FRONT, 7, 1000.5)
        assert writer.view.number(digits(1)) is None
        assert writer.pin()
        assert not writer.pin()
        view = writer.view
        assert (view.number(digits(1)), view.line("acme", "front")) == (number(1), line("front"))
        assert (view.object(FLOW), view.object("rules/lists/acme/spam")) == (b"stored", b"")
        found = view.screening_page(SPAM)
        assert found is not None
        assert (set(found.entries()), found.texts) == (set(page(100, 1_000).entries()), {"x"})
        assert (view.numbers, view.lines, view.page("rules/lines/acme/" + LAST)) == (1, 1, 5)
        assert view.state == State(7, digest_after(0, "rules/lines/acme/" + LAST, 0, 5), 1000.5)

    async def test_what_is_gone_is_found_no_more(self, writer: DirectoryWriter) -> None:
        await writer.write(FRONT, 7)
        gone = Batch({digits(1): None, digits(2): None}, {("acme", "front"): None, ("x", "y"): None})
        gone.objects = {FLOW: None, "rules/flows/acme/none": None}
        gone.lists = {SPAM: None, "rules/listpages/acme/none/001": None}
        gone.pages = {"rules/lines/acme/" + LAST: 0, "rules/numbers/00/" + LAST: 0}
        await writer.write(gone, 8)
        writer.pin()
        assert (writer.view.numbers, writer.view.lines, writer.view.state.digest) == (0, 0, 0)
        assert writer.view.number(digits(1)) is writer.view.line("acme", "front") is None
        assert writer.view.object(FLOW) is writer.view.screening_page(SPAM) is None
        assert writer.view.page("rules/lines/acme/" + LAST) == 0

    async def test_objects_of_tenants_are_not_mistaken_for_each_other(self, writer: DirectoryWriter) -> None:
        lines = {(f"t{n}", f"l{n % 3}"): line(f"l{n % 3}", f"t{n}", calls=n) for n in range(300)}
        await writer.write(Batch(lines=dict(lines)), 1)
        writer.pin()
        for (tenant, id), expected in lines.items():
            assert writer.view.line(tenant, id) == expected
        assert writer.view.line("t1", "l2") is writer.view.line("t", "l0") is writer.view.line("", "l0") is None

    async def test_more_tenants_than_are_remembered(
        self, writer: DirectoryWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mapfile, "KNOWN", 5)
        numbers = {digits(n): number(n, f"t{n % 20}") for n in range(60)}
        lines = {(f"t{n}", "front"): line("front", f"t{n}", calls=n) for n in range(20)}
        await writer.write(Batch({**numbers}, {**lines}), 1)
        writer.pin()
        for _ in range(2):
            assert {key: writer.view.number(key) for key in numbers} == numbers
            assert {key: writer.view.line(*key) for key in lines} == lines
        assert len(writer.view.tables.known_words) <= 5
        assert len(writer.view.tables.known_texts) <= 5

    async def test_a_word_that_was_never_committed_is_nobodys(self, writer: DirectoryWriter) -> None:
        await writer.write(Batch(lines={("gone", "front"): line("front", "gone")}), commit=False)
        assert writer.view.line("gone", "front") is None
        await writer.roll_back()
        await writer.write(Batch(lines={("acme", "front"): line("front")}), 1)
        writer.pin()
        assert writer.view.line("gone", "front") is None
        assert writer.view.line("acme", "front") == line("front")

    @pytest.mark.parametrize("text", ["", "4a", "+86400", "٤٠٠", "4" * 400, "\0"])
    async def test_what_can_be_no_number_or_id_is_not_found(self, writer: DirectoryWriter, text: str) -> None:
        await writer.write(FRONT, 1)
        writer.pin()
        assert writer.view.number(text) is writer.view.line("acme", text) is writer.view.line(text, "front") is None

    async def test_batches_may_wait_for_each_other(self, writer: DirectoryWriter) -> None:
        await writer.write(batch_of(1), commit=False)
        assert not writer.pin()
        await writer.write(batch_of(2), 2)
        writer.pin()
        assert wrong(writer.view) == ""

    async def test_what_was_not_committed_is_gone_with_its_writer(self, path: Path) -> None:
        writer = DirectoryWriter(path)
        await writer.write(batch_of(1), 1)
        await writer.write(batch_of(2), 2, commit=False)
        writer.close()
        writer = DirectoryWriter(path)
        assert wrong(writer.view) == ""
        assert writer.view.state.revision == 1
        writer.close()

    async def test_the_file_grows(self, path: Path) -> None:
        writer = DirectoryWriter(path, map_size=SMALL)
        with capture_logs() as logs:
            for revision in range(1, 9):
                await writer.write(batch_of(revision), revision)
            writer.pin()
        assert {log["event"] for log in logs} == {"directory_grows"}
        assert wrong(writer.view) == ""
        writer.close()

    async def test_a_file_that_grows_is_looked_at_as_before(self, path: Path) -> None:
        writer = DirectoryWriter(path, map_size=SMALL)
        await writer.write(batch_of(1), 1)
        writer.pin()
        view = writer.view
        assert wrong(view) == ""
        with capture_logs() as logs:
            await writer.write(Batch({digits(n): number(n) for n in range(20_000)}), 2)
        assert {log["event"] for log in logs} == {"directory_grows"}
        assert wrong(view) == ""
        assert writer.pin()
        assert writer.view.numbers == 20_000
        writer.close()

    async def test_who_wrote_without_committing_begins_again_when_the_file_grows(self, path: Path) -> None:
        writer = DirectoryWriter(path, map_size=SMALL)
        await writer.write(batch_of(1), commit=False)
        with pytest.raises(StartOverError):
            await writer.write(Batch({digits(n): number(n) for n in range(20_000)}), commit=False)
        await writer.write(batch_of(3), 3)
        writer.pin()
        assert wrong(writer.view) == ""
        writer.close()

    async def test_ids_of_any_form_do_not_stop_a_batch(self, writer: DirectoryWriter) -> None:
        odd = Batch({digits(1): number(1, line="Front Desk"), "12a": None}, {("acme", "Fröhlich"): line("Fröhlich")})
        odd.numbers[digits(2)] = number(2, tenant="x" * 1000)
        long = "rules/flows/acme/" + "x" * 500
        odd.objects, odd.lists, odd.pages = {long: b"", FLOW: b"stored"}, {long: page(0, 1)}, {long: 2, FLOW: 2}
        with capture_logs() as logs:
            await writer.write(odd, 2)
        writer.pin()
        assert writer.view.object(long) is writer.view.screening_page(long) is None
        assert (writer.view.object(FLOW), writer.view.page(FLOW)) == (b"stored", 2)
        assert writer.view.state.digest == digest_after(0, FLOW, 0, 2)
        assert writer.view.number(digits(1)) == number(1, line="Front Desk")
        assert (writer.view.numbers, writer.view.lines) == (1, 0)
        assert [log["event"] for log in logs] == ["directory_record_refused"] * 6


class TestLooking:
    async def test_pages_are_told_in_order(self, writer: DirectoryWriter) -> None:
        pages = {f"rules/numbers/{n % 3:02d}/{n}": n for n in range(1, 40)}
        await writer.write(Batch(pages={**pages, "rules/lines/acme/" + LAST: 5}), 1)
        writer.pin()
        found: list[tuple[str, int]] = []
        while page := writer.view.pages("rules/numbers/", found[-1][0] if found else "", 7):
            found += page
        assert found == sorted(pages.items())
        assert writer.view.pages("rules/lines/", "", 7) == [("rules/lines/acme/" + LAST, 5)]

    async def test_the_page_before(self, writer: DirectoryWriter) -> None:
        assert writer.view.page_before("rules/numbers/00/") == ""
        await writer.write(Batch(pages={"a/b": 1, "a/d": 1}), 1)
        writer.pin()
        assert [writer.view.page_before(key) for key in ("a/b", "a/c", "a/d", "a/e")] == ["", "a/b", "a/b", "a/d"]

    async def test_the_keys_that_lie_in_a_page(self, writer: DirectoryWriter) -> None:
        numbers = [f"4000{n:04d}17" for n in range(20)] + ["400000018", "400000016", "99917"]
        lines = [f"line-{n:02d}" for n in range(20)]
        await writer.write(
            Batch(
                dict.fromkeys(numbers) | {n: number(0) for n in numbers},
                {(t, id): line(id, t) for id in lines for t in ("acme", "other")},
            ),
            1,
        )
        writer.pin()
        view, prefix = writer.view, "rules/numbers/17/"
        own = [prefix + number for number in sorted(numbers) if number.endswith("17")]
        assert view.keys(prefix, prefix + LAST) == own
        assert view.keys(own[4], own[9]) == own[5:10]
        assert view.keys(own[4], prefix + LAST) == own[5:]
        assert view.keys(prefix + "4000", own[2] + "0") == own[:3]
        assert view.keys(own[-1], prefix + LAST) == view.keys("rules/numbers/77/", "rules/numbers/77/" + LAST) == []
        prefix = "rules/lines/acme/"
        assert view.keys(prefix, prefix + LAST) == [prefix + id for id in lines]
        assert view.keys(prefix + "line-03", prefix + "line-05x") == [prefix + "line-04", prefix + "line-05"]
        assert view.keys("rules/lines/none/", "rules/lines/none/" + LAST) == []
        with pytest.raises(ValueError, match="no id"):
            view.keys(prefix, prefix + "Ö")
