"""Keys in both databases."""

import math
import re

import pytest
from sqlalchemy import select

from app.auth.sql_keys import SqlKeys
from app.auth.store import UNKNOWN, Grant, Refusal
from app.auth.tables import metadata
from app.errors import InvalidRequest, UnknownKey
from app.identity import Identity
from tests.app.auth.conftest import PEPPER


def find(keys, plain):
    return keys.find(plain, PEPPER.hash(plain))


def test_a_key_is_found_as_it_was_made(keys, clock):
    key, plain = keys.create("search team", "read-only", "premium", clock.now + 60)
    assert re.fullmatch(r"qr_[a-z0-9]{8}_[\w-]{43}", plain)
    assert plain.startswith(key.prefix)
    assert find(keys, plain) == Grant(Identity(key.prefix, "read-only", "premium", key.id), clock.now + 60)
    assert keys.all() == [key]
    assert (key.name, key.created, key.expires) == ("search team", clock.now, clock.now + 60)
    assert (key.revoked, key.last_used) == (None, None)


def test_a_key_without_an_end_is_granted_without_one(keys):
    assert find(keys, keys.create("", "user", "standard")[1]).until == math.inf


def test_a_key_keeps_its_limits_when_it_is_rotated(keys):
    key, plain = keys.create("", "user", "standard", collections=["birds", "team-a-*"], can_write=False)
    rotated, new = keys.rotate(key.id, 60)
    for made, secret in ((key, plain), (rotated, new)):
        identity = find(keys, secret).identity
        assert (identity.collections, identity.can_write) == (("birds", "team-a-*"), False)
        assert (made.collections, made.can_write) == (["birds", "team-a-*"], False)


def test_a_key_of_no_collection_is_not_one_of_all(keys):
    assert find(keys, keys.create("", "user", "standard", collections=[])[1]).identity.collections == ()
    assert find(keys, keys.create("", "user", "standard")[1]).identity.collections is None


def test_keys_are_listed_oldest_first(keys, clock):
    made = []
    for name in "abc":
        made.append(keys.create(name, "user", "public")[0])
        clock.now += 1
    assert keys.all() == made


@pytest.mark.parametrize(
    "wrong", ["", "x" * 60, "qr_abcdefgh", "qr_abcdefgh_" + "x" * 43, "QR_abcdefgh_" + "x" * 43, "\ud800"]
)
def test_what_is_no_key_is_unknown(keys, wrong):
    keys.create("", "user", "public")
    assert find(keys, wrong) == UNKNOWN


def test_one_wrong_character_is_refused_under_the_prefix(keys):
    key, plain = keys.create("", "user", "public")
    assert find(keys, plain[:-1] + ("a" if plain[-1] != "a" else "b")) == Refusal(UNKNOWN.reason, key.prefix)


def test_a_key_ends_when_it_expires(keys, clock):
    key, plain = keys.create("", "user", "public", clock.now + 1)
    clock.now += 0.5
    assert isinstance(find(keys, plain), Grant)
    clock.now += 0.5
    refusal = find(keys, plain)
    assert "expired" in refusal.reason
    assert refusal.prefix == key.prefix


@pytest.mark.parametrize("named", ["id", "prefix"])
def test_a_revoked_key_stays_revoked(keys, clock, named):
    key, plain = keys.create("", "user", "public")
    revoked = keys.revoke(getattr(key, named))
    assert revoked.revoked == clock.now
    assert "revoked" in find(keys, plain).reason
    clock.now += 1
    assert keys.revoke(key.id) == revoked
    with pytest.raises(InvalidRequest, match="create a new one"):
        keys.rotate(key.id, 60)


def test_rotation_overlaps(keys, clock):
    key, old = keys.create("", "user", "standard", clock.now + 1000)
    clock.now += 1
    rotated, new = keys.rotate(key.id, 60)
    assert rotated.id == key.id
    assert [secret.prefix for secret in rotated.secrets] == [rotated.prefix, key.prefix]
    assert find(keys, new) == Grant(Identity(rotated.prefix, "user", "standard", key.id), key.expires)
    assert find(keys, old) == Grant(Identity(key.prefix, "user", "standard", key.id), clock.now + 60)
    clock.now += 60
    assert isinstance(find(keys, new), Grant)
    assert "replaced" in find(keys, old).reason
    keys.revoke(key.prefix)
    assert "revoked" in find(keys, new).reason


def test_the_newest_secret_is_first_though_the_clock_of_another_replica_is_behind(keys, clock):
    key, _ = keys.create("", "user", "public")
    clock.now -= 5
    rotated, new = keys.rotate(key.id, 60)
    assert new.startswith(rotated.prefix)
    assert keys.all() == [rotated]


def test_a_rotation_without_overlap_ends_the_old_ones_and_lengthens_none(keys, clock):
    key, first = keys.create("", "user", "public")
    _, second = keys.rotate(key.id, 10)
    _, third = keys.rotate(key.id, 3600)
    clock.now += 10
    assert [isinstance(find(keys, plain), Grant) for plain in (first, second, third)] == [False, True, True]
    _, fourth = keys.rotate(key.id, 0)
    assert [isinstance(find(keys, plain), Grant) for plain in (first, second, third, fourth)] == [False] * 3 + [True]


def test_an_expired_key_is_not_rotated(keys, clock):
    key, _ = keys.create("", "user", "public", clock.now + 1)
    clock.now += 1
    with pytest.raises(InvalidRequest, match="expired"):
        keys.rotate(key.id, 60)


@pytest.mark.parametrize("named", ["key_000000000000", "qr_00000000", "", "'; DROP TABLE qrerank_keys --"])
def test_what_does_not_exist_is_not_changed(keys, named):
    key, _ = keys.create("", "user", "public")
    for change in (keys.revoke, lambda named: keys.rotate(named, 0)):
        with pytest.raises(UnknownKey):
            change(named)
    assert keys.all() == [key]


def test_another_process_sees_a_revocation_at_once(keys, opened, clock):
    elsewhere = SqlKeys(opened(), PEPPER, clock)
    key, plain = keys.create("", "user", "public")
    assert isinstance(find(elsewhere, plain), Grant)
    keys.revoke(key.id)
    assert "revoked" in find(elsewhere, plain).reason


def test_no_stored_value_is_a_valid_key(keys, database):
    _, plain = keys.create("", "user", "public")
    with database.reading() as connection:
        kept = [str(connection.execute(select(table)).all()) for table in metadata.sorted_tables]
    assert "key_" in "".join(kept)
    assert plain[-24:] not in "".join(kept)
