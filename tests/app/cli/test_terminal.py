"""Texts are printed literally everywhere, and control characters are escaped."""

import json
import sys

import pytest
from rich.table import Table

from app.cli.progress import bar
from app.cli.tables import ranked
from app.cli.terminal import OutputFailed, PlainConsole, errors, fail, note, out, print_json, print_line
from app.ranking.job import Ranking
from retrieval.text.passages import Passage

ODD = ["[/x]", "[bold]a[/bold]", ":smile:", "[link=file:///etc/passwd]x[/link]", "a[0]", "\\[x]", "[/INST]"]
EVIL = "\x1b]0;title\x07\x9b2J\u202e"
SHOWN = r"\u001b]0;title\u0007\u009b2J\u202e"


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for console in (out, errors):
        monkeypatch.setattr(console, "_width", 200)


@pytest.mark.parametrize("text", ODD)
def test_brackets_and_colons_are_printed_as_they_are(capsys, text):
    table = Table(text, title=text)
    table.add_row(text)
    out.print(table)
    out.print(text)
    assert capsys.readouterr().out.count(text) == 4
    fail(text)
    note(text)
    assert capsys.readouterr().err.splitlines() == [text, text]


def test_no_control_character_reaches_the_terminal(capsys):
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL)
    out.print(table)
    out.print(EVIL)
    fail(EVIL)
    said = capsys.readouterr()
    assert said.out.count(SHOWN) == 4
    assert said.err == SHOWN + "\n"
    assert not set(EVIL) - set("]0;title2J") & set(said.out + said.err)


def test_documents_and_titles_of_a_ranking_are_on_one_line_as_they_are(capsys, reranker):
    texts = [f"list[str] {EVIL} owl", "arr[i] = x[j] :smile:"]
    ranking: Ranking = reranker.rerank("owl", texts)
    titles = ["[/INST]\nnext", ""]
    out.print(ranked([Passage("", title, text) for title, text in zip(titles, texts, strict=True)], ranking, None))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if rf"[/INST]\nnext: list[str] {SHOWN} owl" in line]
    assert [line for line in lines if "arr[i] = x[j] :smile:" in line]


def test_progress_shows_names_as_they_are_and_nothing_until_there_is_some(capsys):
    with bar("preparing") as report:
        assert capsys.readouterr().err == ""
        report(f"encoding [/x]:smile:{EVIL}", 1, 2)
    assert f"encoding [/x]:smile:{SHOWN}" in capsys.readouterr().err
    with bar("preparing"):
        pass
    assert capsys.readouterr().err == ""


def test_a_sentence_is_one_line_however_narrow_the_terminal(capsys, monkeypatch):
    monkeypatch.setattr(errors, "_width", 20)
    fail("a sentence\n that is longer than the terminal is\n\twide\n")
    assert capsys.readouterr().err == "a sentence that is longer than the terminal is wide\n"


def test_json_is_the_same_in_every_locale(capsys):
    value = {"name": "é 日本 \u202e\x9b"}
    print_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == value


@pytest.mark.parametrize("print_it", [PlainConsole().print, print_line])  # one that keeps nothing for other tests
def test_output_that_cannot_be_written_is_an_error_of_its_own(print_it, monkeypatch):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - as standard output
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OutputFailed, match="standard output cannot be written: No space left"):
            print_it("text")
