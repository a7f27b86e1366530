"""Lines that are telephone numbers go out through the trunks that carry them."""

from __future__ import annotations

import itertools

import pytest
from support.company import BUSY, FAILS, RINGS, SILENT, host_of

_segments = itertools.count(1000)


@pytest.fixture
def trunks(company):
    """Makes trunks that ring desks, and a group of them for a mobile segment of its own; returns a number there."""

    async def make(*does, form="NATIONAL", priorities=None, **fields):
        members = []
        for position, code in enumerate(does):
            name = f"trunk-{position + 1}"
            desk = await company.desk(name, code)
            id = f"{company.id}-{name}"
            company.put("trunk", id=id, targets=[host_of(desk)], called_format=f"NUMBER_FORMAT_{form}", **fields)
            members.append({"trunk": id, "priority": position if priorities is None else priorities[position]})
        prefix = f"139{next(_segments)}"
        company.put("trunk_group", id=f"{company.id}-{prefix}", prefixes=[prefix], members=members)
        return f"{prefix}5678"

    return make


def line(company, user):
    """A line that is a telephone number; returns a service number that rings it."""
    company.put("line", id="mobile", user=user)
    return company.rings("mobile")


@pytest.mark.parametrize(
    ("form", "written"), [("NATIONAL", "{}"), ("E164", "+86{}"), ("INTERNATIONAL", "0086{}"), ("UNSPECIFIED", "{}")]
)
async def test_a_telephone_number_goes_out_through_its_trunk_as_this_takes_numbers(company, trunks, form, written):
    mobile = await trunks(200, form=form)
    number = line(company, f"+86{mobile}")
    for proxy in (1, 2):
        assert await company.line_of(number, proxy=proxy) == "trunk-1"
    desk = company.desks["trunk-1"]
    uris = {invite.uri for invite in desk.invites.values()}
    assert uris == {f"sip:{written.format(mobile)}@{desk.address}"}


async def test_the_longest_prefix_counts(company, trunks):
    mobile = await trunks(200)
    near = await company.desk("near")
    company.put("trunk", id=f"{company.id}-near", targets=[host_of(near)])
    company.put(
        "trunk_group", id=f"{company.id}-near", prefixes=[mobile[:9]], members=[{"trunk": f"{company.id}-near"}]
    )
    assert await company.line_of(line(company, mobile)) == "near"
    company.put("line", id="other", user=f"{mobile[:7]}0000")
    assert await company.line_of(company.rings("other")) == "trunk-1"


@pytest.mark.parametrize("does", [503, FAILS, SILENT])
async def test_a_trunk_that_fails_is_followed_by_the_next(company, trunks, does):
    mobile = await trunks(does, 200)
    outcome = await company.call(line(company, mobile))
    assert (outcome.line, outcome.rang) == ("trunk-2", ["trunk-1", "trunk-2"])


@pytest.mark.parametrize(("does", "code"), [(BUSY, 486), (RINGS, 480)])
async def test_a_line_that_is_busy_or_does_not_answer_is_not_tried_through_another_trunk(company, trunks, does, code):
    mobile = await trunks(does, 200)
    outcome = await company.call(line(company, mobile))
    assert (outcome.code, outcome.rang) == (code, ["trunk-1"])


async def test_a_disabled_trunk_is_passed_over(company, trunks):
    mobile = await trunks(200, 200)
    first = {"id": f"{company.id}-trunk-1", "targets": [host_of(company.desks["trunk-1"])]}
    number = line(company, mobile)
    assert await company.line_of(number) == "trunk-1"
    company.put("trunk", **first, disabled=True)
    assert await company.line_of(number) == "trunk-2"
    company.put("trunk", **first)
    assert await company.line_of(number, proxy=2) == "trunk-1"


async def test_trunks_of_one_priority_share_the_calls(company, trunks):
    mobile = await trunks(200, 200, priorities=[0, 0])
    number = line(company, mobile)
    rung: set[str] = set()
    for n in range(40):
        rung.add(await company.line_of(number, proxy=1 + n % 2))
        if len(rung) == 2:
            break
    assert rung == {"trunk-1", "trunk-2"}


async def test_a_telephone_number_that_no_trunk_carries_is_passed_over(company):
    await company.line("desk")
    company.put("line", id="mobile", user="+442071838750")
    outcome = await company.call(company.rings("mobile", "desk"))
    assert (outcome.line, outcome.rang) == ("desk", ["desk"])
    assert (await company.call(company.rings("mobile"))).code == 480
