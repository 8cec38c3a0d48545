"""The format of keys, and the pepper."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.auth.environment import EnvironmentKeys
from app.auth.keys import Pepper, new_key, open_pepper, pepper_in, prefix_of
from app.auth.settings import AuthSettings
from app.auth.store import UNKNOWN
from app.errors import KeysMisconfigured
from tests.app.auth.conftest import PEPPER


def test_keys_are_random_and_start_with_their_prefix():
    made = [new_key() for _ in range(100)]
    assert len({key for key, _ in made}) == len({prefix for _, prefix in made}) == 100
    assert all(prefix_of(key) == prefix and key.startswith(prefix + "_") for key, prefix in made)


def test_without_the_pepper_a_hash_is_of_no_use():
    assert PEPPER.hash("key") == PEPPER.hash("key")
    assert len({pepper.hash(key) for pepper in (PEPPER, Pepper("other")) for key in ("key", "kez")}) == 4
    assert "a-pepper" not in repr(PEPPER) + str(vars(PEPPER))


def test_a_derived_secret_is_its_uses_alone_and_no_keys_hash():
    derived = {pepper.derive(use) for pepper in (PEPPER, Pepper("other")) for use in ("one use", "another")}
    assert len(derived | {PEPPER.hash("one use"), PEPPER.hash("another")}) == 6
    assert PEPPER.derive("one use") in derived
    assert all(len(secret) == 32 for secret in derived)


def test_there_is_a_pepper_where_one_is_set_or_keys_are_asked_for(tmp_path):
    configured, enabled = {"pepper": "p" * 32}, {"enabled": True}
    assert open_pepper(AuthSettings(), tmp_path) is None
    assert not list(tmp_path.iterdir())
    for settings in (configured, configured | enabled):
        assert open_pepper(AuthSettings(**settings), tmp_path).hash("key") == Pepper("p" * 32).hash("key")
    assert open_pepper(AuthSettings(**enabled), tmp_path).hash("key") == pepper_in(tmp_path).hash("key")


def test_one_pepper_is_made_however_many_start_at_once(tmp_path):
    together = threading.Barrier(8)

    def start(_):
        together.wait()
        return pepper_in(tmp_path / "data").hash("key")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(8)))) == 1
    [file] = (tmp_path / "data").iterdir()
    assert file.name == "pepper"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text()) == 64


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KeysMisconfigured) as refused:
        pepper_in(tmp_path / "file" / "data")
    assert "QRERANK_AUTH__PEPPER" in refused.value.reason


@pytest.mark.parametrize("torn", [b"", b"half of it", b"\xff" * 31])
def test_a_pepper_that_was_torn_is_not_used(tmp_path, torn):
    (tmp_path / "pepper").write_bytes(torn)
    with pytest.raises(KeysMisconfigured):
        pepper_in(tmp_path)


def test_keys_of_the_environment_have_names_of_their_own():
    keys = EnvironmentKeys(["first-secret", "second-secret"], PEPPER)
    identities = [keys.find(key, PEPPER.hash(key)).identity for key in ("first-secret", "second-secret")]
    assert len({identity.name for identity in identities}) == 2
    assert {(identity.role, identity.tier, identity.key_id) for identity in identities} == {("user", "unlimited", None)}
    for wrong in ("", "first-secre", "first-secret ", "x"):
        assert keys.find(wrong, PEPPER.hash(wrong)) == UNKNOWN
    assert "secret" not in str(vars(keys))
