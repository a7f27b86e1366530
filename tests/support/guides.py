"""Rules of a company, and the guide of a replica that has them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.domain.cursor import seal
from signalbox.domain.planner import Voice
from signalbox.domain.regions import Region
from signalbox.domain.screening import ADDED, Page
from signalbox.domain.voice import Pool, as_line
from signalbox.routing.answers import Answerer
from signalbox.routing.guide import Guide
from signalbox.routing.stats import Stats
from signalbox.store.screening import page_message

from support import routing
from support.deciding import setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.routing.book import Book
    from signalbox.store.codec import Object


KEY = b"key"
PLACES = {"139": Region("内蒙古", "呼和浩特", "0471")}
VOICE = Voice(Pool([(as_line("ivr-1", "192.0.2.21", 5060), 0.0)]), partial(seal, key=KEY))
MONDAY_10, MONDAY_20 = Timestamp(), Timestamp()
MONDAY_10.FromJsonString("2026-11-23T10:00:00+08:00")
MONDAY_20.FromJsonString("2026-11-23T20:00:00+08:00")


WEEKDAYS = schedules_pb2.WeeklyHours(days=[1, 2, 3, 4, 5], start_time="09:00", end_time="18:00")
OPEN = schedules_pb2.ScheduleRules(
    calendar="cn", periods=[schedules_pb2.Period(name="open", weekly=WEEKDAYS)]
)  # fmt: skip


def rules() -> list[Object]:
    """A number with every kind of rule that needs no voice, and a menu outside office hours."""
    nodes = [
        flows_pb2.FlowNode(
            id="hours",
            schedule=flows_pb2.ScheduleNode(
                schedule="office",
                branches=[flows_pb2.ScheduleBranch(period="open", next="place")],
                otherwise="menu",
            ),
        ),
        flows_pb2.FlowNode(
            id="place",
            region=flows_pb2.RegionNode(
                branches=[flows_pb2.RegionBranch(groups=["north"], next="local")], otherwise="desk"
            ),
        ),
        routing.dial_node("local", "b", busy="desk", no_answer="desk", failed="desk"),
        routing.dial_node("desk", "a", "b", distribution=flows_pb2.DISTRIBUTION_ROUND_ROBIN),
        flows_pb2.FlowNode(
            id="menu",
            menu=flows_pb2.MenuNode(
                prompt="closed",
                branches=[flows_pb2.MenuBranch(digits="1", next="desk")],
                no_input="bye",
                no_match="bye",
            ),
        ),
        flows_pb2.FlowNode(id="bye", hang_up=flows_pb2.HangUpNode()),
    ]
    return [
        types_pb2.Tenant(id="acme", time_zone="Asia/Shanghai"),
        routing.trunk(),
        routing.line(),
        routing.line("b", concurrent_calls=1),
        schedules_pb2.Schedule(tenant="acme", id="office", revisions=[schedules_pb2.ScheduleRevision(rules=OPEN)]),
        schedules_pb2.Calendar(
            id="cn",
            days=[schedules_pb2.CalendarDay(date="2026-11-24", kind=schedules_pb2.DAY_KIND_HOLIDAY, name="a holiday")],
        ),
        screening_pb2.RegionGroup(id="north", provinces=["内蒙古"]),
        screening_pb2.ScreeningList(tenant="acme", id="bad"),
        page_message("acme", "bad", ADDED, Page.of(["n13700001234"])),
        routing.flow("main", *nodes),
        types_pb2.Number(
            number=routing.NUMBER, tenant="acme", flow="main", screening=types_pb2.Screening(blacklists=["bad", "lost"])
        ),
    ]


def guide(book: Book, key: bytes | None = KEY, counters: Any = None) -> Guide:
    given = setup(PLACES, VOICE)
    return Guide(book, lambda: 1, Answerer(book, lambda: 1, Stats(dict), given, counters), given, counters, key)


def explained(
    book: Book, calling: str, at: Timestamp, counts: Mapping[str, int] | None = None, **call: str
) -> routing_pb2.ExplainResponse:
    question = routing_pb2.DecideRequest(called=routing.NUMBER, calling=calling, **call)
    request = routing_pb2.ExplainRequest(request=question, time=at, counts=counts or {})
    return routing.at_once(guide(book).explain(request))


def told(response: routing_pb2.ExplainResponse) -> list[tuple[str, str]]:
    return [(step.rule, step.finding) for step in response.steps]
