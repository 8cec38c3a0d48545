"""The quick parts of the rehearsals, failures that they must detect, and the pages; `make soak` runs all of them."""

import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from app.api.problems import KINDS
from app.telemetry.catalogue import FAMILIES
from scripts import rehearse_operations, rehearse_rollout
from scripts.rehearsal.driver import PAGES, Commands, Installation, create_admin, install
from scripts.rehearsal.load import Load
from scripts.rehearse_operations import back_up
from scripts.rehearse_rollout import judge_kill
from scripts.trial import Findings, free_port
from scripts.wheel import ROOT

pytestmark = pytest.mark.slow

FOLDER = ROOT / "docs" / "operations"
TEXTS = {page: (FOLDER / f"{page}.md").read_text() for page in ("README", "capacity", *PAGES)}


def installed(folder: Path, **settings: object) -> Installation:
    """An installation with a key."""
    folders = {"BACKUP": folder / "backup", "RESTORED": folder / "restored"}
    place = install(folder / "here", Commands(), **folders, **settings)
    create_admin(place)
    return place


def restored(place: Installation) -> Installation:
    for name in ("restore-files", "restore-sqlite"):
        place.run(name)
    return place.with_settings(QRERANK_DATA_DIR=place.environment["RESTORED"])


@pytest.fixture
def place(tmp_path):
    """With a backup that was taken during a write."""
    place = installed(tmp_path)
    (tmp_path / "here" / "data" / "collections" / "papers").mkdir(parents=True)
    with sqlite3.connect(tmp_path / "here" / "data" / "auth.sqlite3") as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM qrerank_keys")  # uncommitted: not part of the backup
        back_up(place, "sqlite")
        writer.rollback()
    return place


def test_a_backup_that_is_taken_while_somebody_writes_is_whole_and_for_nobody_else(place):
    assert [key["name"] for key in restored(place).qrerank("keys", "list")["data"]] == ["admin"]
    assert {file.stat().st_mode & 0o077 for file in Path(place.environment["BACKUP"]).glob("auth*")} == {0}
    with pytest.raises(RuntimeError, match="already exists"):
        place.run("backup-sqlite")


def test_a_service_without_collections_whose_pepper_is_in_the_environment_is_backed_up(tmp_path):
    back_up(place := installed(tmp_path, QRERANK_AUTH__PEPPER="p" * 32), "sqlite")
    (at := restored(place)).run("restore-verify")
    assert [key["name"] for key in at.qrerank("keys", "list")["data"]] == ["admin"]


def test_restored_collections_are_named_each_once_with_their_log_and_a_misspelt_setting_before_an_upgrade(tmp_path):
    place = installed(tmp_path)
    place.qrerank("index", "build", "birds", str(ROOT / "app" / "pages" / "LICENSES.txt"))
    place.qrerank("index", "alias", "current", "birds")
    back_up(place, "sqlite")
    at = restored(place).with_settings(NEW_PORT=free_port())
    assert [line for line in at.run("restore-verify").splitlines() if line.endswith(": holds")] == ["birds: holds"]
    assert at.qrerank("index", "stats", "birds")["journal"] == "write-ahead log"
    assert "0 errors" in at.run("upgrade-settings")
    with pytest.raises(RuntimeError, match="exit status 1"):
        at.with_settings(QRERANK_TYPO=1).run("upgrade-settings")


def test_a_damaged_backup_is_not_restored(place):
    with (Path(place.environment["BACKUP"]) / "auth.sqlite3").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RuntimeError, match="exit status 1: sha256sum: WARNING"):
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


def test_a_command_runs_as_it_stands_where_it_is_told_and_counts_as_run(tmp_path):
    text = "```sh fails\nfalse\necho on\n```\n1. b\n\n   ```sh where\n   pwd\n   echo $A\n   ```\n"
    for page in PAGES:
        (tmp_path / f"{page}.md").write_text(text)
    commands = Commands(tmp_path)
    place = Installation(tmp_path, os.environ, commands).with_settings(A=1)
    assert place.run("where").split() == [str(tmp_path), "1"]
    assert commands.unused == {"fails"}
    with pytest.raises(RuntimeError, match=r"false\necho on\n …: exit status 1"):
        place.run("fails")


def test_every_shell_block_of_the_pages_is_sound_and_has_a_name_of_its_own():
    commands = Commands()
    assert "" not in commands.unused
    assert len(commands.unused) == sum(TEXTS[page].count("```sh") for page in PAGES)
    for name in sorted(commands.unused):
        subprocess.run(["/bin/sh", "-n"], input=commands.text(name), text=True, check=True)


@pytest.mark.parametrize("page", TEXTS)
def test_metrics_and_labels_that_pages_name_exist(page):
    labels = {family.name: family.labels for family in FAMILIES}
    for name, label in re.findall(r'\b(qrerank_\w+)(?:\{(\w+)=")?', TEXTS[page]):
        assert name in labels
        assert not label or label in labels[name], f"{name} has no label {label}"


def test_the_refusals_that_callers_see_are_those_there_are():
    named = set(re.findall(r"^\| \d{3}, `([\w-]+)`", TEXTS["incidents"], re.MULTILINE))
    assert "overloaded" in named <= KINDS


@pytest.mark.soak
@pytest.mark.parametrize("rehearse", [rehearse_operations.rehearse, lambda: rehearse_rollout.rehearse("hash")])
def test_the_rehearsals_hold(capsys, rehearse):
    assert rehearse() == 0, capsys.readouterr().out
