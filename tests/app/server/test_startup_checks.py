"""Where a service may be started."""

import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from app.auth.stores import open_records
from app.cli import main as cli
from app.errors import KeysMisconfigured
from app.server.startup_checks import Exposed, bare, check_start, free_port, is_public
from app.settings import Settings
from app.telemetry.metrics_port import PortTaken, url_of
from tests.app.lines import logged

EVERYWHERE = "0.0.0.0"  # noqa: S104 - to be refused


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_this_machine_is_not_public(host):
    assert not is_public(host)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "", "192.168.1.7", "10.0.0.1", "8.8.8.8", "fe80::1"])
def test_everything_else_is(host):
    assert is_public(host)


NO_HOSTS = ["no-such-host.invalid", "x" * 300, "a..b", "\udce9", "[/x]"]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_address_is_refused(host):
    for ask in (is_public, partial(free_port, port=0)):
        with pytest.raises(PortTaken, match="is not an address to listen on"):
            ask(host)


@pytest.mark.parametrize(
    ("host", "taken", "url"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "localhost", "http://localhost:80"),
        (EVERYWHERE, EVERYWHERE, f"http://{EVERYWHERE}:80"),
        ("", "", "http://localhost:80"),
        ("::1", "::1", "http://[::1]:80"),
        ("[::1]", "::1", "http://[::1]:80"),
        ("::", "::", "http://[::]:80"),
        ("[::]", "::", "http://[::]:80"),
    ],
)
def test_a_host_is_taken_with_and_without_brackets_and_its_url_has_them(host, taken, url):
    assert bare(host) == taken
    assert bare(taken) == taken
    assert url_of(taken, 80) == url


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "::", ""])
def test_a_port_is_had_only_where_nobody_listens(host):
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    port = free_port(host, 0)
    assert port > 0
    assert free_port(host, port) == port  # it was given back
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family), pytest.raises(PortTaken, match="already in use; stop"):
        free_port(host, port)
    assert free_port(host, port) == port


def test_an_address_of_another_machine_cannot_be_had():
    with pytest.raises(PortTaken, match=r"http://\[2001:db8::1\]:80 cannot be served: .*--host"):
        free_port("2001:db8::1", 80)


def test_without_keys_only_this_machine_is_served_unless_that_is_wanted(tmp_path, caplog):
    for host in ("127.0.0.1", EVERYWHERE):
        check_start(Settings(data_dir=tmp_path, auth={"force_open": True}), host)
    assert caplog.text.count("QRERANK_AUTH__FORCE_OPEN=true") == 1
    check_start(Settings(data_dir=tmp_path), "localhost")
    with pytest.raises(Exposed):
        check_start(Settings(data_dir=tmp_path), EVERYWHERE)
    check_start(Settings(data_dir=tmp_path, auth={"enabled": True}), EVERYWHERE)


def test_the_command_says_both_ways_out(monkeypatch, tmp_path):
    monkeypatch.setenv("QRERANK_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["qrerank", "serve", "--host", EVERYWHERE])
    with logged() as lines, pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    told = " ".join(lines.text.split())
    assert "QRERANK_AUTH__ENABLED=true" in told
    assert "QRERANK_AUTH__FORCE_OPEN=true" in told


def test_whoever_has_no_key_yet_is_told_how_to_make_one(tmp_path, caplog):
    settings = Settings(data_dir=tmp_path, auth={"enabled": True})
    check_start(settings, "127.0.0.1")
    assert "qrerank keys create" in caplog.text
    caplog.clear()
    records = open_records(settings.auth, settings.data_dir)
    records.keys.create("", "user", "public")
    check_start(settings, "127.0.0.1")
    assert caplog.text == ""


def test_what_mends_itself_is_no_reason_not_to_start_and_what_does_not_is(tmp_path, caplog):
    lost = Settings(data_dir=tmp_path, auth={"enabled": True, "database_url": "postgresql://u:p@127.0.0.1:1/d"})
    check_start(lost, "127.0.0.1")
    assert "tried again while this runs" in caplog.text
    check_start(Settings(data_dir=tmp_path, auth={"enabled": True}), "127.0.0.1")
    (tmp_path / "pepper").write_text("another-of-at-least-thirty-two-characters")
    with pytest.raises(KeysMisconfigured):
        check_start(Settings(data_dir=tmp_path, auth={"enabled": True}), "127.0.0.1")


def test_nobody_could_see_metrics_that_need_a_key_where_there_are_none(tmp_path):
    wanted = {"access": "admin"}
    with pytest.raises(Exposed, match="QRERANK_AUTH__ENABLED=true"):
        check_start(Settings(data_dir=tmp_path, operations=wanted), "127.0.0.1")
    check_start(Settings(data_dir=tmp_path, operations=wanted, auth={"enabled": True}), "127.0.0.1")
