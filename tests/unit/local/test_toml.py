"""Settings written as TOML read back as they were."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox_local import toml

_VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\x7f", exclude_categories=["Cs"])),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: round(value, 3)),
    st.lists(st.text(st.sampled_from('ab"\\ \n:/.'))),
)
_KEYS = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
_TREES = st.recursive(
    st.dictionaries(_KEYS, _VALUES, max_size=3),
    lambda inner: st.dictionaries(_KEYS, st.one_of(_VALUES, inner), max_size=3),
    max_leaves=8,
)


@given(_TREES)
def test_what_is_written_reads_back_the_same(tree: dict[str, object]) -> None:
    assert tomllib.loads(toml.dumps(tree)) == tree


def test_a_path_is_written_as_text() -> None:
    assert tomllib.loads(toml.dumps({"edge": {"state_dir": Path("/var/x")}})) == {"edge": {"state_dir": "/var/x"}}


def test_a_value_that_toml_has_no_form_for_is_refused() -> None:
    with pytest.raises(TypeError, match="no TOML for"):
        toml.dumps({"a": object()})


def test_overlays_reach_into_tables_and_replace_lists() -> None:
    base = {"edge": {"id": "edge-1", "routing": ["a"], "kamailio": {"udp_workers": 4}}}
    merged = toml.merge(base, {"edge": {"kamailio": {"tcp_workers": 1}}}, {"edge": {"routing": ["b"]}})
    assert merged == {"edge": {"id": "edge-1", "routing": ["b"], "kamailio": {"udp_workers": 4, "tcp_workers": 1}}}
    assert base["edge"]["kamailio"] == {"udp_workers": 4}
