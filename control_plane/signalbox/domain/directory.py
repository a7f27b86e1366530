"""Where decisions find what tenants own: there may be more of it than objects of Python have room for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from signalbox.domain.screening import EMPTY, ScreeningList

if TYPE_CHECKING:
    from signalbox.domain.flow import Flow, LineGroup
    from signalbox.domain.objects import Line, Number
    from signalbox.domain.prompts import Prompt
    from signalbox.domain.regions import RegionGroup
    from signalbox.domain.schedules import Calendar, Schedule
    from signalbox.domain.screening import Page

    Owned = LineGroup | Flow | Schedule | Calendar | RegionGroup | Prompt
    """What is found by its kind, its owner, which is "" for the operator, and its id."""


class Directory(Protocol):
    """Numbers by their national form, all else by its owner ("" for the operator) and id; every change is in force at
    once. To delete what is not known is no error."""

    @property
    def numbers(self) -> int:
        """How many numbers there are, nearly: what changed a moment ago may not be counted yet."""
        ...

    def number(self, digits: str) -> Number | None:
        """A number by its national form."""
        ...

    def line(self, tenant: str, id: str) -> Line | None:
        """A line by its tenant and its id."""
        ...

    def owned(self, kind: type[Owned], tenant: str, id: str) -> Any:
        """An object of a kind; None: there is none."""
        ...

    def screening_list(self, tenant: str, id: str) -> ScreeningList | None:
        """A screening list, to be asked at once: after the next change it may be another one."""
        ...

    def put_number(self, number: Number) -> None:
        """Add a number or replace it."""
        ...

    def put_line(self, line: Line) -> None:
        """Add a line or replace it."""
        ...

    def put_owned(self, item: Owned, stored: bytes) -> None:
        """Add an object or replace it. ``stored``: as the store has it."""
        ...

    def put_screening_list(self, tenant: str, id: str) -> None:
        """Add a screening list, of which some pages may be there already."""
        ...

    def put_screening_page(self, tenant: str, list: str, number: int, page: Page) -> None:
        """Put a page, 0 to REMOVED, of a list that may not be there yet."""
        ...

    def delete_number(self, digits: str) -> None:
        """Delete a number."""
        ...

    def delete_line(self, tenant: str, id: str) -> None:
        """Delete a line."""
        ...

    def delete_owned(self, kind: type[Owned], tenant: str, id: str) -> None:
        """Delete an object."""
        ...

    def delete_screening_list(self, tenant: str, id: str) -> None:
        """Delete a screening list; its pages go by themselves."""
        ...

    def delete_screening_page(self, tenant: str, list: str, number: int) -> None:
        """Delete a page of a screening list."""
        ...

    def shrink(self) -> bool:
        """Let go of something, when the rules that it was made for are no longer used; False: there is nothing, or
        others use it."""
        ...


class PlainDirectory:
    """See Directory: dictionaries."""

    def __init__(self) -> None:
        self._numbers: dict[str, Number] = {}
        self._lines: dict[tuple[str, str], Line] = {}
        self._owned: dict[tuple[type[Owned], str, str], Owned] = {}
        self._lists: dict[tuple[str, str], ScreeningList] = {}
        self._pages: dict[tuple[str, str, int], Page] = {}

    @property
    def numbers(self) -> int:
        """See Directory."""
        return len(self._numbers)

    def number(self, digits: str) -> Number | None:
        """See Directory."""
        return self._numbers.get(digits)

    def line(self, tenant: str, id: str) -> Line | None:
        """See Directory."""
        return self._lines.get((tenant, id))

    def owned(self, kind: type[Owned], tenant: str, id: str) -> Any:
        """See Directory."""
        return self._owned.get((kind, tenant, id))

    def screening_list(self, tenant: str, id: str) -> ScreeningList | None:
        """See Directory."""
        return self._lists.get((tenant, id))

    def put_number(self, number: Number) -> None:
        """See Directory."""
        self._numbers[number.number] = number

    def put_line(self, line: Line) -> None:
        """See Directory."""
        self._lines[line.tenant, line.id] = line

    def put_owned(self, item: Owned, stored: bytes) -> None:
        """See Directory."""
        self._owned[type(item), item.tenant, item.id] = item

    def put_screening_list(self, tenant: str, id: str) -> None:
        """See Directory."""
        self._lists[tenant, id] = ScreeningList(tenant, id, partial(self._page, tenant, id))

    def put_screening_page(self, tenant: str, list: str, number: int, page: Page) -> None:
        """See Directory."""
        self._pages[tenant, list, number] = page
        self._renew(tenant, list)

    def _page(self, tenant: str, list: str, number: int) -> Page:
        return self._pages.get((tenant, list, number), EMPTY)

    def _renew(self, tenant: str, list: str) -> None:
        if (tenant, list) in self._lists:
            self.put_screening_list(tenant, list)

    def delete_number(self, digits: str) -> None:
        """See Directory."""
        self._numbers.pop(digits, None)

    def delete_line(self, tenant: str, id: str) -> None:
        """See Directory."""
        self._lines.pop((tenant, id), None)

    def delete_owned(self, kind: type[Owned], tenant: str, id: str) -> None:
        """See Directory."""
        self._owned.pop((kind, tenant, id), None)

    def delete_screening_list(self, tenant: str, id: str) -> None:
        """See Directory."""
        self._lists.pop((tenant, id), None)

    def delete_screening_page(self, tenant: str, list: str, number: int) -> None:
        """See Directory."""
        self._pages.pop((tenant, list, number), None)
        self._renew(tenant, list)

    def shrink(self) -> bool:
        """See Directory."""
        for held in (self._numbers, self._lines, self._owned, self._lists, self._pages):
            if held:
                held.popitem()
                return True
        return False
