"""The stores of keys, opened from the settings."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.errors import KeysMisconfigured


@pytest.fixture
def settings(database_url):
    """Those of one database, without a pepper."""
    return AuthSettings(database_url=database_url)


def test_no_pepper_is_made_beside_keys_of_another_one(settings, tmp_path):
    made = open_records(settings.model_copy(update={"pepper": AuthSettings(pepper="p" * 32).pepper}), tmp_path)
    made.keys.create("a", "user", "public")
    made.database.close()
    with pytest.raises(KeysMisconfigured) as refused:
        open_records(settings, tmp_path)
    assert "QRERANK_AUTH__PEPPER" in refused.value.reason
    assert not (tmp_path / "pepper").exists()


def test_many_may_make_pepper_and_tables_at_once(settings, tmp_path):
    def start(name):
        records = open_records(settings, tmp_path)
        records.keys.create(name, "user", "public")
        records.database.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, "abcdefgh"))
    records = open_records(settings, tmp_path)
    assert sorted(key.name for key in records.keys.all()) == list("abcdefgh")
    records.database.close()
