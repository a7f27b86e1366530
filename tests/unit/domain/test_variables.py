"""Variables of a call and templates: what is a name, what is cut, what is no template."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.flow import FlowGraph, HangUpNode, MenuBranch, MenuNode, Node, SurveyNode, TransferNode
from signalbox.domain.flow_nodes import (
    ConditionBranch,
    ConditionNode,
    MessageNode,
    ReceivedValue,
    RequestNode,
    SetVariableNode,
)
from signalbox.domain.flow_variables import faults
from signalbox.domain.variables import (
    SET_MAX,
    TOTAL_MAX,
    VALUE_MAX,
    TemplateError,
    Values,
    assigned,
    is_name,
    names,
    rendered,
)

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
VALUES = st.dictionaries(NAMES, st.text(max_size=300), max_size=SET_MAX)


@pytest.mark.parametrize("name", ["a", "order_1", "x" * 32])
def test_a_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "A", "1a", "_a", "a-b", "ä", "a b", "x" * 33, "a\n"])
def test_no_name(name: str) -> None:
    assert not is_name(name)


def test_a_template_has_values_in_place_of_names() -> None:
    given = {"caller": "13900001234", "topic": "{sales}"}
    assert rendered("{caller}: {topic}{topic} {{caller}}", given.__getitem__) == "13900001234: {sales}{sales} {caller}"
    assert names("{caller}: {topic}{topic} {{caller}}") == ("caller", "topic", "topic")
    assert rendered("", given.__getitem__) == ""


@pytest.mark.parametrize("text", ["{", "}", "{A}", "{}", "{a b}", "a } b", "{{{", "{a}}", "{{a}"])
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(TemplateError, match=r"has a single [{}]"):
        names(text)


@given(st.text())
def test_any_text_with_its_braces_doubled_is_a_template_of_itself(text: str) -> None:
    template = text.replace("{", "{{").replace("}", "}}")
    assert rendered(template, lambda name: "?") == text
    assert names(template) == ()


def test_a_value_is_cut_and_has_no_control_characters() -> None:
    assert assigned((), "a", "x" * 257) == (("a", "x" * VALUE_MAX),)
    assert assigned((), "a", "1\n2\t3\u20284\x9f") == (("a", "1 2 3 4 "),)


def test_a_variable_is_set_anew_and_forgotten() -> None:
    once = assigned(assigned((), "b", "1"), "a", "2")
    assert once == (("a", "2"), ("b", "1"))
    assert assigned(once, "b", "3") == (("a", "2"), ("b", "3"))
    assert assigned(once, "b", "") == (("a", "2"),)


def test_the_last_that_is_set_is_cut_where_all_would_be_too_long() -> None:
    values: Values = ()
    for number in range(SET_MAX):
        values = assigned(values, f"name_{number:02}", "号" * VALUE_MAX)
    sizes = [len(name) + len(value.encode()) for name, value in values]
    assert TOTAL_MAX - 3 < sum(sizes) <= TOTAL_MAX
    assert values[0] == ("name_00", "号" * VALUE_MAX)
    assert assigned(values, "another", "x") in (values, tuple(sorted([*values, ("another", "x")])))


@given(VALUES)
def test_what_is_set_keeps_to_its_limits(given: dict[str, str]) -> None:
    values: Values = ()
    for name, value in given.items():
        values = assigned(values, name, value)
    assert [name for name, _ in values] == sorted({name for name, _ in values})
    assert sum(len(name.encode()) + len(value.encode()) for name, value in values) <= TOTAL_MAX
    assert all(0 < len(value) <= VALUE_MAX and "\n" not in value for _, value in values)


END = HangUpNode()


def wrong(**nodes: Node) -> dict[str, str]:
    return dict(faults(FlowGraph("a", nodes)))


def test_a_flow_knows_what_its_nodes_set() -> None:
    ask = ConditionNode("topic", (ConditionBranch(("sales",), "end"),), "end")
    assert not wrong(a=SetVariableNode("topic", "{caller} {caller_city} {time} {language}", "b"), b=ask, end=END)
    assert wrong(a=SetVariableNode("other", "{topic}{topic}", "b"), b=ask, end=END) == {
        "nodes[0].set_variable.value": "node a: no node sets the variable topic",
        "nodes[1].condition.variable": "node b: no node sets the variable topic",
    }


def test_what_is_known_of_every_call_is_not_set_and_the_time_is_no_condition() -> None:
    by_time = ConditionNode("time", (ConditionBranch(("10:00",), "end"),), "end")
    assert wrong(a=SetVariableNode("caller", "1", "b"), b=by_time, end=END) == {
        "nodes[0].set_variable.name": "node a: caller is known of every call and cannot be set",
        "nodes[1].condition.variable": "node b: time is for templates; a schedule branches by the time",
    }


def test_the_language_may_be_set_and_asked_for_though_nothing_sets_it() -> None:
    assert not wrong(a=SetVariableNode("language", "en", "end"), end=END)
    assert not wrong(a=ConditionNode("language", (ConditionBranch(("en",), "end"),), "end"), end=END)


def test_a_menu_sets_what_was_keyed_and_the_language() -> None:
    branches = (MenuBranch("1", "end", "zh"), MenuBranch("2", "end", "en"))
    menu = MenuNode("p", branches, "end", "end", variable="order", entered="b")
    assert not wrong(a=menu, b=SetVariableNode("x", "{order} {language}", "end"), end=END)
    assert wrong(a=replace(menu, variable="number"), end=END) == {
        "nodes[0].menu.variable": "node a: number is known of every call and cannot be set"
    }


def test_a_survey_sets_the_score() -> None:
    by_score = ConditionNode("score", (ConditionBranch(("1",), "end"),), "end")
    assert not wrong(a=SurveyNode("p", next="b", variable="score"), b=by_score, end=END)
    assert wrong(a=SurveyNode("p", next="b", variable="time"), b=END) == {
        "nodes[0].survey.variable": "node a: time is known of every call and cannot be set"
    }


def test_a_request_sends_what_is_known_and_sets_what_it_receives() -> None:
    ask = RequestNode("u", "k", "end", "end", send=("caller", "time", "vip"), receive=(ReceivedValue("x", "vip"),))
    assert not wrong(a=ask, end=END)
    assert wrong(a=replace(ask, send=("order",), receive=(ReceivedValue("x", "number"),)), end=END) == {
        "nodes[0].request.receive[0].variable": "node a: number is known of every call and cannot be set",
        "nodes[0].request.send[0]": "node a: no node sets the variable order",
    }


def test_a_message_names_what_is_known() -> None:
    assert wrong(a=MessageNode("106", "{caller} {time} {order} {"), end=END) == {
        "nodes[0].message.text": "node a: has a single {, must be {{ or stand about the name of a variable"
    }
    assert wrong(a=MessageNode("106", "{caller} {time} {order}"), end=END) == {
        "nodes[0].message.text": "node a: no node sets the variable order"
    }


def test_a_transfer_may_go_where_a_variable_says() -> None:
    assert not wrong(a=TransferNode(number="{caller}", prefixes=("1",)), end=END)
    assert wrong(a=TransferNode(number="{branch}", prefixes=("1",)), end=END) == {
        "nodes[0].transfer.number": "node a: no node sets the variable branch"
    }


def test_a_flow_sets_16_variables_at_most() -> None:
    nodes = {f"n{at}": SetVariableNode(f"v{min(at, 16)}", "x", f"n{at + 1}") for at in range(18)}
    assert wrong(**nodes, n18=END) == {
        "nodes[16].set_variable.name": "node n16: the nodes of a flow set at most 16 variables",
        "nodes[17].set_variable.name": "node n17: the nodes of a flow set at most 16 variables",
    }


def test_a_template_of_a_stored_flow_that_is_none_is_a_fault() -> None:
    assert wrong(a=SetVariableNode("x", "{", "end"), end=END) == {
        "nodes[0].set_variable.value": ("node a: has a single {, must be {{ or stand about the name of a variable")
    }
