import sys
from functools import cache

import pytest
import typer.main

from app.cli import main as cli


@pytest.fixture(scope="session", autouse=True)
def commands():
    """Builds the commands of Typer once for all tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def qrerank(tmp_path, monkeypatch, capsys):
    """A function that runs `qrerank` in an empty folder with the weight-free model: exit status, output and errors."""
    monkeypatch.setenv("QRERANK_MODEL", "hash")
    monkeypatch.setenv("QRERANK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*words, **variables):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["qrerank", *map(str, words)])
            for name, value in variables.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run
