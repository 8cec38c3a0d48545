"""docs/commands.md is what Typer writes of the command line, and its commands keep their promises."""

import pytest
from typer.cli import app as typer_program
from typer.main import get_command
from typer.testing import CliRunner

from app.cli.main import cli
from tests.paths import ROOT

# No result; a drawing; JSON in any case; a line of JSON for each document.
SILENT = {"qrerank serve", "qrerank circuit", "qrerank openapi", "qrerank index export"}


def leaves(command, name="qrerank"):
    """Every command that does something, with its whole name."""
    if not hasattr(command, "commands") or command.invoke_without_command:
        yield name, command
    for part in sorted(getattr(command, "commands", ())):
        yield from leaves(command.commands[part], f"{name} {part}")


LEAVES = list(leaves(get_command(cli)))


def test_the_committed_page_is_generated_from_the_parsers():
    options = ["--name", "qrerank", "--title", "Commands"]
    written = CliRunner().invoke(typer_program, ["app.cli.main", "utils", "docs", *options]).output
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8").strip() == written.strip(), "run `make pages`"


def test_no_summary_is_cut_in_help_and_page():
    groups = [get_command(cli), *get_command(cli).commands.values()]
    below = [each for group in groups for each in getattr(group, "commands", {}).values()]
    assert not [said for each in below if (said := each.get_short_help_str()).endswith("...")]


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_a_command_says_what_it_does_and_prints_json_for_programs(name, command):
    assert command.help.partition("\n")[0].rstrip(".")
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options or name in SILENT
    assert all(parameter.help for parameter in command.params)
