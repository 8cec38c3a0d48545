"""The history of the tables, by Alembic.

A migration is a module in `versions`, named after its revision, and HEAD is the last of them. It adds: replicas of the
version before go on using the tables while it runs.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from app.auth.tables import VERSION_TABLE
from app.errors import KeysMisconfigured

HEAD = "0001"
_LOCK = 0x71724B657973  # "qrKeys": any number that nobody else takes


def is_current(connection: Connection) -> bool:
    """Whether there is nothing to upgrade."""
    return _revision(connection) == HEAD


def upgrade(connection: Connection) -> None:
    """Bring the tables up to date. The connection is in a transaction, on SQLite in one that others wait for."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    found = _revision(connection)
    if found == HEAD:
        return
    # Alembic takes 10 MB and is needed here only.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise KeysMisconfigured(
            f"the database's tables are of version {found}, which this version of quantum-rerank ({HEAD}) does not know"
        ) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    return found
