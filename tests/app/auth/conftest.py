"""The two databases of keys: each test gets an empty one of each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.auth.database import Database, url_of
from app.auth.keys import Pepper
from app.auth.sql_keys import SqlKeys
from app.auth.sql_usage import SqlUsage
from tests.postgres_server import PostgresServer
from tests.waiting import Clock

PEPPER = Pepper("a-pepper-of-the-tests")


@pytest.fixture(scope="package")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """The setting `database_url`: None for a file in the data folder."""
    return request.getfixturevalue("postgres").database() if request.param == "postgresql" else None


@pytest.fixture
def opened(database_url: str | None, tmp_path: Path) -> Iterator[Callable[..., Database]]:
    """Opens the database once more, as another process would."""
    all_opened = []

    def open_again(pepper: Pepper = PEPPER) -> Database:
        all_opened.append(Database(url_of(database_url, tmp_path), pepper, retry_s=0))
        return all_opened[-1]

    yield open_again
    for database in all_opened:
        database.close()


@pytest.fixture
def database(opened: Callable[..., Database]) -> Database:
    return opened()


@pytest.fixture
def clock() -> Clock:
    """The clock by which keys expire."""
    return Clock()


@pytest.fixture
def keys(database: Database, clock: Clock) -> SqlKeys:
    return SqlKeys(database, PEPPER, clock)


@pytest.fixture
def usage(database: Database) -> SqlUsage:
    return SqlUsage(database)
