"""Startup checks: public addresses, API keys, and free ports."""

import resource
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from app.auth.stores import open_records
from app.cli import main as cli
from app.errors import KeysMisconfigured
from app.server.startup_checks import Exposed, allow_open_files, bare, check_start, free_port, is_public
from app.settings import Settings
from app.telemetry.metrics_port import PortTaken, url_of
from tests.app.lines import logged

EVERYWHERE = "0.0.0.0"  # noqa: S104 - never bound


def test_as_many_files_may_be_open_as_the_system_allows():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
        allow_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_loopback_addresses_are_not_public(host):
    assert not is_public(host)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "", "192.168.1.7", "10.0.0.1", "8.8.8.8", "fe80::1"])
def test_other_addresses_are_public(host):
    assert is_public(host)


NO_HOSTS = ["no-such-host.invalid", "x" * 300, "a..b", "\udce9", "[/x]"]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_an_invalid_host_is_refused(host):
    for check in (is_public, partial(free_port, port=0)):
        with pytest.raises(PortTaken, match="is not an address to listen on"):
            check(host)


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
def test_a_port_is_free_only_if_nothing_listens_there(host):
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    port = free_port(host, 0)
    assert port > 0
    assert free_port(host, port) == port  # it was released
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family), pytest.raises(PortTaken, match="already in use; stop"):
        free_port(host, port)
    assert free_port(host, port) == port


def test_an_address_of_another_machine_cannot_be_bound():
    with pytest.raises(PortTaken, match=r"http://\[2001:db8::1\]:80 cannot be served: .*--host"):
        free_port("2001:db8::1", 80)


def test_without_authentication_only_loopback_is_served_unless_forced(tmp_path, caplog):
    for host in ("127.0.0.1", EVERYWHERE):
        check_start(Settings(data_dir=tmp_path, auth={"force_open": True}), host)
    assert caplog.text.count("QRERANK_AUTH__FORCE_OPEN=true") == 1
    check_start(Settings(data_dir=tmp_path), "localhost")
    with pytest.raises(Exposed):
        check_start(Settings(data_dir=tmp_path), EVERYWHERE)
    check_start(Settings(data_dir=tmp_path, auth={"enabled": True}), EVERYWHERE)


def test_the_command_names_both_remedies(monkeypatch, tmp_path):
    monkeypatch.setenv("QRERANK_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["qrerank", "serve", "--host", EVERYWHERE])
    with logged() as lines, pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    message = " ".join(lines.text.split())
    assert "QRERANK_AUTH__ENABLED=true" in message
    assert "QRERANK_AUTH__FORCE_OPEN=true" in message


def test_without_keys_a_warning_says_how_to_create_one(tmp_path, caplog):
    settings = Settings(data_dir=tmp_path, auth={"enabled": True})
    check_start(settings, "127.0.0.1")
    assert "qrerank keys create" in caplog.text
    caplog.clear()
    records = open_records(settings.auth, settings.data_dir)
    records.keys.create("", "user", "public")
    check_start(settings, "127.0.0.1")
    assert caplog.text == ""


def test_a_transient_error_of_the_keys_does_not_prevent_the_start_and_a_permanent_one_does(tmp_path, caplog):
    lost = Settings(data_dir=tmp_path, auth={"enabled": True, "database_url": "postgresql://u:p@127.0.0.1:1/d"})
    check_start(lost, "127.0.0.1")
    assert "tries again while it runs" in caplog.text
    check_start(Settings(data_dir=tmp_path, auth={"enabled": True}), "127.0.0.1")
    (tmp_path / "pepper").write_text("another-of-at-least-thirty-two-characters")
    with pytest.raises(KeysMisconfigured):
        check_start(Settings(data_dir=tmp_path, auth={"enabled": True}), "127.0.0.1")


def test_metrics_for_admins_need_authentication(tmp_path):
    admin_only = {"access": "admin"}
    with pytest.raises(Exposed, match="QRERANK_AUTH__ENABLED=true"):
        check_start(Settings(data_dir=tmp_path, operations=admin_only), "127.0.0.1")
    check_start(Settings(data_dir=tmp_path, operations=admin_only, auth={"enabled": True}), "127.0.0.1")


@pytest.mark.parametrize("below", ["", "data", "data/of/ours"])
def test_a_file_where_the_data_are_to_be_is_named(tmp_path, below):
    check_start(Settings(data_dir=tmp_path / "new" / below), "127.0.0.1")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file'$"):
        check_start(Settings(data_dir=tmp_path / "file" / below), "127.0.0.1")
