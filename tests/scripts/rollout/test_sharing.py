import pytest

from app.auth.stores import open_records
from app.settings import Settings
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import Admin, Key
from scripts.rollout.sharing import A_MINUTE, AN_HOUR, SETTINGS, SPENT, Sharing, ask, in_turn, seconds_until
from tests.app.live import live


@pytest.fixture
def services(tmp_path, monkeypatch):
    """Two servers that share nothing but an administrator's key, and that key."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    key = "an administrator's key"
    found = [Settings(model="hash", data_dir=tmp_path / name, auth={"enabled": True}) for name in ("a", "b")]
    made = []
    for settings in found:
        records = open_records(settings.auth, settings.data_dir)
        stored, key = records.keys.create("admin", "admin", "unlimited")
        made.append(Key(stored.id, key))
        records.database.close()
    with live(found[0], monkeypatch) as first, live(found[1], monkeypatch) as second:
        yield (first.port, second.port), made


def test_one_server_shares_everything_with_itself(services, capsys):
    (port, _), (key, _) = services
    findings = Findings()
    sharing = Sharing(findings, Admin(key))
    sharing.before([port, port])
    sharing.made("during the rollout", port, port)
    sharing.after([port, port])
    assert findings.failed == []
    assert findings.held == 8
    said = capsys.readouterr().out
    assert f"{A_MINUTE // 2} + {A_MINUTE // 2} passed, 20 were refused" in said
    assert f"{SPENT} before, {AN_HOUR - SPENT} now, 10 refused" in said


def test_servers_that_share_no_keys_are_found_out(services, monkeypatch):
    monkeypatch.setattr("scripts.rollout.sharing._PATIENCE_S", 0.2)
    (first, second), (key, _) = services
    findings = Findings()
    Sharing(findings, Admin(key)).before([first, second])
    assert len(findings.failed) == 4


def test_servers_that_count_alone_are_found_out(services):
    ports, keys = services
    told = [in_turn([port], key, 3) for port, key in zip(ports, keys, strict=True)]
    assert [each.status for each in told[0] + told[1]] == [200] * 6
    assert ask(ports[1], keys[0]).status == 401


def test_what_does_not_come_true_takes_for_ever(services, monkeypatch):
    (port, _), (key, _) = services
    assert seconds_until(port, key, 200) < float("inf")
    monkeypatch.setattr("scripts.rollout.sharing._PATIENCE_S", 0.2)
    assert seconds_until(port, key, 401) == float("inf")
