"""Migrations of the tables, with Alembic.

A migration is a module in `versions`, named after its revision. HEAD is the newest revision. Migrations only add:
replicas of the previous version use the tables while a migration runs.
"""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from app.auth.tables import VERSION_TABLE
from app.errors import KeysMisconfigured

HEAD = "0003"
_LOCK = 0x71724B657973  # "qrKeys": the id of the advisory lock
_MIGRATING = threading.Lock()  # Alembic keeps what it works on in globals: one database at a time


def is_current(connection: Connection) -> bool:
    """Whether the tables are of the newest revision."""
    return _revision(connection) == HEAD


def upgrade(connection: Connection) -> None:
    """Migrate the tables to HEAD.

    The connection must be in a transaction, on SQLite in one that excludes other writers.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    revision = _revision(connection)
    if revision == HEAD:
        return
    # Imported late: Alembic takes 10 MB and only migrations need it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    try:
        with _MIGRATING:
            command.upgrade(config, HEAD)
    except CommandError as error:
        raise KeysMisconfigured(
            f"the database's tables are of version {revision}, which this version of quantum-rerank ({HEAD}) does not "
            "support"
        ) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    return revision
