"""The proxy's instance file: pure text from settings, written safely, refused when a setting cannot be used."""

from __future__ import annotations

import pytest
from signalbox.edge import kamailio_config
from signalbox.errors import ConfigurationError
from signalbox.settings import EdgeSettings, KamailioSettings

TOKEN = "t" * 32
KEY = "k" * 32


def settings(tmp_path, **kamailio):
    values = {"runtime_dir": tmp_path / "run", "event_dir": tmp_path / "events", **kamailio}
    return EdgeSettings(id="edge-7", kamailio=KamailioSettings(**values))


def render(tmp_path, **kamailio):
    return kamailio_config.render(settings(tmp_path, **kamailio), token=TOKEN, cluster_keys=[KEY])


def test_sockets_workers_and_names_are_those_of_the_settings(tmp_path):
    text = render(tmp_path, listen=["192.0.2.1:5060", "[2001:db8::1]:5070"], udp_workers=7, tcp_workers=3)
    lines = text.splitlines()
    assert lines[0] == "#!KAMAILIO"
    assert "listen=udp:192.0.2.1:5060" in lines
    assert "listen=tcp:[2001:db8::1]:5070 advertise 192.0.2.1:5060" in lines
    assert "children=7" in lines
    assert "tcp_children=3" in lines
    assert '#!substdef "!EDGE_ID!edge-7!g"' in lines
    assert lines[-1].startswith('include_file "/')


def test_options_are_defined_only_when_set(tmp_path):
    plain = render(tmp_path)
    assert "FLOOD_LIMIT" not in plain
    assert "CALL_INTERVAL" not in plain
    assert "UNKNOWN_SOURCE_403" not in plain
    assert "STATIC_ROUTE" not in plain
    full = render(tmp_path, flood_requests=50, calls_per_second=40, unknown_source="403")
    assert '"!CALL_INTERVAL!2500!g"' in full
    assert '"!FLOOD_LIMIT!50!g"' in full
    assert "UNKNOWN_SOURCE_403" in full


def test_the_static_variant_names_its_destination(tmp_path):
    text = kamailio_config.render(
        settings(tmp_path), token=TOKEN, cluster_keys=[KEY], static_destination="sip:127.0.0.1:5090"
    )
    assert '"!STATIC_ROUTE!sip:127.0.0.1:5090!g"' in text


def test_what_is_advertised_goes_to_every_socket(tmp_path):
    text = render(tmp_path, listen=["10.0.0.1:5060"], advertise="203.0.113.5:5060")
    assert "listen=udp:10.0.0.1:5060 advertise 203.0.113.5:5060" in text
    assert '"!ADVERTISE_HOST!203.0.113.5!g"' in text


@pytest.mark.parametrize(
    ("kamailio", "name"),
    [
        ({"listen": ["name.example:5060"]}, "listen"),
        ({"listen": ["192.0.2.1:0"]}, "listen"),
        ({"advertise": "name.example:5060"}, "advertise"),
        ({"route_listen": "192.0.2.1:5066"}, "route_listen"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path, kamailio, name):
    with pytest.raises(ConfigurationError, match=f"edge.kamailio.{name}"):
        render(tmp_path, **kamailio)


def test_questions_go_to_loopback_only(tmp_path):
    bad = settings(tmp_path).model_copy(update={"ask_listen": "192.0.2.1:9007"})
    with pytest.raises(ConfigurationError, match=r"edge\.ask_listen"):
        kamailio_config.render(bad, token=TOKEN, cluster_keys=[KEY])


@pytest.mark.parametrize("secret", ["", "short", "x" * 129, 'with"quote' * 3, "with!mark" * 3, "new\nline" * 3])
def test_a_secret_that_could_break_the_file_is_refused(tmp_path, secret):
    with pytest.raises(ConfigurationError, match="token"):
        kamailio_config.render(settings(tmp_path), token=secret, cluster_keys=[KEY])
    with pytest.raises(ConfigurationError, match="cluster key"):
        kamailio_config.render(settings(tmp_path), token=TOKEN, cluster_keys=[secret])


def with_keys(tmp_path, *keys):
    return kamailio_config.render(settings(tmp_path), token=TOKEN, cluster_keys=keys)


def test_the_first_key_signs_and_the_others_are_accepted(tmp_path):
    assert "ACCEPTED_KEYS" not in with_keys(tmp_path, KEY)
    text = with_keys(tmp_path, "n" * 32, KEY, "o" * 32)
    assert f'"!CLUSTER_KEY!{"n" * 32}!g"' in text
    assert f'"!ACCEPTED_KEYS!{KEY}.{"o" * 32}!g"' in text


@pytest.mark.parametrize("keys", [[], [KEY] * 5])
def test_there_are_one_to_four_keys_of_the_cluster(tmp_path, keys):
    with pytest.raises(ConfigurationError, match=r"edge\.cluster_key_file: 1 to 4 keys are wanted, one a line"):
        with_keys(tmp_path, *keys)


def test_an_accepted_key_that_could_break_the_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cluster key"):
        with_keys(tmp_path, KEY, "with.dot" * 3)


def test_a_directory_that_could_break_the_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="runtime_dir"):
        render(tmp_path, runtime_dir=tmp_path / 'a"b')


def test_the_file_is_for_our_user_only_and_nothing_is_left_beside_it(tmp_path):
    path = kamailio_config.write(settings(tmp_path), token=TOKEN, cluster_keys=[KEY])
    assert path == tmp_path / "run" / "kamailio.cfg"
    assert path.stat().st_mode & 0o777 == 0o600
    assert TOKEN in path.read_text()
    assert sorted(file.name for file in path.parent.iterdir()) == ["kamailio.cfg", "tables"]
    assert sorted(file.name for file in (path.parent / "tables").iterdir()) == sorted(kamailio_config.TABLES)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = kamailio_config.write(settings(tmp_path), token=TOKEN, cluster_keys=[KEY])
    before = path.read_text()

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        kamailio_config.write(settings(tmp_path, udp_workers=9), token=TOKEN, cluster_keys=[KEY])
    assert path.read_text() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["kamailio.cfg", "tables"]


def test_tables_that_are_there_are_the_last_known_state(tmp_path):
    kamailio_config.write(settings(tmp_path), token=TOKEN, cluster_keys=[KEY])
    table = tmp_path / "run" / "tables" / "address"
    table.write_text("known\n")
    kamailio_config.write(settings(tmp_path), token=TOKEN, cluster_keys=[KEY])
    assert table.read_text() == "known\n"


def test_the_command_runs_in_the_foreground_with_the_memory_of_the_settings(tmp_path):
    one = settings(tmp_path, shared_memory_mb=300, private_memory_mb=20)
    command = kamailio_config.command(one, tmp_path / "x.cfg")
    assert command[:3] == ["kamailio", "-f", str(tmp_path / "x.cfg")]
    assert "-DD" in command
    assert command[command.index("-m") + 1] == "300"
    assert command[command.index("-M") + 1] == "20"


def test_no_two_proxies_make_the_same_cookies_for_rtpengine(tmp_path):
    def server_id(id, token):
        edge = settings(tmp_path).model_copy(update={"id": id})
        text = kamailio_config.render(edge, token=token, cluster_keys=[KEY])
        (line,) = [one for one in text.splitlines() if one.startswith("server_id=")]
        return int(line.removeprefix("server_id="))

    ids = {server_id(f"edge-{n}", token) for n in range(50) for token in (TOKEN, "u" * 32)}
    assert len(ids) == 100
    assert all(0 <= one < 1 << 31 for one in ids)
