"""Terminal output: results on standard output, progress and errors on standard error.

All output goes through `out` and `errors`. They do not interpret texts as markup, and they escape control characters.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from app.telemetry.printable import escaped

_FILE_COLUMNS = 120


class OutputFailed(Exception):
    """Standard output cannot be written: its device is full, or it is closed."""


class PlainConsole(Console):
    """A console that prints `[/x]` and `:smile:` literally and escapes unprintable characters."""

    def __init__(self, *, stderr: bool = False) -> None:
        """stderr: whether it writes to standard error instead of standard output."""
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = _FILE_COLUMNS  # the usual 80 would cut names in tables

    def print(self, *things: Any, **options: Any) -> None:
        """Print; OutputFailed if standard output cannot be written."""
        try:
            super().print(*things, **options)
        except OSError as error:
            if self.stderr:
                raise
            raise _output_failed(error) from error

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string to escaped text. Rich calls this for every string: printed, in a table, or as its title."""
        return super().render_str(escaped(text, lines=True), **options)


out = PlainConsole()
errors = PlainConsole(stderr=True)


def fail(message: str) -> None:
    """Print why a command failed, on one line. Line breaks in the message become spaces."""
    errors.print(" ".join(message.split()), style="red", soft_wrap=True)


def note(message: str) -> None:
    """Print a note about a result."""
    errors.print(message, style="yellow", soft_wrap=True)


def show(value: object, shown: RenderableType, *, as_json: bool) -> None:
    """Print a result: for programs as JSON, else for people as a table or a line."""
    if as_json:
        print_json(value)
    elif isinstance(shown, str):
        out.print(shown, soft_wrap=True)
    else:
        out.print(shown)


def print_json(value: object) -> None:
    """Print JSON for programs, in ASCII: equal in every locale and without control characters.

    What is no finite number is null: Python would write NaN and Infinity, which other parsers refuse.
    """
    print_line(json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None)))


def print_line(text: str) -> None:
    """Print a text for programs, unchanged."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe: typer ends the command, as rich does
        raise
    except OSError as error:
        raise _output_failed(error) from error


def _output_failed(error: OSError) -> OutputFailed:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python would flush again at exit
    return OutputFailed(f"standard output cannot be written: {error.strerror}")
