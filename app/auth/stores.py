"""The persistent stores of authentication, opened from the settings by the service and by the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.auth.database import OTHER_PEPPER, Database, has_pepper, url_of
from app.auth.keys import Pepper, has_file, open_pepper, pepper_in
from app.auth.settings import AuthSettings
from app.auth.sql_keys import SqlKeys
from app.auth.sql_usage import SqlUsage
from app.errors import KeysMisconfigured


@dataclass(frozen=True)
class Records:
    """The stores of keys and usage."""

    pepper: Pepper
    database: Database
    keys: SqlKeys
    usage: SqlUsage


def open_records(settings: AuthSettings, data_dir: Path) -> Records:
    """The stores that the settings describe. The database is opened on first use.

    KeysMisconfigured if the settings are not usable, or if there is no pepper and the database has keys of one.
    """
    url = url_of(settings.database_url.get_secret_value() if settings.database_url else None, data_dir)
    # A pepper that is made now would not be that of keys which are there. Looked for again: another start may just
    # have made both.
    is_new = not (settings.pepper or has_file(data_dir))
    if is_new and has_pepper(url) and not has_file(data_dir):
        raise KeysMisconfigured(OTHER_PEPPER)
    pepper = open_pepper(settings, data_dir) or pepper_in(data_dir)
    database = Database(url, pepper)
    return Records(pepper, database, SqlKeys(database, pepper), SqlUsage(database))
