"""Session timers: who refreshes, when, and when the call is over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.sip.errors import MessageError
from signalbox.sip.message import Headers, Request, Response
from signalbox.sip.sessiontimer import (
    LEAST_S,
    Policy,
    Refresh,
    SessionExpires,
    agreed,
    answer,
    ask,
    ask_again_s,
    min_se_s,
    session_expires,
)

USUAL = Policy()
TIMER = ("Supported", "timer")


def request(*fields: tuple[str, str]) -> Request:
    return Request("INVITE", "sip:bob@example.net", Headers(fields))


def response(*fields: tuple[str, str], status: int = 200) -> Response:
    return Response(status, "", Headers(fields))


def expires(value: str) -> tuple[str, str]:
    return "Session-Expires", value


@given(st.builds(SessionExpires, st.integers(0, 2**32 - 1), st.sampled_from(["", "uac", "uas"])))
@settings(deadline=None)
def test_a_value_comes_back_as_it_was(value: SessionExpires) -> None:
    assert SessionExpires.parse(str(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1800", SessionExpires(1_800)),
        (" 1800 ; Refresher=UAS", SessionExpires(1_800, "uas")),
        ("90;x=1;refresher=uac", SessionExpires(90, "uac")),
    ],
)
def test_a_value_is_read(text: str, value: SessionExpires) -> None:
    assert session_expires(request(("x", text))) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be whole seconds and parameters"),
        ("x", "must be whole seconds and parameters"),
        ("-1", "must be whole seconds and parameters"),
        ("1.5", "must be whole seconds and parameters"),
        ("4294967296", "is over 4294967295"),
        ("1800;refresher=both", "must have uac or uas for refresher"),
        ("1800;refresher=uac;refresher=uas", "has a parameter twice"),
    ],
)
def test_what_is_no_value(text: str, told: str) -> None:
    with pytest.raises(MessageError, match=f"Session-Expires {told}") as raised:
        session_expires(request(expires(text)))
    assert raised.value.code == 400


def test_a_message_may_say_nothing_of_it() -> None:
    assert session_expires(request()) is None
    assert min_se_s(request()) is None
    assert min_se_s(request(("Min-SE", "120;x"))) == 120
    with pytest.raises(MessageError, match="Min-SE must be whole seconds"):
        min_se_s(request(("Min-SE", "soon")))


@pytest.mark.parametrize(
    ("interval_s", "refresh_s", "end_s"), [(1_800, 900, 1_768), (90, 45, 60), (96, 48, 64), (120, 60, 88)]
)
def test_when_to_refresh_and_when_to_end(interval_s: int, refresh_s: float, end_s: float) -> None:
    for by_us in (True, False):
        refresh = Refresh(by_us, interval_s)
        assert (refresh.refresh_after_s, refresh.end_after_s) == (refresh_s, end_s)


@pytest.mark.parametrize(("interval_s", "least_s"), [(1_800, 89), (100, 101), (60, 60)])
def test_a_policy_that_nobody_could_keep(interval_s: int, least_s: int) -> None:
    with pytest.raises(ValueError, match="the least interval must be at least 90 s"):
        Policy(interval_s, least_s)


# As server


@pytest.mark.parametrize(
    ("fields", "by_us", "told"),
    [
        ([expires("1800")], True, "uas"),
        ([expires("1800;refresher=uac")], True, "uas"),
        ([TIMER, expires("1800")], False, "uac"),
        ([TIMER, expires("1800;refresher=uac")], False, "uac"),
        ([TIMER, expires("1800;refresher=uas")], True, "uas"),
        ([("Require", "timer"), expires("1800;refresher=uas")], True, "uas"),
        ([TIMER], False, "uac"),
        ([], True, "uas"),
    ],
)
def test_rfc_4028_table_2_who_refreshes(fields: list[tuple[str, str]], by_us: bool, told: str) -> None:
    refresh, added = answer(request(*fields), USUAL)
    assert refresh == Refresh(by_us, 1_800)
    supported = any(value == "timer" for _, value in fields)
    assert added == (expires(f"1800;refresher={told}"), *([("Require", "timer")] if supported else []))


def test_we_refresh_if_we_want_to_and_the_caller_leaves_it_to_us() -> None:
    policy = Policy(refresh=True)
    assert answer(request(TIMER, expires("1800")), policy)[0] == Refresh(True, 1_800)
    assert answer(request(TIMER, expires("1800;refresher=uac")), policy)[0] == Refresh(False, 1_800)


@pytest.mark.parametrize(
    ("fields", "interval_s"),
    [
        ([TIMER, expires("600")], 600),
        ([TIMER, expires("3600")], 1_800),
        ([TIMER, expires("3600"), ("Min-SE", "2000")], 2_000),
        ([TIMER, expires("3600"), ("Min-SE", "30")], 1_800),
        ([TIMER, ("Min-SE", "2000")], 2_000),
        ([TIMER, expires("1000"), ("Min-SE", "2000")], 1_000),
        ([expires("30")], 120),
    ],
)
def test_how_long_an_interval_is(fields: list[tuple[str, str]], interval_s: int) -> None:
    refresh, added = answer(request(*fields), Policy(least_s=120))
    assert refresh is not None
    assert refresh.interval_s == interval_s
    assert added[0][1].startswith(f"{interval_s};")


def test_an_interval_that_is_too_short_is_refused() -> None:
    with pytest.raises(MessageError, match="Session-Expires is below 120") as raised:
        answer(request(TIMER, expires("119")), Policy(least_s=120))
    assert raised.value.code == 422
    assert raised.value.headers == (("Min-SE", "120"),)


def test_without_a_wish_of_either_there_is_no_timer() -> None:
    policy = Policy(always=False)
    assert answer(request(TIMER), policy) == (None, ())
    assert answer(request(TIMER, expires("1800")), policy)[0] is not None


# As client


def test_what_we_ask_for() -> None:
    assert ask(USUAL) == (expires("1800"),)
    assert ask(Policy(refresh=True)) == (expires("1800;refresher=uac"),)
    assert ask(USUAL, least_s=2_000) == (expires("2000"), ("Min-SE", "2000"))


@pytest.mark.parametrize(("by_us", "told"), [(True, "uac"), (False, "uas")])
def test_within_a_dialog_who_refreshes_goes_on_to_do_so(by_us: bool, told: str) -> None:
    assert ask(USUAL, Refresh(by_us, 600)) == (expires(f"600;refresher={told}"),)


@pytest.mark.parametrize(
    ("fields", "refresh"),
    [
        ([], None),
        ([expires("600;refresher=uac"), ("Require", "timer")], Refresh(True, 600)),
        ([expires("600;refresher=uas")], Refresh(False, 600)),
        ([expires("600")], Refresh(True, 600)),
        ([expires("1;refresher=uac")], Refresh(True, LEAST_S)),
    ],
)
def test_what_an_answer_says(fields: list[tuple[str, str]], refresh: Refresh | None) -> None:
    assert agreed(response(*fields)) == refresh


def test_after_422_we_ask_for_what_is_taken() -> None:
    least_s = ask_again_s(response(("Min-SE", "3600"), status=422))
    assert ask(USUAL, least_s=least_s) == (expires("3600"), ("Min-SE", "3600"))
    assert ask_again_s(response(("Min-SE", "4000"), status=422), least_s) == 4_000


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([], "Min-SE is missing"),
        ([("Min-SE", "3600")], "Min-SE must be above 3600"),
        ([("Min-SE", "x")], "Min-SE must"),
    ],
)
def test_a_422_that_would_come_again(fields: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(MessageError, match=told):
        ask_again_s(response(*fields, status=422), 3_600)


POLICIES = st.builds(
    lambda least_s, more_s, always, refresh: Policy(least_s + more_s, least_s, always, refresh),
    st.integers(LEAST_S, 5_000),
    st.integers(0, 5_000),
    st.booleans(),
    st.booleans(),
)


@given(POLICIES, POLICIES, st.booleans())
@settings(deadline=None)
def test_caller_and_callee_come_to_the_same(caller: Policy, callee: Policy, again: bool) -> None:
    """Asking, being refused, asking again; and the same from the other side for a refresh."""
    least_s, kept = LEAST_S, None
    for _ in range(2 if again else 1):
        fields = ask(caller, kept, least_s)
        try:
            here, told = answer(request(TIMER, *fields), callee)
        except MessageError as error:
            least_s = ask_again_s(response(*error.headers, status=error.code), least_s)
            here, told = answer(request(TIMER, *ask(caller, kept, least_s)), callee)
        there = agreed(response(*told))
        assert here is not None
        assert there is not None
        assert there.by_us is not here.by_us
        assert there.interval_s == here.interval_s >= max(LEAST_S, callee.least_s)
        assert kept is None or kept.by_us is there.by_us
        kept = there
