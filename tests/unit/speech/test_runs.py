"""Text in two scripts is cut where the voice changes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.errors import InvalidFieldError
from signalbox.speech.runs import cut

ZH, GB, US = "cmn-latn-pinyin", "en-gb", "en-us"


@pytest.mark.parametrize(
    ("text", "voice", "runs"),
    [
        ("欢迎致电。", ZH, [(ZH, "欢迎致电。")]),
        ("欢迎致电 Acme 公司，请按 1。", ZH, [(ZH, "欢迎致电 "), (GB, "Acme "), (ZH, "公司，请按 1。")]),
        ("A座3楼", ZH, [(GB, "A"), (ZH, "座3楼")]),
        ("“VIP”客户", ZH, [(GB, "“VIP”"), (ZH, "客户")]),
        ("5G", ZH, [(ZH, "5"), (GB, "G")]),
        ("５Ｇ", ZH, [(ZH, "5"), (GB, "G")]),
        ("For Chinese, 中文服务, press 2.", US, [(US, "For Chinese, "), (ZH, "中文服务, "), (US, "press 2.")]),
        ("Café, naïve", GB, [(GB, "Café, naïve")]),
        ("4001234567", ZH, [(ZH, "4001234567")]),
        ("…", GB, [(GB, "…")]),
        ("", ZH, [(ZH, "")]),
        ("〇㐀𠀀", ZH, [(ZH, "〇㐀𠀀")]),
    ],
)
def test_runs(text: str, voice: str, runs: list[tuple[str, str]]) -> None:
    assert cut(text, voice) == runs


@pytest.mark.parametrize("character", ["я", "α", "ひ", "カ", "한", "ا"])
def test_other_scripts_are_refused(character: str) -> None:
    with pytest.raises(InvalidFieldError, match=f"^text: '{character}' is of a script that cannot be spoken"):
        cut(f"请按{character}", ZH)


@given(
    text=st.text("中文好 AbZ19,。é\u0301\n-"),
    voice=st.sampled_from([ZH, GB, US]),
)
def test_nothing_is_lost_and_no_voice_follows_itself(text: str, voice: str) -> None:
    runs = cut(text, voice)
    assert "".join(run.text for run in runs) == text
    assert all(one.voice != other.voice for one, other in pairwise(runs))
