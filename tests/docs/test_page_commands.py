"""Commands that pages give, in blocks and in backticks, exist, with every option that they name."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from app.cli.main import cli
from tests.docs.pages import PAGES
from tests.paths import ROOT

VERBS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
OURS = ("app", "benchmarks", "loadtests", "monitoring", "scripts")
CLI = get_command(cli)
_ENDS = {"|", "||", "&", "&&", ";", "(", ")", "<", ">", ">>", "2>", "then", "do"}
_NAMED = re.compile("make|qrerank|python")  # to take the rest apart takes most of a second
_PREFIX = re.compile(r"[A-Z_]+=.*")  # a variable of one command's environment


def simple_commands(text):
    """The simple commands of a piece of shell, each as a list of words."""
    for line in text.replace("\\\n", " ").splitlines():
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = [*lexer, ";"]
        except ValueError:  # a quotation that goes on in the next line, such as a JSON body
            words = [*line.split("'")[0].split(), ";"]
        command = []
        for word in words:
            if word in _ENDS:
                yield from [command] if command else []
                command = []
            elif command or not _PREFIX.fullmatch(word):
                command.append(word)


def shown(page):
    """The shell that a page shows."""
    blocks = [text for language, text in page.blocks if language in {"sh", "bash", "console"}]
    return [text for text in [*blocks, *page.spans] if _NAMED.search(text)]


COMMANDS = sorted({(page.name, *words) for page in PAGES for text in shown(page) for words in simple_commands(text)})


def starting_with(*names):
    found = [command for command in COMMANDS if len(command) > 1 and Path(command[1]).name in names]
    return pytest.mark.parametrize("command", found, ids=" ".join)


@starting_with("make")
def test_a_verb_of_make_is_one(command):
    verbs = [word for word in command[2:3] if word.isascii()]
    assert set(verbs) <= VERBS


@starting_with("qrerank")
def test_a_command_of_qrerank_takes_what_it_is_given(command):
    known, words = CLI, list(command[2:])
    while words and words[0] in getattr(known, "commands", ()):
        known = known.commands[words.pop(0)]
    unknown = [word for word in words[:1] if hasattr(known, "commands") and word.isalpha() and word.islower()]
    assert not unknown
    options = {name for parameter in known.params for name in parameter.opts} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options


def options_in(source):
    """The options that a module's source names: argparse's as they are, Typer's as parameters."""
    typed = {f"--{name}".replace("_", "-") for name in re.findall(r"^ {4}(\w+): Annotated\[", source, re.MULTILINE)}
    return {"--help", *typed, *re.findall(r'"(--[\w-]+)"', source)}


@starting_with("python", "python3")
def test_a_module_that_is_run_is_there_and_knows_its_options(command):
    words = list(command[2:])
    if words[:1] != ["-m"]:
        return
    module, options = words[1], {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
    spec = importlib.util.find_spec(module)
    assert spec
    if module.partition(".")[0] in OURS:
        place = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        sources = place.rglob("*.py") if place.is_dir() else [place]
        assert options <= options_in("".join(map(Path.read_text, sources)))


def test_commands_are_found_in_pipes_loops_and_continued_lines():
    text = "A=1 make run | tee log\nfor x in a; do\n  qrerank keys \\\n    list --json\ndone && make test\n"
    commands = [words for words in simple_commands(text) if words[0] in {"make", "qrerank"}]
    assert commands == [["make", "run"], ["qrerank", "keys", "list", "--json"], ["make", "test"]]
