"""The pages' shell blocks, and that whoever follows the pages finds what they name."""

import importlib.util
import os
import re
import subprocess

import pytest
from typer.main import get_command

from app.cli.main import cli
from app.errors import KINDS
from app.settings import Settings
from app.telemetry.catalogue import FAMILIES
from scripts.rehearsal.commands import PAGES, REHEARSED, Commands, blocks

PAGE = "a\n```sh one\necho 1\n```\n1. b\n\n   ```sh two\n   if true; then\n     echo 2\n   fi\n   ```\n"
TEXTS = {page: (PAGES / f"{page}.md").read_text() for page in ("README", "capacity", *REHEARSED)}


def test_blocks_are_read_by_name_and_without_their_indent():
    assert blocks(PAGE) == {"one": "echo 1\n", "two": "if true; then\n  echo 2\nfi\n"}


@pytest.mark.parametrize("page", ["```sh\necho 1\n```\n", PAGE + "```sh one\necho 3\n```\n"])
def test_blocks_need_names_of_their_own(page):
    with pytest.raises(ValueError, match="name of its own"):
        blocks(page)


def test_a_command_runs_where_it_is_told_and_counts_as_run(tmp_path):
    (tmp_path / "page.md").write_text('```sh where\npwd\necho "$WHAT"\n```\n```sh fails\nfalse\necho on\n```\n')
    commands = Commands(["page"], tmp_path)
    assert commands.run("where", tmp_path, os.environ | {"WHAT": "this"}).split() == [str(tmp_path), "this"]
    assert commands.left == {"fails"}
    with pytest.raises(RuntimeError, match="`fails` ended with 1"):
        commands.run("fails", tmp_path, {})


def test_every_shell_block_of_the_pages_is_sound_and_named():
    commands = Commands()
    assert len(commands) == sum(text.count("```sh") for text in (TEXTS[page] for page in REHEARSED))
    for name in sorted(commands.left):
        checked = subprocess.run(["/bin/sh", "-n"], input=commands.text(name), text=True, check=False)
        assert checked.returncode == 0, name


@pytest.mark.parametrize("page", TEXTS)
def test_settings_and_commands_that_pages_name_exist(page):
    for variable in re.findall(r"\bQRERANK_(\w*[A-Z0-9])", TEXTS[page]):
        group = Settings()
        for field in variable.lower().split("__"):
            assert hasattr(group, field), variable
            group = getattr(group, field)
    for words in re.findall(r"qrerank ((?:keys|index) \w+|serve|search)", TEXTS[page]):
        command = get_command(cli)
        for word in words.split():
            command = command.commands[word]
    for module in re.findall(r"python -m ([\w.]+)", TEXTS[page]):
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("page", TEXTS)
def test_metrics_and_labels_that_pages_name_exist(page):
    labels = {family.name: family.labels for family in FAMILIES}
    for name, label in re.findall(r'\b(qrerank_\w+)(?:\{(\w+)=")?', TEXTS[page]):
        assert name in labels
        assert not label or label in labels[name], f"{name} has no label {label}"


def test_the_refusals_that_callers_see_are_those_there_are():
    named = set(re.findall(r"^\| \d{3}, `([\w-]+)`", TEXTS["incidents"], re.MULTILINE))
    assert "overloaded" in named <= KINDS
