"""``signalbox replay``: past calls against a draft of the rules of a service."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from signalbox.cli import main
from signalbox.commands import replay as command
from signalbox.commands import replayreport, replayrules, replayrun
from signalbox.commands.callrecords import FIELDS
from signalbox.domain import replay
from support.replay import FRIDAY_MS, HOUR_MS, record, write

if TYPE_CHECKING:
    from support.commands import Service, Shell

ACME = (Path(__file__).parents[3] / "docs/examples/acme.yaml").read_text()
NIGHT_MS = FRIDAY_MS + 5 * HOUR_MS
SATURDAY_MS = FRIDAY_MS + 18 * HOUR_MS
NORTH, SOUTH, PEST = "13800001234", "02088886666", "13911112222"


@pytest.fixture
def calls(shell: Shell, elsewhere: Path) -> str:
    """The company of the documents, and a file of its calls: by day from north and south, at night, and on Saturday."""
    shell("trunks create carrier --source 192.0.2.1")
    (elsewhere / "acme.yaml").write_text(ACME)
    shell("apply -f acme.yaml")
    return write(
        elsewhere,
        record(1, calling=NORTH),
        record(2, calling=SOUTH),
        record(3, calling=PEST, begin_ms=NIGHT_MS),
        record(4, calling=NORTH, begin_ms=SATURDAY_MS),
        record(5, called="4009999999"),
    )


def changed(shell: Shell, line: str, code: int = 0) -> list[str]:
    """Ids of the calls that a replay lists."""
    return [one["call_id"] for one in result(shell, line, code)["calls"]]


def result(shell: Shell, line: str, code: int = 0) -> Any:
    return json.loads(shell(f"replay {line} -o json", code).stdout)


def draft(directory: Path, old: str, new: str) -> str:
    """The company's rules with something else in it."""
    assert old in ACME
    (directory / "draft.yaml").write_text(ACME.replace(old, new))
    return "draft.yaml"


# --- drafts --------------------------------------------------------------------------------------------------------


def test_the_rules_as_they_are_change_nothing(shell: Shell, calls: str) -> None:
    told = shell(f"replay {calls} -f acme.yaml --fail-on-change").stdout.splitlines()
    assert "would come to something else: 0" in told


def test_a_region_less_changes_the_callers_of_that_region(shell: Shell, calls: str, elsewhere: Path) -> None:
    file = draft(elsewhere, "[北京, 天津", "[天津")
    (one,) = result(shell, f"{calls} -f {file}")["calls"]
    assert (one["call_id"], one["number"], one["calling"]) == ("call-1", "4008001234", NORTH)
    assert one["begin"] == "2027-01-15T08:00:01.000Z"
    assert one["differs"] == ["lines", "jumps", "way"] or one["differs"] == ["lines", "way"]
    assert (one["before"]["way"], one["after"]["way"]) == ("known>hours>where>north", "known>hours>where>desks")
    assert one["before"]["lines"].startswith("north/20 desk-1/25")


def test_a_flow_and_a_schedule_may_be_drafted_where_they_are_stored(shell: Shell, calls: str, elsewhere: Path) -> None:
    flow = shell.json("flows get acme main")["draft"]
    flow["nodes"][2]["region"]["otherwise"] = "night"
    (elsewhere / "flow.json").write_text(json.dumps({"draft": flow}))
    shell("flows update acme main -f flow.json")
    assert changed(shell, f"{calls} --flow acme/main") == ["call-2"]
    rules = shell.json("schedules get acme hours")["draft"]
    rules["periods"] = rules["periods"][:1]
    (elsewhere / "schedule.json").write_text(json.dumps({"draft": rules}))
    shell("schedules update acme hours -f schedule.json")
    assert changed(shell, f"{calls} --schedule acme/hours") == ["call-3"]
    assert changed(shell, f"{calls} --schedule acme/hours --flow acme/main") == ["call-2", "call-3"]
    assert shell.json("flows get acme main")["revisions"][-1]["number"] == 1, "nothing is written"


def test_entries_of_lists_are_added_and_removed(shell: Shell, calls: str, elsewhere: Path) -> None:
    (elsewhere / "pests.txt").write_text("139*  # all of them\n\n")
    assert changed(shell, f"{calls} --add acme/pests @pests.txt") == ["call-3"]
    shell("screening-lists add-entries acme pests 139* province:北京")
    assert changed(shell, f"{calls} --remove acme/pests 139*") == [], "139 1111 is of Beijing, too"
    assert changed(shell, f"{calls} --remove acme/pests province:北京 --remove acme/pests 139*") == [
        "call-1", "call-3", "call-4",
    ]  # fmt: skip
    assert changed(shell, f"{calls} --add acme/pests 139*") == []
    assert changed(shell, f"{calls} --add acme/friends 02088886666 --ignore priority") == ["call-2"]


def test_a_list_of_the_operator(shell: Shell, calls: str, elsewhere: Path) -> None:
    shell("screening-lists create - nuisance")
    file = draft(elsewhere, "blacklists: [pests]", "blacklists: [pests, nuisance]")
    assert changed(shell, f"{calls} -f {file}") == []
    assert changed(shell, f"{calls} -f {file} --add -/nuisance {SOUTH}") == ["call-2"]


def test_a_new_number_and_one_that_is_gone(shell: Shell, calls: str, elsewhere: Path) -> None:
    (elsewhere / "new.yaml").write_text("kind: Number\nnumber: 4009999999\ntenant: acme\nflow: main\n")
    (one,) = result(shell, f"{calls} -f new.yaml")["calls"]
    assert (one["call_id"], one["before"]["why"], one["after"]["why"]) == ("call-5", "number_unknown", "dial")
    (elsewhere / "gone.yaml").write_text("kind: Number\nnumber: 4008001234\n---\nkind: Number\nnumber: 4007\n")
    told = result(shell, f"{calls} -d gone.yaml")
    assert [one["after"]["code"] for one in told["calls"]] == [404] * 4


def test_a_new_list_a_line_that_is_gone_and_a_group(shell: Shell, calls: str, elsewhere: Path) -> None:
    (elsewhere / "gone.yaml").write_text("kind: Line\ntenant: acme\nid: north\n")
    assert changed(shell, f"{calls} -d gone.yaml") == ["call-1"]
    (elsewhere / "list.yaml").write_text("kind: ScreeningList\ntenant: acme\nid: late\n")
    late = draft(elsewhere, "blacklists: [pests]", "blacklists: [pests, late]")
    assert changed(shell, f"{calls} -f list.yaml -f {late} --add acme/late {SOUTH}") == ["call-2"]
    group = draft(elsewhere, "lines: [{line: desk-1}, {line: desk-2}]", "lines: [{line: desk-2}]")
    assert changed(shell, f"{calls} -f {group}") == ["call-1", "call-2"]


def test_a_trunk_and_lines_that_trunks_carry(shell: Shell, calls: str, elsewhere: Path) -> None:
    shell("lines update acme night --set host= --set user=13911110000")
    shell(["trunks", "create", "out", "--set", "targets=[{host: 198.51.100.1}]"])
    shell(["trunk-groups", "create", "all", "--set", 'prefixes=[""]', "--set", "members=[{trunk: out}]"])
    (elsewhere / "out.yaml").write_text("kind: Trunk\nid: out\ndisabled: true\ntargets: [{host: 198.51.100.1}]\n")
    assert changed(shell, f"{calls} -f out.yaml") == ["call-1", "call-2", "call-3"]
    (elsewhere / "group.yaml").write_text("kind: TrunkGroup\nid: some\nprefixes: ['139']\nmembers: [{trunk: more}]\n")
    (elsewhere / "more.yaml").write_text("kind: Trunk\nid: more\ntargets: [{host: 198.51.100.2}]\n")
    assert changed(shell, f"{calls} -f group.yaml -f more.yaml") == ["call-1", "call-2", "call-3"]
    (elsewhere / "in.yaml").write_text("kind: Trunk\nid: carrier\ndisabled: true\nsource_addresses: [192.0.2.1]\n")
    assert len(changed(shell, f"{calls} -f in.yaml")) == 5


def test_calls_of_others_are_not_looked_at(shell: Shell, calls: str, elsewhere: Path) -> None:
    (elsewhere / "other.yaml").write_text("kind: Tenant\nid: other\n---\nkind: Line\ntenant: other\nid: a\nuser: '1'\n")
    told = result(shell, f"{calls} -f other.yaml")
    assert (told["calls"], told["summary"]["apart"], told["summary"]["calls"]) == ([], 5, 5)


# --- what is compared ----------------------------------------------------------------------------------------------


def test_a_draft_is_compared_with_what_is_in_force_now_whenever_the_call_was(shell: Shell, elsewhere: Path) -> None:
    shell("trunks create carrier --source 192.0.2.1")
    (elsewhere / "acme.yaml").write_text(ACME)
    shell("apply -f acme.yaml")
    before_the_flow = write(elsewhere, record(1, begin_ms=FRIDAY_MS - 8 * 364 * 24 * HOUR_MS, calling=NORTH))
    file = draft(elsewhere, "[北京, 天津", "[天津")
    assert changed(shell, f"{before_the_flow} -f {file}") == ["call-1"]


def test_a_revision_that_is_yet_to_come_is_not_in_force(shell: Shell, calls: str, elsewhere: Path) -> None:
    closed = draft(elsewhere, "entry: known", "entry: late")
    text = (elsewhere / closed).read_text()
    late = "  - id: late\n    schedule: {schedule: hours, branches: [{period: open, next: closed}], otherwise: known}\n"
    (elsewhere / closed).write_text(text.replace("  - id: known\n", late + "  - id: known\n"))
    flow = text_of_flow(elsewhere / closed)
    (elsewhere / "flow.yaml").write_text(flow)
    shell("flows update acme main -f flow.yaml")
    shell("flows activate acme main --at 2099-01-01T00:00Z")
    assert changed(shell, f"{calls} -f {closed} --ignore way") == ["call-1", "call-2"]
    assert changed(shell, f"{calls} --flow acme/main --ignore way") == ["call-1", "call-2"]


def text_of_flow(file: Path) -> str:
    """The document of the flow in a file."""
    return next(text for text in file.read_text().split("---\n") if text.startswith("kind: Flow\n"))


def test_what_was_recorded(shell: Shell, elsewhere: Path, calls: str) -> None:
    file = write(
        elsewhere,
        record(1, why="dial", number="4008001234", tried="north=486 desk-2"),
        record(2, why="limit_number", number="4008001234"),
        record(3, why="dial", number="4008001234", tried="gone"),
    )
    told = result(shell, f"{file} --recorded")
    assert [(one["call_id"], one["against"], one["differs"]) for one in told["calls"]] == [
        ("call-2", "recorded", ["why"]),
        ("call-3", "recorded", ["lines"]),
    ]
    assert told["summary"]["unlike"] == 2
    table = shell(f"replay {file} --recorded").stdout
    assert "recorded: lines" in table
    assert "went otherwise than the present rules say: 2" in table
    assert "would come to something else" not in table


def test_limits_are_counted_if_asked_for(shell: Shell, elsewhere: Path, calls: str) -> None:
    file = write(elsewhere, *(record(n) for n in range(4)))
    limited = draft(elsewhere, "limits: {concurrent_calls: 30", "limits: {concurrent_calls: 2")
    assert changed(shell, f"{file} -f {limited}") == []
    told = result(shell, f"{file} -f {limited} --limits")
    assert [one["call_id"] for one in told["calls"]] == ["call-2", "call-3"]
    assert told["summary"]["reasons"] == {"dial → limit_number 486": 2}
    assert "are counted" in told["summary"]["notes"][0]
    unordered = write(elsewhere, record(2), record(1), record(3))
    refused = shell(f"replay {unordered} -f {limited} --limits --fail-on-change", code=1)
    assert refused.stderr == "line 3: began before a call that stands above it\n"


def test_a_difference_may_be_ignored(shell: Shell, elsewhere: Path, calls: str) -> None:
    file = draft(elsewhere, "max_call_duration: 7200s", "max_call_duration: 60s")
    assert len(changed(shell, f"{calls} -f {file}")) == 3
    assert changed(shell, f"{calls} -f {file} --ignore duration --fail-on-change") == []


def test_the_operator_s_own_regions(shell: Shell, elsewhere: Path, calls: str) -> None:
    (elsewhere / "regions.csv").write_text("prefix,province,city,area_code,carrier\n020,北京,北京,010,\n")
    file = draft(elsewhere, "[北京, 天津", "[天津")
    assert changed(shell, f"{calls} -f {file} --regions regions.csv") == ["call-1", "call-2"]
    (elsewhere / "regions.csv").write_text("x\n")
    assert "regions.csv" in shell(f"replay {calls} -f {file} --regions regions.csv", code=2).stderr


# --- output --------------------------------------------------------------------------------------------------------


def test_a_table_for_people(shell: Shell, calls: str, elsewhere: Path) -> None:
    told = shell(f"replay {calls} -f {draft(elsewhere, '[北京, 天津', '[天津')}").stdout
    head, row, *summary = told.splitlines()
    assert head.split() == ["BEGIN", "(UTC)", "NUMBER", "CALLER", "BEFORE", "AFTER", "DIFFERS"]
    assert row.split()[:4] == ["2027-01-15", "08:00:01", "4008001234", NORTH]
    assert "dial north desk-1 desk-2 night (known>hours>where>north)" in row
    assert summary == [
        "calls: 5",
        "to numbers that the draft says nothing of: 1",
        "would come to something else: 1",
        "  number 4008001234: 1",
        "  flow acme/main: 1",
        "  why dial → dial: 1",
        "limits are left out; --limits counts calls at once and in a second",
    ]


def test_what_looks_alike_in_few_words_is_told_in_more(shell: Shell, calls: str, elsewhere: Path) -> None:
    told = shell(f"replay {calls} -f {draft(elsewhere, 'ring_time: 20s', 'ring_time: 15s')}").stdout
    assert "north/20" in told
    assert "north/15" in told


def test_lines_that_a_draft_has_recorded_are_told(shell: Shell, calls: str, elsewhere: Path) -> None:
    recorded = draft(elsewhere, "ring_time: 20s", "recording: DIAL_RECORDING_ON\n      ring_time: 20s")
    assert [one["differs"] for one in result(shell, f"{calls} -f {recorded}")["calls"]] == [["media"]]
    told = shell(f"replay {calls} -f {recorded}").stdout
    assert "(media: anchor)" in told
    assert "(media: record north)" in told


def test_csv_and_its_summary_apart(shell: Shell, calls: str, elsewhere: Path) -> None:
    done = shell(f"replay {calls} -f {draft(elsewhere, '[北京, 天津', '[天津')} -o csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["call_id"], row["before_flow"], row["after_way"]) == ("call-1", "acme/main", "known>hours>where>desks")
    assert row["before_shares"] == "round_robin:desk-1,desk-2"
    assert "would come to something else: 1" in done.stderr


def test_the_summary_alone(shell: Shell, calls: str, elsewhere: Path) -> None:
    file = draft(elsewhere, "[北京, 天津", "[天津")
    assert shell(f"replay {calls} -f {file} --summary").stdout.startswith("calls: 5\n")
    assert shell(f"replay {calls} -f {file} --summary -o csv").stdout == ""
    told = result(shell, f"{calls} -f {file} --summary")
    assert (told["calls"], told["summary"]["changed"]) == ([], 1)


def test_a_long_summary_is_cut_for_people(
    shell: Shell, calls: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayreport, "MOST_NAMED", 1)
    (elsewhere / "gone.yaml").write_text("kind: Number\nnumber: 4008001234\n")
    told = shell(f"replay {calls} -d gone.yaml").stdout.splitlines()
    assert "  why dial → number_unknown 404: 3" in told
    assert "  and 1 more" in told


def test_json_lines_and_standard_input(shell: Shell, service: Service, calls: str, elsewhere: Path) -> None:
    file = draft(elsewhere, "[北京, 天津", "[天津")
    lines = write(elsewhere, record(1, calling=NORTH), record(2, calling=SOUTH), name="calls.jsonl")
    assert changed(shell, f"{lines} -f {file}") == ["call-1"]
    arguments = ["replay", "-", "-f", file, "-o", "json", "--api", service.address]
    done = CliRunner().invoke(main, arguments, input=(elsewhere / lines).read_bytes())
    assert done.exit_code == 0, (done.output, done.exception)
    assert [one["call_id"] for one in json.loads(done.stdout)["calls"]] == ["call-1"]


def test_more_calls_than_are_read_at_once(
    shell: Shell, calls: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayrun, "CALLS_AT_ONCE", 3)
    file = write(elsewhere, *(record(n, calling=NORTH if n % 2 else SOUTH) for n in range(10)))
    assert len(changed(shell, f"{file} -f {draft(elsewhere, '[北京, 天津', '[天津')}")) == 5


@pytest.mark.parametrize(("listed", "many"), [(0, 500), (20_000, 1), (1, 1), (0, 1)])
def test_how_rules_are_read_makes_no_difference(
    shell: Shell, calls: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, listed: int, many: int
) -> None:
    """Numbers and lines as lists, or one by one when there are too many, or too few to be worth it."""
    monkeypatch.setattr(replayrules, "LISTED_MAX", listed)
    monkeypatch.setattr(replayrules, "MANY", many)
    monkeypatch.setattr(replayrules, "AT_ONCE", 2)
    told = result(shell, f"{calls} -f {draft(elsewhere, '[北京, 天津', '[天津')}")
    assert [one["call_id"] for one in told["calls"]] == ["call-1"]
    assert told["summary"]["apart"] == 1


# --- errors --------------------------------------------------------------------------------------------------------


def test_damaged_lines_are_told_counted_and_never_passed_over(
    shell: Shell, calls: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (elsewhere / calls).open("a") as file:
        file.write("a,b\n" * 3)
    monkeypatch.setattr(replayrun, "DAMAGE_TOLD", 2)
    done = shell(f"replay {calls} -f acme.yaml")
    assert done.stderr.splitlines() == [f"line {n}: 2 columns, the head line has {len(FIELDS)}" for n in (7, 8)]
    assert "damaged lines, not looked at: 3" in done.stdout
    shell(f"replay {calls} -f acme.yaml --fail-on-change", code=1)


def test_a_change_may_fail_the_command(shell: Shell, calls: str, elsewhere: Path) -> None:
    shell(f"replay {calls} -f {draft(elsewhere, '[北京, 天津', '[天津')} --fail-on-change", code=1)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ("", 2, "nothing to compare with"),
        ("--flow acme/other", 2, "flow acme/other is not there"),
        ("--flow acme", 2, "flow acme is not there: TENANT/ID is expected"),
        ("--flow acme/main --flow acme/main", 2, "Flow acme/main is in the draft twice"),
        ("--add acme/none 138*", 2, "screening list acme/none is not there"),
        ("--add acme 138*", 2, "screening list acme is not there"),
        ("--add acme/pests x*", 2, "'x*' is no entry of a list"),
        ("--add acme/pests @none.txt", 2, "none.txt"),
        ("--add acme/pests 138* --remove acme/pests 138*", 2, "138 is both added and removed"),
        ("-f broken.yaml", 1, "the draft of flow acme/main cannot be obeyed"),
        ("-f kind.yaml", 1, "kind: one of"),
        ("-d acme.yaml --add acme/pests 138*", 2, "screening list acme/pests is not there"),
    ],
)
def test_drafts_that_are_none(shell: Shell, calls: str, elsewhere: Path, options: str, code: int, told: str) -> None:
    (elsewhere / "broken.yaml").write_text(ACME.replace("otherwise: closed", "otherwise: nowhere"))
    (elsewhere / "kind.yaml").write_text("kind: Dog\n")
    assert told in shell(f"replay {calls} {options}", code).stderr


def test_a_flow_without_a_draft(shell: Shell, calls: str) -> None:
    shell(["flows", "create", "acme", "bare"])
    assert "flow acme/bare has no draft" in shell(f"replay {calls} --flow acme/bare", code=2).stderr


def test_a_file_that_is_none_of_calls(shell: Shell, calls: str) -> None:
    assert "no file of calls" in shell("replay acme.yaml -f acme.yaml", code=2).stderr


def test_a_service_that_is_not_there(bare: Shell, elsewhere: Path) -> None:
    file = write(elsewhere, record(1))
    bare(f"replay {file} --recorded --api 127.0.0.1:1 --timeout 0.3", code=3)


def test_a_service_that_fails_on_the_way(shell: Shell, calls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(self: replayrules.ReplayRules, key: object) -> Any:
        return self._channel.unary_unary("/none/None").future(b"")

    monkeypatch.setattr(replayrules.ReplayRules, "_ask", unknown)
    assert "UNIMPLEMENTED" in shell(f"replay {calls} --recorded", code=1).stderr


def test_the_fields_that_may_be_ignored_are_all_there_are() -> None:
    assert command.FIELDS == replay.FIELDS


def test_a_bar_shows_how_far_it_is(shell: Shell, calls: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (elsewhere / calls).open("rb") as file:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        with replayrun._progress(file, shown=True) as moved:
            moved(5)
        with replayrun._progress(file, shown=False) as moved:
            moved(5)
    with replayrun._progress(io.BytesIO(b"x"), shown=True) as moved:
        moved(1)
