"""Several things at once: what comes of them, and that nothing runs on."""

from __future__ import annotations

import asyncio

import pytest
from signalbox.ivr.together import all_of, first_of


class Work:
    """A coroutine that waits until it may end."""

    def __init__(self, result: str = "", error: Exception | None = None) -> None:
        self.go = asyncio.Event()
        self.ended = False
        self._result = result
        self._error = error

    async def run(self) -> str:
        try:
            await self.go.wait()
            if self._error is not None:
                raise self._error
            return self._result
        finally:
            self.ended = True


async def test_the_first_that_is_done_counts_and_the_others_end() -> None:
    one, other = Work("one"), Work("other")
    other.go.set()
    assert await first_of(one.run(), other.run()) == "other"
    assert one.ended


async def test_of_two_that_are_done_at_once_the_one_told_first_counts() -> None:
    one, other = Work("one"), Work("other")
    one.go.set()
    other.go.set()
    assert await first_of(one.run(), other.run()) == "one"


async def test_an_error_of_the_first_comes_out_as_it_is() -> None:
    one, other = Work(error=ValueError("wrong")), Work()
    one.go.set()
    with pytest.raises(ValueError, match="wrong"):
        await first_of(one.run(), other.run())
    assert other.ended


async def test_all_are_waited_for() -> None:
    one, other = Work(), Work()
    both = asyncio.ensure_future(all_of(one.run(), other.run()))
    one.go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not both.done()
    other.go.set()
    await both


async def test_one_error_ends_all_and_comes_out_as_it_is() -> None:
    one, other = Work(), Work(error=ValueError("wrong"))
    other.go.set()
    with pytest.raises(ValueError, match="wrong"):
        await all_of(one.run(), other.run())
    assert one.ended


@pytest.mark.parametrize("together", [first_of, all_of])
async def test_who_is_cancelled_ends_all(together: object) -> None:
    one, other = Work(), Work()
    both = asyncio.ensure_future(together(one.run(), other.run()))  # type: ignore[operator]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both
    assert one.ended
    assert other.ended
