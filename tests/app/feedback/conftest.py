"""The databases of keys, of which feedback uses some tables."""

from tests.app.auth.conftest import database, database_url, opened, postgres

__all__ = ["database", "database_url", "opened", "postgres"]
