"""``signalbox tenants|trunks|lines|numbers``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from signalbox.commands import entries
from signalbox.commands import rules as rules_module
from signalbox.commands.ruleoptions import parse_stage, stage_text

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Service, Shell


@pytest.fixture
def world(shell: Shell) -> Shell:
    """Tenant acme with lines a and b and a number, and a trunk."""
    shell(["tenants", "create", "acme", "--display-name", "Acme 公司"])
    shell("lines create acme a --user 100 --host 192.0.2.7 --port 5070")
    shell("lines create acme b --user +8613900001111 --host 2001:db8::7 --transport tcp --identity remove")
    shell("numbers create 4001234567 --tenant acme --stage a:20 --stage a,b")
    shell("trunks create carrier --source 198.51.100.0/24 --source 2001:db8::1")
    return shell


def test_tables_are_aligned_in_terminal_columns(world: Shell) -> None:
    assert world("tenants list").stdout.splitlines() == ["ID    NAME       ETAG", "acme  Acme 公司  2"]
    assert world("numbers list").stdout.splitlines() == [
        "NUMBER      TENANT  STATE   DIALS          MEDIA   ETAG",
        "4001234567  acme    active  a:20 then a,b  anchor  5",
    ]
    assert world("trunks list").stdout.splitlines() == [
        "ID       NAME  SOURCES                      STATE    ETAG",
        "carrier        198.51.100.0/24 2001:db8::1  enabled  6",
    ]
    assert world("lines list acme").stdout.splitlines() == [
        "TENANT  ID  NAME  ADDRESS                            TRANSPORT  IDENTITY  ETAG",
        "acme    a         100@192.0.2.7:5070                 udp        pass      3",
        "acme    b         +8613900001111@[2001:db8::7]:5060  tcp        remove    4",
    ]


def test_json_has_the_names_of_the_api(world: Shell) -> None:
    number = world.json("numbers get 4001234567")
    assert number["stages"] == [{"lines": ["a"], "ring_time": "20s"}, {"lines": ["a", "b"]}]
    assert number["etag"] == "5"
    line = world.json("lines get acme b")
    assert (line["transport"], line["identity_policy"]) == ("SIP_TRANSPORT_TCP", "IDENTITY_POLICY_REMOVE")
    assert [line["id"] for line in world.json("lines list acme")] == ["a", "b"]
    assert world.json("numbers list --tenant acme") == [number]


def test_an_empty_list(shell: Shell) -> None:
    assert shell.json("tenants list") == []
    assert shell("tenants list").stdout.splitlines() == ["ID  NAME  ETAG"]


def test_lists_are_read_page_by_page(world: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "PAGE_SIZE", 1)
    assert [line["id"] for line in world.json("lines list acme")] == ["a", "b"]


def test_an_update_changes_what_is_given(world: Shell) -> None:
    world("numbers update 4001234567 --state suspended")
    world("numbers update 4001234567 --media bypass --stage b:0.5e1")
    number = world.json("numbers get 4001234567")
    assert (number["state"], number["media"]) == ("NUMBER_STATE_SUSPENDED", "MEDIA_MODE_BYPASS")
    assert number["stages"] == [{"lines": ["b"], "ring_time": "5s"}]
    world("trunks update carrier --disabled")
    assert world.json("trunks get carrier")["disabled"] is True
    world("trunks update carrier --enabled")
    assert world.json("trunks get carrier")["disabled"] is False
    world("lines update acme a --port 0")
    assert world.json("lines get acme a")["port"] == 0
    world(["tenants", "update", "acme", "--display-name", ""])
    assert world.json("tenants get acme")["display_name"] == ""


def test_what_is_recorded_and_how_is_said_on_the_command_line(world: Shell) -> None:
    world("numbers update 4001234567 --media record")
    assert world.json("numbers get 4001234567")["media"] == "MEDIA_MODE_RECORD"
    refused = "--set recording.unrecordable=UNRECORDABLE_CALL_IS_REFUSED"
    world(f"tenants update acme --set recording.retention=31536000s {refused}")
    world("tenants update acme --set recording.format=RECORDING_FORMAT_WAV")
    assert world.json("tenants get acme")["recording"] == {
        "format": "RECORDING_FORMAT_WAV",
        "retention": "31536000s",
        "unrecordable": "UNRECORDABLE_CALL_IS_REFUSED",
    }
    failed = world("tenants update acme --set recording.retention=3600s", code=1)
    assert "tenant.recording.retention: must be 1 to 36500 whole days" in failed.stderr


def test_a_field_within_another_is_set_and_the_rest_of_it_stays(world: Shell) -> None:
    world("numbers update 4001234567 --set limits.concurrent_calls=20 --set limits.calls_per_month=1000")
    world("numbers update 4001234567 --set limits.calls_per_second=3 --set max_call_duration=600s")
    number = world.json("numbers get 4001234567")
    assert number["limits"] == {"concurrent_calls": 20, "calls_per_second": 3, "calls_per_month": 1000}
    assert number["max_call_duration"] == "600s"
    assert "no field named" in world("numbers update 4001234567 --set limits.lines=1", code=1).stderr
    assert "Failed to parse number" in world("numbers update 4001234567 --set number.x=1", code=1).stderr
    both = "numbers update 4001234567 --set limits=null --set limits.concurrent_calls=1"
    assert "has no fields" in world(both, code=2).stderr


def test_fields_from_a_file(world: Shell, elsewhere: Path) -> None:
    (elsewhere / "group.yaml").write_text(
        "distribution: DISTRIBUTION_ROUND_ROBIN\nlines: [{line: a}, {line: b, weight: 3}]\n"
    )
    world("line-groups create acme desks --file group.yaml")
    assert world("line-groups list acme").stdout.splitlines()[1].split() == [
        "acme",
        "desks",
        "round",
        "robin",
        "a",
        "b:3",
        "7",
    ]
    (elsewhere / "two.yaml").write_text("a: b\n---\nc: d\n")
    assert "one document is expected, there are 2" in world("line-groups create acme x --file two.yaml", code=1).stderr


def test_a_draft_comes_in_force_when_it_is_activated(world: Shell, elsewhere: Path) -> None:
    (elsewhere / "flow.yaml").write_text("draft: {entry: a, nodes: [{id: a, dial: {lines: [{line: a}]}}]}\n")
    world("flows create acme main --file flow.yaml")
    assert world("flows list acme").stdout.splitlines()[1].split()[2] == "none"
    world("flows activate acme main")
    world("flows activate acme main --at 2099-01-01T00:00Z --etag 1", code=1)
    assert [revision["number"] for revision in world.json("flows get acme main")["revisions"]] == [1]
    world("flows rollback acme main 7", code=1)


def test_entries_of_a_list(world: Shell, elsewhere: Path) -> None:
    world("screening-lists create acme pests")
    (elsewhere / "entries.txt").write_text("13800001234\n1391234*  # a segment\n\n")
    told = world("screening-lists add-entries acme pests province:内蒙古 anonymous --file entries.txt").stdout
    assert told == "added 4 of 4 entries; the others made no difference\n"
    assert set(world("screening-lists entries acme pests").stdout.split()) == {
        "13800001234", "1391234*", "province:内蒙古", "anonymous"
    }  # fmt: skip
    assert "removed 1 of 2" in world("screening-lists remove-entries acme pests anonymous 13800009999").stdout
    world("screening-lists add-entries acme pests", code=2)
    assert "  '1+2': must be" in world("screening-lists add-entries acme pests 1+2", code=1).stderr


def test_a_bad_entry_of_a_file_is_told_with_its_line(
    world: Shell, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MOST_AT_ONCE", 2)
    world("screening-lists create acme pests")
    (elsewhere / "entries.txt").write_text("# who calls too often\n13800001234\n13800001235\n13800001236\n1+2\n")
    told = world("screening-lists add-entries acme pests --file entries.txt", code=1).stderr
    assert told.splitlines()[0] == "added 2 of the first 2 entries, then:"
    assert told.splitlines()[-1].startswith("  entries.txt:5: must be")
    assert "tenant" in world("screening-lists add-entries A pests --file entries.txt", code=1).stderr


def test_what_the_operator_shares(world: Shell) -> None:
    world("calendars create - national")
    assert world("calendars list -").stdout.splitlines()[1].split()[:2] == ["-", "national"]
    assert world("calendars list acme").stdout.splitlines() == ["OWNER  ID  NAME  DAYS  ETAG"]
    assert world("calendars delete - national").stdout == "deleted calendar -/national\n"


def test_api_keys_show_their_secret_once(world: Shell) -> None:
    created = world("api-keys create acme robot --role administrator --expires 2099-01-01").stdout
    secret = created.splitlines()[-1].rpartition(" ")[2]
    assert len(secret) > 20
    assert secret not in world("api-keys get acme robot").stdout
    assert world("api-keys list acme").stdout.splitlines()[1].split()[:3] == ["acme", "robot", "administrator"]
    world("api-keys create acme root --role operator", code=1)
    assert world("api-keys delete acme robot").stdout == "deleted API key acme/robot\n"
    world("api-keys get acme robot", code=1)


def test_lists_are_filtered_and_ordered(world: Shell) -> None:
    only = world(["lines", "list", "acme", "--filter", 'user = "100"', "--output", "json"]).stdout
    assert [line["id"] for line in json.loads(only)] == ["a"]
    turned = world(["lines", "list", "acme", "--order-by", "id desc", "--output", "json"]).stdout
    assert [line["id"] for line in json.loads(turned)] == ["b", "a"]
    assert "filter" in world(["lines", "list", "acme", "--filter", "user ="], code=1).stderr


def test_completion_scripts(shell: Shell, bare: Shell) -> None:
    for name in ("bash", "zsh", "fish"):
        assert "_SIGNALBOX_COMPLETE" in bare(f"completion {name}").stdout
    bare("completion tcsh", code=2)


def test_an_update_of_nothing_is_wrong_use(world: Shell) -> None:
    assert "nothing to change" in world("numbers update 4001234567", code=2).stderr


def test_deleting(world: Shell) -> None:
    assert world("numbers delete 4001234567 --etag 5").stdout == "deleted number 4001234567\n"
    assert world("lines delete acme a").stdout == "deleted line acme/a\n"
    world("lines delete acme b")
    world("tenants delete acme")
    world("trunks delete carrier")
    assert world.json("tenants list") == []


def test_a_refusal_is_told_with_its_reason(world: Shell) -> None:
    refused = world("lines delete acme a", code=1)
    assert refused.stderr == "Error: line acme/a is used by number 4001234567 (RESOURCE_IN_USE)\n"
    assert refused.stdout == ""
    conflict = world("numbers update 4001234567 --state suspended --etag 3", code=1)
    assert "you have etag 3, stored is 5 (ETAG_MISMATCH)" in conflict.stderr
    assert "(RESOURCE_NOT_FOUND)" in world("tenants get nobody", code=1).stderr
    assert "(RESOURCE_NOT_FOUND)" in world("lines list nobody", code=1).stderr


def test_every_offending_field_is_told(world: Shell) -> None:
    refused = world("numbers create 4007654321 --tenant acme --stage a,x --stage y", code=1)
    assert refused.stderr.splitlines() == [
        "Error: the request is not valid (INVALID_FIELD)",
        "  number.stages[0].lines[1]: tenant acme has no line x",
        "  number.stages[1].lines[0]: tenant acme has no line y",
    ]


def test_a_store_that_is_away_is_exit_code_3(shell: Shell, service: Service) -> None:
    service.store.available = False
    assert "(STORE_UNAVAILABLE)" in shell("tenants get acme", code=3).stderr


@pytest.mark.parametrize("stage", ["a:x", "a:", "a:1:2", "a:0.0001", "a:nan", "a:inf", "a:99999999999999999999"])
def test_a_ring_time_that_is_none(shell: Shell, stage: str) -> None:
    shell(f"numbers create 4001234567 --tenant acme --stage {stage}", code=2)


@pytest.mark.parametrize("text", ["a", "a,b", "a:20", "a,b,c:0.5", "a:1.25"])
def test_stages_print_as_they_are_given(text: str) -> None:
    assert stage_text(parse_stage(text)) == text


@pytest.mark.parametrize(
    "line",
    ["numbers create 4001234567 --stage a", "lines create acme a", "tenants create", "lines get acme",
     "numbers update 4001234567 --state maybe", "lines create acme a --user 1 --host ::1 --port 70000",
     "numbers update 4001234567 --tenant other", "tenants update acme --set limits", "tenants update acme --set =1",
     "tenants update acme --set limits..x=1", "flows rollback acme main 0", "flows activate acme main --at tomorrow"],
)  # fmt: skip
def test_wrong_use_is_exit_code_2(shell: Shell, line: str) -> None:
    shell(line, code=2)
