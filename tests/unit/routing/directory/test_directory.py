"""What tenants own and is in force: what changed lately before what is in the memory map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.domain.flow import Flow, LineGroup
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.screening import ADDED, PAGES, REMOVED, Page, page_of
from signalbox.routing.overlay import Overlay
from signalbox.store.directory import Batch
from signalbox.store.mapfile import digest_after
from signalbox.store.page import LAST
from structlog.testing import capture_logs
from support.directories import digits, line, number
from support.live_directory import PAGE, carry, finds, flow

if TYPE_CHECKING:
    from signalbox.routing.directory import LiveDirectory


async def test_a_change_is_in_force_at_once_and_after_it_was_written(live: LiveDirectory) -> None:
    live.reach(5)
    live.put_number(number(1))
    live.put_line(line("front"))
    for _ in range(2):
        assert live.number(digits(1)) == number(1)
        assert live.line("acme", "front") == line("front")
        assert live.number(digits(2)) is live.line("acme", "back") is None
        await carry(live)
    assert (live.unwritten, live.changed, live.map_revision) == (0, False, 5)
    assert live.number(digits(1)) is live.number(digits(1)), "it is decoded once"


async def test_objects_and_lists_are_in_force_at_once_and_after_they_were_written(live: LiveDirectory) -> None:
    live.reach(5)
    item, stored = flow("main")
    assert live.owned(Flow, "acme", "main") is None
    assert finds(live, "100") is None
    live.put_owned(item, stored)
    live.put_screening_list("acme", "spam")
    live.put_screening_page("acme", "spam", page_of("n100"), Page.of(["n100"]))
    live.put_screening_page("acme", "spam", ADDED, Page.of(["p20"]))
    for _ in range(2):
        assert live.owned(Flow, "acme", "main") == item
        assert live.owned(Flow, "acme", "main") is live.owned(Flow, "acme", "main"), "it is decoded once"
        assert live.owned(Flow, "other", "main") is live.owned(Flow, "", "main") is None
        assert live.owned(LineGroup, "acme", "main") is None
        assert [finds(live, number) for number in ("100", "101", "200")] == ["n100", "", "p20"]
        assert live.unwritten in (0, 4)
        await carry(live)
    assert (live.unwritten, live.map_revision) == (0, 5)
    live.reach(6)
    changed, stored = flow("main", 2)
    live.put_owned(changed, stored)
    live.put_screening_page("acme", "spam", REMOVED, Page.of(["n100"]))
    live.delete_screening_page("acme", "spam", ADDED)
    for _ in range(2):
        assert live.owned(Flow, "acme", "main") == changed
        assert [finds(live, number) for number in ("100", "101", "200")] == ["", "", ""]
        await carry(live)
    live.reach(7)
    live.delete_owned(Flow, "acme", "main")
    live.delete_screening_list("acme", "spam")
    for _ in range(2):
        assert live.owned(Flow, "acme", "main") is finds(live, "100") is None
        await carry(live)


async def test_a_list_is_searched_where_it_lies_now(live: LiveDirectory) -> None:
    """Not where the map had it before, which may be overwritten."""
    live.reach(5)
    live.put_screening_list("acme", "spam")
    numbers = [f"139{n:08d}" for n in range(20_000)]
    for part in range(PAGES):
        entries = [f"n{one}" for one in numbers if page_of(f"n{one}") == part]
        live.put_screening_page("acme", "spam", part, Page.of(entries))
    await carry(live)
    spam = live.screening_list("acme", "spam")
    assert spam is not None
    for revision in range(6, 16):
        live.reach(revision)
        for n in range(PAGES):
            live.put_screening_page("acme", "other", n, Page.of([f"n{revision}{n:03d}"]))
        await carry(live)
        assert live.screening_list("acme", "spam") is spam, "what is known of it stays"
        for one in numbers[::500]:
            assert spam.find(Caller(CallerKind.MOBILE, one), None) == f"n{one}"
            assert spam.find(Caller(CallerKind.MOBILE, one + "0"), None) == ""


async def test_not_all_flows_that_were_ever_asked_for_are_kept(live: LiveDirectory) -> None:
    live._flows.most = 5
    live.reach(5)
    flows = [flow(f"flow-{n}") for n in range(20)]
    for item, stored in flows:
        live.put_owned(item, stored)
    await carry(live)
    first = live.owned(Flow, "acme", "flow-0")
    assert live.owned(Flow, "acme", "flow-0") is first
    for item, _ in flows:
        assert live.owned(Flow, "acme", item.id) == item
    assert live.owned(Flow, "acme", "flow-0") == first
    assert live.owned(Flow, "acme", "flow-0") is not first


async def test_what_changes_while_the_map_is_written_stays_before_it(live: LiveDirectory) -> None:
    live.reach(5)
    live.put_number(number(1))
    batch = live.batch()
    live.reach(6)
    live.put_number(number(1, line="back"))
    live.put_number(number(2))
    assert live.writer is not None
    await live.writer.write(batch, 5)
    assert live.renew()
    assert live.unwritten == 2
    assert live.number(digits(1)) == number(1, line="back")


async def test_what_is_gone_hides_what_the_map_has(live: LiveDirectory) -> None:
    live.reach(5)
    live.put_number(number(1))
    live.put_line(line("front"))
    await carry(live)
    assert live.number(digits(1))
    assert live.line("acme", "front")
    live.reach(6)
    live.delete_number(digits(1))
    live.delete_line("acme", "front")
    for _ in range(2):
        assert live.number(digits(1)) is live.line("acme", "front") is None
        await carry(live)


async def test_what_was_found_is_forgotten_when_it_changes(live: LiveDirectory) -> None:
    live.reach(5)
    live.put_number(number(1))
    live.put_line(line("front"))
    await carry(live)
    assert live.number(digits(1)) == number(1)
    assert live.line("acme", "front") == line("front")
    live.reach(6)
    live.put_number(number(1, line="back"))
    live.put_line(line("front", calls=2))
    await carry(live)
    assert live.number(digits(1)) == number(1, line="back")
    assert live.line("acme", "front") == line("front", calls=2)


async def test_not_all_that_was_ever_found_is_kept(live: LiveDirectory) -> None:
    live._numbers.most = 5
    live.reach(5)
    for n in range(20):
        live.put_number(number(n))
    await carry(live)
    first = live.number(digits(0))
    assert live.number(digits(0)) is first
    for n in range(20):
        assert live.number(digits(n)) == number(n)
    assert live.number(digits(0)) is not first


async def test_pages_are_known_with_their_revisions_and_make_the_digest(live: LiveDirectory) -> None:
    live.reach(5)
    live.put_page(PAGE, 5)
    live.put_page("rules/lines/acme/" + LAST, 4)
    digest = digest_after(digest_after(0, "rules/lines/acme/" + LAST, 0, 4), PAGE, 0, 5)
    assert live.digest == digest
    await carry(live)
    assert (live.digest, live.page(PAGE), live.changed_pages("rules/")) == (digest, 5, [])
    live.reach(6)
    live.put_page(PAGE, 6)
    assert (live.page(PAGE), live.changed_pages("rules/numbers/"), live.changed_pages("rules/lines/")) == (
        6,
        [PAGE],
        [],
    )
    live.put_page(PAGE, 0)
    assert live.page(PAGE) == 0
    assert live.mapped_pages("rules/numbers/", "") == [(PAGE, 5)]
    await carry(live)
    assert live.digest == digest_after(0, "rules/lines/acme/" + LAST, 0, 4)


async def test_a_map_that_differs_from_what_was_told_is_believed(live: LiveDirectory) -> None:
    live.reach(5)
    live.put_number(number(1))
    live.put_page(PAGE, 5)
    await carry(live)
    assert live.number(digits(1)) == number(1)
    live.reach(7)
    assert live.writer is not None
    await live.writer.write(Batch({digits(1): number(1, line="back"), digits(2): number(2)}, {}, {PAGE: 6}), 7)
    with capture_logs() as logs:
        assert not live.renew()
    assert [log["event"] for log in logs] == ["directory_differed"]
    assert live.number(digits(1)) == number(1, line="back")
    assert (live.numbers, live.page(PAGE)) == (2, 6)
    assert live.renew()


async def test_numbers_are_counted(live: LiveDirectory) -> None:
    live.reach(5)
    for n in (1, 2, 3, 2):
        live.put_number(number(n))
    live.delete_number(digits(3))
    live.delete_number(digits(9))
    assert live.numbers == 2
    await carry(live)
    assert live.numbers == 2
    live.reach(6)
    live.put_number(number(2))
    live.put_number(number(4))
    live.delete_number(digits(1))
    assert live.numbers == 2
    held = Overlay()
    held.put(live.batch(), 6)
    live.replace(held, 6)
    assert live.numbers == 2
    live.replace(held, 6, mapped=False)
    assert live.numbers == 2
    assert live.number(digits(2)) == number(2)
