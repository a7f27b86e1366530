"""The command line of an rtpengine."""

from __future__ import annotations

import pytest
from signalbox.errors import ConfigurationError
from signalbox.media.rtpengine_config import RtpengineOptions, render

PLAIN = RtpengineOptions(control="127.0.0.1:2223", interface="192.0.2.1")


def test_rtp_goes_only_where_sdp_says() -> None:
    assert "--endpoint-learning=off" in render(PLAIN)


def test_no_file_of_the_package_is_read() -> None:
    assert "--config-file=none" in render(PLAIN)


def test_what_differs_between_nodes() -> None:
    options = RtpengineOptions("10.0.0.1:22", "10.0.0.1!198.51.100.7", port_min=1024, port_max=65535, capacity=7)
    arguments = render(options)
    for expected in (
        "--listen-ng=10.0.0.1:22",
        "--interface=10.0.0.1!198.51.100.7",
        "--port-min=1024",
        "--port-max=65535",
        "--max-sessions=7",
    ):
        assert expected in arguments


def test_the_sidecar_lists_calls_where_the_proxies_ask() -> None:
    assert {"--listen-ng=127.0.0.1:2223", "--listen-tcp-ng=127.0.0.1:2223"} <= {*render(PLAIN)}


def test_no_call_is_forgotten_before_the_sidecar_has_ended_it() -> None:
    arguments = render(RtpengineOptions(PLAIN.control, PLAIN.interface, held_dead_after_s=100))
    assert {"--timeout=700", "--silent-timeout=700"} <= {*arguments}


def test_user_space_unless_a_kernel_table_is_given() -> None:
    assert "--table=-1" in render(PLAIN)
    kernel = render(RtpengineOptions(PLAIN.control, PLAIN.interface, kernel_table=0))
    assert "--table=0" in kernel
    assert "--no-fallback" in kernel
    assert "--no-fallback" not in render(PLAIN)


def test_redis_is_never_needed_to_carry_calls() -> None:
    arguments = render(RtpengineOptions(PLAIN.control, PLAIN.interface, redis="127.0.0.1:6379/3"))
    assert "--redis=127.0.0.1:6379/3" in arguments
    assert "--no-redis-required" in arguments
    assert not [argument for argument in render(PLAIN) if "redis" in argument]


def test_keys_are_told_where_the_sidecar_listens() -> None:
    arguments = render(RtpengineOptions(PLAIN.control, PLAIN.interface, keys="127.0.0.1:7451"))
    assert "--dtmf-log-dest=127.0.0.1:7451" in arguments
    assert not [argument for argument in render(PLAIN) if "dtmf" in argument]


@pytest.mark.parametrize(
    ("first", "last"), [(30000, 30000), (40000, 30000), (80, 2000), (60000, 70000), (30000, 30062)]
)
def test_ports_that_carry_no_call_are_refused(first: int, last: int) -> None:
    with pytest.raises(ConfigurationError, match="no range of"):
        render(RtpengineOptions(PLAIN.control, PLAIN.interface, port_min=first, port_max=last))
