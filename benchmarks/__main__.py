"""Run one benchmark: `python -m benchmarks NAME`, with `--help` for its options."""

import sys
from importlib import import_module
from pathlib import Path

import typer

PEERS = {"chroma_peer", "lightning_peer"}  # which run in an environment of their own
FILES = (path for path in Path(__file__).parent.glob("*.py") if "\ndef main(" in path.read_text("utf-8"))
NAMES = sorted({path.stem for path in FILES} - PEERS)

if __name__ == "__main__":
    name, *arguments = sys.argv[1:] or [""]
    if name not in NAMES:
        sys.exit(f"usage: python -m benchmarks NAME; there are {', '.join(NAMES)}")
    cli = typer.Typer(add_completion=False)
    cli.command()(import_module(f"benchmarks.{name}").main)
    cli(arguments, prog_name=f"python -m benchmarks {name}")
