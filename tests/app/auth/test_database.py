"""The database's tables and outages."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.auth import migrations
from app.auth.database import Database, url_of
from app.auth.keys import Pepper
from app.auth.settings import AuthSettings
from app.auth.sql_keys import SqlKeys
from app.auth.sql_usage import SqlUsage
from app.auth.store import Counts, Grant
from app.auth.stores import open_records
from app.auth.tables import VERSION_TABLE, metadata
from app.errors import KeysUnavailable
from tests.app.auth.conftest import PEPPER
from tests.postgres_server import PASSWORD, PostgresServer
from tests.waiting import PATIENT_S


def test_the_migrations_make_the_tables(database):
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert context.get_current_revision() == migrations.HEAD
        assert compare_metadata(context, metadata) == []


def test_databases_of_one_process_are_migrated_at_the_same_time(tmp_path):
    """Alembic keeps what it works on in globals."""
    begin = Barrier(6)

    def migrate(number):
        begin.wait(PATIENT_S)
        stores = open_records(AuthSettings(), tmp_path / str(number))
        key = stores.keys.create("", "user", "public")
        stores.database.close()
        return key

    with ThreadPoolExecutor(6) as threads:
        assert len([*threads.map(migrate, range(6))]) == 6


def test_the_last_migration_is_the_head():
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_keys_from_before_have_no_limits(database, opened, monkeypatch):
    """Nor has a key that a replica of the previous version writes after the migration."""
    row = "INSERT INTO qrerank_keys (id, name, role, tier, created) VALUES ('{0}', '', 'user', 'public', 0)"
    own = "INSERT INTO qrerank_secrets (prefix, key_id, hash, created) VALUES ('{0}', '{0}', {1}, 0)"
    with monkeypatch.context() as before:
        before.setattr(migrations, "HEAD", "0001")
        with database.writing() as connection:
            connection.exec_driver_sql(row.format("key_before"))
    newer = opened()
    with newer.writing() as connection:
        connection.exec_driver_sql(row.format("key_after"))
        digest = "'\\x00'" if connection.dialect.name == "postgresql" else "x'00'"
        for key in ("key_before", "key_after"):
            connection.exec_driver_sql(own.format(key, digest))
    assert [(key.collections, key.can_write) for key in SqlKeys(newer, PEPPER).all()] == [(None, True)] * 2


def test_many_may_start_at_once(opened):
    def start(database):
        with database.writing():
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, [opened() for _ in range(8)]))
    with opened().reading() as connection:
        assert len(connection.exec_driver_sql("SELECT * FROM qrerank_pepper").all()) == 1


@pytest.mark.slow
def test_many_processes_may_start_at_once(database_url, tmp_path):
    program = (
        "import sys; from pathlib import Path; from app.auth.database import *; from app.auth.keys import *\n"
        "folder = Path(sys.argv[1])\n"
        "with Database(url_of(sys.argv[2] or None, folder), pepper_in(folder)).writing(): print('started')"
    )
    command = [sys.executable, "-c", program, str(tmp_path), database_url or ""]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]  # noqa: S603
    for process in started:
        assert process.communicate(timeout=PATIENT_S) == ("started\n", "")


def test_keys_of_another_pepper_are_an_error_and_not_unknown(database, opened):
    plain = SqlKeys(database, PEPPER).create("", "user", "public")[1]
    with pytest.raises(KeysUnavailable) as refused, opened(Pepper("another")).reading():
        pass
    assert "QRERANK_AUTH__PEPPER" in refused.value.reason
    assert "pepper" not in str(refused.value)
    assert isinstance(SqlKeys(opened(), PEPPER).find(plain, PEPPER.hash(plain)), Grant)


def test_tables_of_a_newer_version_are_not_changed(database, opened):
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE qrerank_schema SET version_num = '9999'")
    with pytest.raises(KeysUnavailable) as refused, opened().reading():
        pass
    assert "9999" in refused.value.reason


@pytest.mark.parametrize(("option", "name"), [("", "quantum-rerank"), ("&application_name=mine", "mine")])
def test_options_of_the_url_hold(postgres, option, name):
    url = postgres.database()
    database = Database(url_of(url + option, None), PEPPER)
    SqlKeys(database, PEPPER).create("", "user", "public")
    with psycopg.connect(url, application_name="test") as connection:
        query = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
        assert {row[0] for row in connection.execute(query)} == {"test", name}
    database.close()


def test_it_reconnects_after_an_outage(caplog):
    with PostgresServer() as server:
        database = Database(url_of(server.database(), None), PEPPER, retry_s=0)
        keys = SqlKeys(database, PEPPER)
        plain = keys.create("", "user", "public")[1]
        server.kill()
        for _ in range(2):
            with pytest.raises(KeysUnavailable) as lost:
                keys.find(plain, PEPPER.hash(plain))
        assert "refused" in lost.value.reason
        server.start()
        assert isinstance(keys.find(plain, PEPPER.hash(plain)), Grant)
        database.close()
    assert [record.message.partition(":")[0] for record in caplog.records if record.name == "app.auth.database"] == [
        "the database failed",
        "the database of keys answers again",
    ]
    assert PASSWORD not in caplog.text + repr(vars(database)) + lost.value.reason


def test_whoever_asks_whether_a_server_answers_knows_before_anybody_needs_it():
    with PostgresServer() as server:
        database = Database(url_of(server.database(), None), PEPPER, retry_s=0)
        database.check()
        assert (database.lost, database.last_fault) == (False, None)
        server.kill()
        database.check()
        assert database.lost
        fault = database.last_fault
        assert "refused" in fault.text
        assert PASSWORD not in fault.text
        server.start()
        database.check()
        assert (database.lost, database.last_fault) == (False, fault)
        database.close()


def test_a_file_that_is_taken_away_is_missed_and_no_empty_one_takes_its_place(tmp_path):
    database = Database(url_of(None, tmp_path / "data"), PEPPER, retry_s=0)
    keys = SqlKeys(database, PEPPER)
    plain = keys.create("", "user", "public")[1]
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    for _ in range(2):
        database.check()
        assert database.lost
        assert "auth.sqlite3 is gone" in database.last_fault.text
    assert not (tmp_path / "data").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "data")
    database.check()
    assert not database.lost
    assert isinstance(keys.find(plain, PEPPER.hash(plain)), Grant)
    database.close()


def test_while_it_is_lost_nobody_waits_for_it(tmp_path):
    (tmp_path / "file").touch()
    database = Database(url_of(None, tmp_path / "file"), PEPPER, retry_s=3600)
    for _ in range(2):
        with pytest.raises(KeysUnavailable, match="try again") as refused, database.reading():
            pass
    (tmp_path / "file").unlink()
    with pytest.raises(KeysUnavailable) as again, database.reading():
        pass
    assert again.value.reason == refused.value.reason


def test_whoever_only_reads_does_not_wait_for_whoever_writes(opened, keys, monkeypatch):
    monkeypatch.setattr("app.auth.database._PATIENCE_S", 0.1)
    monkeypatch.setattr("app.auth.database._TIMEOUTS", "SELECT set_config('lock_timeout', '100ms', true)")
    plain = keys.create("", "user", "public")[1]
    waiting = opened()
    with opened().writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("LOCK TABLE qrerank_usage, qrerank_keys IN EXCLUSIVE MODE")
        for _ in range(2):
            with pytest.raises(KeysUnavailable) as busy:
                SqlUsage(waiting).add({("2026-01-01", "a"): Counts(1)}, {})
            assert "busy" in busy.value.reason
            assert isinstance(SqlKeys(waiting, PEPPER).find(plain, PEPPER.hash(plain)), Grant)
    SqlUsage(waiting).add({("2026-01-01", "a"): Counts(1)}, {})


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "auth.sqlite3").write_bytes(b"x" * 5000)
    with pytest.raises(KeysUnavailable) as refused, Database(url_of(None, tmp_path), PEPPER).reading():
        pass
    assert "not a database" in refused.value.reason


def test_the_file_is_its_owners_alone(tmp_path):
    with Database(url_of(None, tmp_path / "new"), PEPPER).writing() as connection:
        connection.exec_driver_sql("DELETE FROM qrerank_usage")
        assert {file.stat().st_mode & 0o777 for file in (tmp_path / "new").iterdir()} == {0o600}


def test_what_the_body_of_a_transaction_raises_is_its_own_and_undoes_it(database):
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM qrerank_pepper")
        raise ZeroDivisionError
    with database.reading() as connection:
        assert len(connection.exec_driver_sql("SELECT * FROM qrerank_pepper").all()) == 1
