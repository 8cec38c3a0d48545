"""The persistent stores of authentication, opened from the settings by the service and by the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.auth.database import Database, url_of
from app.auth.keys import Pepper, open_pepper, pepper_in
from app.auth.settings import AuthSettings
from app.auth.sql_keys import SqlKeys
from app.auth.sql_usage import SqlUsage


@dataclass(frozen=True)
class Records:
    """The stores of keys and usage."""

    pepper: Pepper
    database: Database
    keys: SqlKeys
    usage: SqlUsage


def open_records(settings: AuthSettings, data_dir: Path) -> Records:
    """The stores that the settings describe. The database is opened on first use.

    KeysMisconfigured if the settings are not usable.
    """
    pepper = open_pepper(settings, data_dir) or pepper_in(data_dir)
    url = settings.database_url.get_secret_value() if settings.database_url else None
    database = Database(url_of(url, data_dir), pepper)
    return Records(pepper, database, SqlKeys(database, pepper), SqlUsage(database))
