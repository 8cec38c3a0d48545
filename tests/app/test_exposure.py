"""Where a service may be started."""

import sys

import pytest

from app import cli
from app.auth.records import open_records
from app.errors import KeysMisconfigured
from app.exposure import Exposed, check_start, is_public
from app.settings import Settings
from tests.app.lines import logged

EVERYWHERE = "0.0.0.0"  # noqa: S104 - to be refused


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_this_machine_is_not_public(host):
    assert not is_public(host)


@pytest.mark.parametrize(
    "host", [EVERYWHERE, "::", "", "192.168.1.7", "10.0.0.1", "8.8.8.8", "fe80::1", "no-such-host.invalid"]
)
def test_everything_else_is(host):
    assert is_public(host)


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
