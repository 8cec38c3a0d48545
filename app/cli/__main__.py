"""Where `qrerank` begins: what must be right before anything is imported that takes a second to import."""

from __future__ import annotations

import io
import os
import signal
import sys

INTERRUPTED = 130  # what shells say of a command that Ctrl-C ended

# How each stream is opened where it is closed: what is read is empty, and what is written as a result fails.
_CLOSED = {"stdin": (os.O_RDONLY, "r"), "stdout": (os.O_RDONLY, "w"), "stderr": (os.O_WRONLY, "w")}


def main() -> None:
    """Run the command line, and end the process with its exit status."""
    _set_up_streams()
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # it is ignored in the background
        # What is imported may swallow or wrap an exception; there is nothing yet to clear up.
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from app.cli.main import main as run

    signal.signal(signal.SIGINT, usual)
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _set_up_streams() -> None:
    """Let every stream be there, and take every character.

    The number of a closed stream would go to the next file that is opened, and whoever prints would write into that.
    """
    for number, (name, (flags, mode)) in enumerate(_CLOSED.items()):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, flags)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for where the locale is ASCII


if __name__ == "__main__":
    main()
