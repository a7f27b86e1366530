"""What several tests of the chart need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.settings import Settings, load
from support.chart import NODE, Rendered, pod_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Rendered, str], Settings]:
    """The settings that a component's process reads on a node."""

    def read(rendered: Rendered, component: str, name: str | None = None, node: Mapping[str, str] = NODE) -> Settings:
        pod = pod_of(rendered.workload(component))
        (container,) = [one for one in pod["spec"]["containers"] if one["name"] == (name or component)]
        for key, value in rendered.settings_of(container, node).items():
            monkeypatch.setenv(key, value)
        return load(None)

    return read
