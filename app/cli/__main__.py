"""The entry point of `qrerank`: sets up signals and streams before the slow imports."""

from __future__ import annotations

import io
import os
import signal
import sys

INTERRUPTED = 130  # the exit status that shells use for Ctrl-C

# How /dev/null replaces a closed stream: standard input is empty, and writes to standard output fail.
_CLOSED = {"stdin": (os.O_RDONLY, "r"), "stdout": (os.O_RDONLY, "w"), "stderr": (os.O_WRONLY, "w")}


def main() -> None:
    """Run the command line and exit with its status."""
    _set_up_streams()
    previous_handler = signal.getsignal(signal.SIGINT)
    if previous_handler is signal.default_int_handler:  # a background process ignores SIGINT
        # Imported code may swallow or wrap KeyboardInterrupt, and nothing needs cleanup yet.
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from app.cli.main import main as run

    signal.signal(signal.SIGINT, previous_handler)
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _set_up_streams() -> None:
    """Replace closed streams by /dev/null, and let the others accept every character.

    Otherwise the next opened file would get the number of a closed stream, and prints would go into that file.
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
            stream.reconfigure(errors="backslashreplace")  # for ASCII locales


if __name__ == "__main__":
    main()
