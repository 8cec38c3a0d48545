"""What is printed for people: texts as they are, on standard output; progress and errors on standard error.

Whoever prints uses `out` and `errors`. In these a text is never markup, and nothing in it can command the terminal.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from app.telemetry.printable import escaped


class OutputFailed(Exception):
    """Standard output does not take what is printed: its device is full, or it is closed."""


class PlainConsole(Console):
    """A console to which `[/x]` and `:smile:` are nothing but characters, and which escapes those that are none."""

    def __init__(self, *, stderr: bool = False) -> None:
        """stderr: whether it writes to standard error."""
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def print(self, *things: Any, **options: Any) -> None:
        """Print, on a console of standard output with `OutputFailed` where that cannot be."""
        try:
            super().print(*things, **options)
        except OSError as error:
            if self.stderr:
                raise
            raise _output_failed(error) from error

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a string. Each string that rich is given comes through here: printed, in a table, or as its title."""
        return super().render_str(escaped(text, lines=True), **options)


out = PlainConsole()
errors = PlainConsole(stderr=True)


def fail(message: str) -> None:
    """Print why a command failed: one line, that the terminal may wrap, also where a library says it in several."""
    errors.print(" ".join(message.split()), style="red", soft_wrap=True)


def note(message: str) -> None:
    """Print what the user should know of a result."""
    errors.print(message, style="yellow", soft_wrap=True)


def print_json(value: object) -> None:
    """Print JSON for programs: in ASCII, so that it is the same JSON in every locale and holds no control character."""
    print_line(json.dumps(value))


def print_line(text: str) -> None:
    """Print a text for programs as it is."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has gone: typer ends the command, as rich does
        raise
    except OSError as error:
        raise _output_failed(error) from error


def _output_failed(error: OSError) -> OutputFailed:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try again as it ends
    return OutputFailed(f"standard output cannot be written: {error.strerror}")
