"""The quick parts of the rehearsals, and failures that they must detect; `make soak` runs all of them."""

import sqlite3
from pathlib import Path

import pytest

from scripts import rehearse_operations, rehearse_rollout
from scripts.rehearsal.driver import Commands, create_admin, install
from scripts.rehearsal.load import Load
from scripts.rehearse_operations import back_up
from scripts.rehearse_rollout import judge_kill
from scripts.trial import Findings


@pytest.fixture
def place(tmp_path):
    """An installation with a key, and a backup of it that was taken during a write."""
    place = install(tmp_path / "here", Commands(), BACKUP=tmp_path / "backup", RESTORED=tmp_path / "restored")
    (tmp_path / "here" / "data" / "collections" / "papers").mkdir(parents=True)
    create_admin(place)
    with sqlite3.connect(tmp_path / "here" / "data" / "auth.sqlite3") as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM qrerank_keys")  # uncommitted: not part of the backup
        back_up(place, "sqlite")
        writer.rollback()
    return place


def test_a_backup_that_is_taken_while_somebody_writes_is_whole_and_for_nobody_else(place):
    for name in ("restore-files", "restore-sqlite"):
        place.run(name)
    restored = place.with_settings(QRERANK_DATA_DIR=place.environment["RESTORED"])
    assert [key["name"] for key in restored.qrerank("keys", "list")["data"]] == ["admin"]
    assert {file.stat().st_mode & 0o077 for file in Path(place.environment["BACKUP"]).glob("auth*")} == {0}
    with pytest.raises(RuntimeError, match="already exists"):
        place.run("backup-sqlite")


def test_a_damaged_backup_is_not_restored(place):
    with (Path(place.environment["BACKUP"]) / "auth.sqlite3").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RuntimeError, match="sha256sum"):
        place.run("restore-files")
    assert not Path(place.environment["RESTORED"]).exists()


@pytest.mark.parametrize(
    ("errors", "clients", "holds"),
    [(["502"], 6, True), (["502"], 7, False), (["502"] * 4, 1, False)],  # one too many; one lost for good
)
def test_only_requests_in_flight_may_fail_at_a_kill_and_none_may_be_lost(errors, clients, holds):
    load, findings = Load("any", "http://nowhere", attempts=4), Findings()
    load.sent = [["503"], [], *[errors] * clients]
    judge_kill(findings, load, failed_before=1)
    assert (not findings.failed) == holds


@pytest.mark.soak
def test_the_operations_hold(capsys):
    assert rehearse_operations.rehearse() == 0, capsys.readouterr().out


@pytest.mark.soak
def test_the_rolling_update_holds(capsys):
    assert rehearse_rollout.rehearse("hash") == 0, capsys.readouterr().out
