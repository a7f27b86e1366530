"""Rules in memory: whose objects are found, and that all is let go of."""

from __future__ import annotations

from signalbox.domain.objects import Line, Member, Number, Tenant, Trunk, TrunkGroup
from signalbox.domain.regions import RegionGroup
from signalbox.domain.rules import Rules
from signalbox.domain.screening import Page


def test_a_tenants_own_object_goes_before_the_operators() -> None:
    rules = Rules()
    operators, own = RegionGroup("", "north"), RegionGroup("acme", "north")
    rules.put(operators)
    assert rules.shared(RegionGroup, "acme", "north") is operators
    rules.put(own)
    assert rules.shared(RegionGroup, "acme", "north") is own
    assert rules.shared(RegionGroup, "other", "north") is operators
    rules.delete(RegionGroup, "acme", "north")
    assert rules.shared(RegionGroup, "acme", "north") is operators
    rules.delete(RegionGroup, "", "north")
    assert rules.shared(RegionGroup, "acme", "north") is None


def test_a_tenant_that_is_not_known_has_nothing_but_its_id() -> None:
    rules = Rules()
    rules.put(Tenant("acme"))
    rules.delete_tenant("acme")
    assert rules.tenant("acme") == Tenant("acme")


def test_what_is_not_there_can_be_deleted() -> None:
    rules = Rules()
    rules.delete(Line, "acme", "a")
    rules.delete(RegionGroup, "acme", "a")
    rules.delete_trunk("t")
    rules.delete_trunk_group("g")
    rules.delete_tenant("acme")
    rules.delete_number("400")


def test_a_prefix_that_moved_to_another_group_stays_there_when_the_first_goes() -> None:
    rules = Rules()
    first, second = (TrunkGroup(id, ("139",), (Member("t"),)) for id in ("one", "two"))
    rules.put(first)
    rules.put(second)
    rules.delete_trunk_group("one")
    assert rules.carrier("13900001111") is second


def test_rules_that_are_no_longer_used_are_let_go_of_bit_by_bit() -> None:
    rules = Rules()
    rules.put(Trunk("t"))
    for n in range(10):
        rules.put(Number(f"400000000{n}", "acme", ()))
        rules.put(Line(f"tenant-{n}", "a", "1", "192.0.2.1"))
        rules.put_screening_list("acme", f"list-{n}")
        rules.put_screening_page("acme", f"list-{n}", n, Page.of(["x"]))
        rules.put(RegionGroup("acme", f"group-{n}"))
    rounds = 0
    while rules.shrink(3):
        rounds += 1
    assert rounds == 16
    assert rules.numbers == 0
    assert rules.screening_list("acme", "list-0") is rules.owned(RegionGroup, "acme", "group-0") is None
