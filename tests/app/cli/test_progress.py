"""A bar appears with the first report, or on a terminal once the work takes long."""

import io
import threading

import pytest

from app.cli import progress
from app.cli.terminal import PlainConsole
from tests.waiting import eventually


@pytest.fixture
def screen(monkeypatch):
    """Standard error as a terminal, and what was written to it."""
    written = io.StringIO()
    console = PlainConsole(stderr=True)
    console.file, console._force_terminal, console.is_interactive = written, True, True
    monkeypatch.setattr(progress, "errors", console)
    return console, written


def test_work_that_is_done_at_once_shows_nothing(screen):
    with progress.bar("working"):
        pass
    assert screen[1].getvalue() == ""


def test_work_that_takes_long_shows_that_it_goes_on(screen, monkeypatch):
    monkeypatch.setattr(progress, "_SILENT_S", 0)
    with progress.bar("working"):
        eventually(lambda: "working" in screen[1].getvalue())


def test_a_report_is_shown_at_once(screen):
    with progress.bar("working") as report:
        report("step [/x]", 1, 3)
        report("step [/x]", 3, 3)
    assert "step [/x]" in screen[1].getvalue()
    assert "3/3" in screen[1].getvalue()


def test_what_is_no_terminal_gets_no_bar_for_work_without_reports(screen, monkeypatch):
    monkeypatch.setattr(progress, "_SILENT_S", 0)
    screen[0]._force_terminal = False
    begun = set(threading.enumerate())
    with progress.bar("working"):
        assert {*threading.enumerate()} <= begun  # nothing waits to begin one
    assert screen[1].getvalue() == ""
