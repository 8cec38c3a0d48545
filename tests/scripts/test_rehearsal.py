"""The rehearsal itself: what is quick of it here, all of it in `make soak`."""

import os
import sqlite3
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.auth.migrations import HEAD
from scripts.rehearsal.backup import take
from scripts.rehearsal.commands import Commands
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import Key, add_past, new_key, records, rows_of_usage, used
from scripts.rehearsal.place import install
from scripts.rehearsal.stores import SQLITE, stores
from scripts.rehearsal.versions import NEXT, install_next
from scripts.rehearse_operations import rehearse


@pytest.fixture
def place(tmp_path):
    data = tmp_path / "data"
    (data / "collections" / "papers").mkdir(parents=True)
    (data / "collections" / "papers" / "spec.json").write_text("{}")
    return install(tmp_path / "here", data).given(BACKUP=tmp_path / "backup", RESTORED=tmp_path / "restored")


@pytest.fixture
def commands():
    return Commands()


def restored(place, commands):
    for name in ("restore-files", "restore-sqlite"):
        place.run(commands, name)
    return place.given(QRERANK_DATA_DIR=place.environment["RESTORED"])


def test_a_backup_that_is_taken_while_somebody_writes_is_whole(place, commands, monkeypatch):
    monkeypatch.setattr("scripts.rehearsal.keys._DAYS", 5)
    key, rows = new_key(place, "caller"), add_past(place)
    with sqlite3.connect(Path(place.environment["QRERANK_DATA_DIR"]) / "auth.sqlite3") as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM qrerank_usage")  # which the backup must not see
        take(commands, place, SQLITE)
        writer.rollback()
    again = restored(place, commands)
    assert rows_of_usage(again) == rows
    with records(again) as opened:
        assert [each.id for each in opened.keys.all()] == [key.id]
    assert used(again, Key("key_000000000003", ""))["requests"] == 3  # yesterday
    modes = {file.stat().st_mode & 0o077 for file in Path(place.environment["BACKUP"]).glob("auth*")}
    assert modes == {0}


def test_a_backup_is_not_taken_twice_into_one_folder(place, commands):
    new_key(place, "caller")
    take(commands, place, SQLITE)
    with pytest.raises(RuntimeError, match="already exists"):
        place.run(commands, "backup-sqlite")


def test_a_damaged_backup_is_not_restored(place, commands):
    new_key(place, "caller")
    take(commands, place, SQLITE)
    with (Path(place.environment["BACKUP"]) / "auth.sqlite3").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RuntimeError, match="sha256sum"):
        place.run(commands, "restore-files")
    assert not Path(place.environment["RESTORED"]).exists()


def test_the_version_to_come_has_one_migration_more(place, tmp_path):
    new = install_next(place, tmp_path / "new")
    config = Config()
    config.set_main_option("script_location", str(new.folder / "app" / "auth" / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [NEXT]
    assert new.run(Commands(), "upgrade-tables").strip() == NEXT > HEAD


def test_stores_are_those_that_were_asked_for():
    with stores([SQLITE]) as found:
        assert [(store.kind, store.new()) for store in found] == [(SQLITE, {})]


def test_a_place_has_this_version_and_none_of_the_callers_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("QRERANK_CANDIDATES", "7")
    place = install(tmp_path / "here", tmp_path / "data")
    assert "QRERANK_CANDIDATES" not in place.environment
    assert (place.folder / ".venv").resolve() == Path(sys.prefix).resolve()
    assert place.environment["PATH"] == os.environ["PATH"]


def test_what_does_not_hold_decides_the_exit_status(capsys):
    findings = Findings()
    findings.check("this", True, "1 of 1")
    assert findings.verdict() == 0
    findings.check("that", False)
    assert findings.verdict() == 1
    assert "2 checks in 0 s, 1 did not hold: that" in capsys.readouterr().out


@pytest.mark.soak
def test_the_whole_rehearsal_holds(capsys):
    assert rehearse() == 0, capsys.readouterr().out
