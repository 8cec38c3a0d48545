"""The pages' shell blocks, and the metrics and refusals that they name; tests/docs look for the other names."""

import os
import re
import subprocess

import pytest

from app.api.problems import KINDS
from app.telemetry.catalogue import FAMILIES
from scripts.rehearsal.driver import PAGES, Commands, Installation
from scripts.wheel.build import ROOT

FOLDER = ROOT / "docs" / "operations"
TEXTS = {page: (FOLDER / f"{page}.md").read_text() for page in ("README", "capacity", *PAGES)}


def test_a_command_runs_as_it_stands_where_it_is_told_and_counts_as_run(tmp_path):
    text = "```sh fails\nfalse\necho on\n```\n1. b\n\n   ```sh where\n   pwd\n   echo $A\n   ```\n"
    for page in PAGES:
        (tmp_path / f"{page}.md").write_text(text)
    commands = Commands(tmp_path)
    place = Installation(tmp_path, os.environ, commands).with_settings(A=1)
    assert place.run("where").split() == [str(tmp_path), "1"]
    assert commands.unused == {"fails"}
    with pytest.raises(RuntimeError, match="`fails` exited with 1"):
        place.run("fails")


def test_every_shell_block_of_the_pages_is_sound_and_has_a_name_of_its_own():
    commands = Commands()
    assert "" not in commands.unused
    assert len(commands.unused) == sum(TEXTS[page].count("```sh") for page in PAGES)
    for name in sorted(commands.unused):
        checked = subprocess.run(["/bin/sh", "-n"], input=commands.text(name), text=True, check=False)
        assert checked.returncode == 0, name


@pytest.mark.parametrize("page", TEXTS)
def test_metrics_and_labels_that_pages_name_exist(page):
    labels = {family.name: family.labels for family in FAMILIES}
    for name, label in re.findall(r'\b(qrerank_\w+)(?:\{(\w+)=")?', TEXTS[page]):
        assert name in labels
        assert not label or label in labels[name], f"{name} has no label {label}"


def test_the_refusals_that_callers_see_are_those_there_are():
    named = set(re.findall(r"^\| \d{3}, `([\w-]+)`", TEXTS["incidents"], re.MULTILINE))
    assert "overloaded" in named <= KINDS
