"""docs/commands.md is what `python -m scripts.commands` writes, and its commands keep their promises."""

import pytest
from typer.main import get_command

from app.cli.main import cli
from scripts import commands

LEAVES = list(commands.leaves(get_command(cli)))
# No result; a drawing; JSON in any case; a line of JSON for each document.
SILENT = {"qrerank serve", "qrerank circuit", "qrerank openapi", "qrerank index export"}


def test_the_committed_page_is_generated_from_the_parsers():
    assert commands.PAGE.read_text(encoding="utf-8") == commands.page(), "run `make pages`"


@pytest.mark.parametrize(("name", "command", "_"), LEAVES, ids=[name for name, *_ in LEAVES])
def test_a_command_says_what_it_does_and_prints_json_for_programs(name, command, _):
    assert command.help.partition("\n")[0].rstrip(".")
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options or name in SILENT
    assert all(parameter.help for parameter in command.params)
