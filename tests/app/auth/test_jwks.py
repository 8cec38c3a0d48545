"""An issuer's keys are fetched only when needed."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.jwks import Jwks, from_url, parse
from app.errors import KeysUnavailable
from tests.app.auth.issuer import EC, OTHER_RSA, RSA, WEAK_RSA, jwks, public, serve


@pytest.fixture
def served():
    with serve() as server:
        server.text = jwks(public(RSA, "one"))
        yield server


def opened(served, max_age_s=3600, again_s=0):
    return Jwks(from_url(served.url), asyncio.to_thread, max_age_s, again_s)


async def named(keys, *kids, algorithm="RS256"):
    return [bool(await keys.matching(algorithm, kid)) for kid in kids]


def test_keys_are_fetched_once(served):
    async def run():
        keys = opened(served)
        assert await asyncio.gather(*[named(keys, "one") for _ in range(20)]) == [[True]] * 20
        assert await named(keys, "one", None) == [True, True]
        assert served.requests == 1
        assert await named(keys, None, algorithm="ES256") == [False]

    asyncio.run(run())


def test_an_unknown_name_fetches_again_but_not_all_the_time(served, monotonic):
    async def run():
        keys = opened(served, again_s=10)
        assert await named(keys, "one", "two", "three") == [True, False, False]
        assert served.requests == 1
        served.text = jwks(public(RSA, "one"), public(OTHER_RSA, "two"))
        assert await named(keys, "two") == [False]
        monotonic.now += 10
        assert await named(keys, "two", "three", "four", "one") == [True, False, False, True]
        assert served.requests == 2

    asyncio.run(run())


def test_a_key_that_is_taken_back_is_forgotten_in_time(served):
    async def run():
        keys = opened(served, max_age_s=0)
        assert await named(keys, "one") == [True]
        served.text = jwks(public(OTHER_RSA, "two"))
        assert await named(keys, "one") == [True]  # the keys are refreshed in the background
        await keys._reading
        assert await named(keys, "one") == [False]
        assert await named(keys, "two") == [True]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "text"), [(500, b""), (200, b"<html>"), (200, b"{}"), (302, b""), (200, b"x" * 2**21)]
)
def test_an_issuer_that_fails_costs_nothing_while_keys_are_known(served, status, text, caplog):
    async def run():
        keys = opened(served, max_age_s=0)
        await named(keys, "one")
        good = served.text
        served.status, served.text, served.headers = status, text, {"Location": served.url}
        for _ in range(3):
            assert await named(keys, "one", "two") == [True, False]
        assert len([record for record in caplog.records if "cannot be read" in record.message]) == 1
        served.status, served.text = 200, good
        assert await named(keys, "one") == [True]

    asyncio.run(run())


def test_an_issuer_that_never_answered_is_asked_again(served):
    async def run():
        keys = opened(served)
        served.status = 503
        with pytest.raises(KeysUnavailable) as lost:
            await named(keys, "one")
        assert "503" in lost.value.reason
        served.status = 200
        assert await named(keys, "one") == [True]

    asyncio.run(run())


def test_check_does_not_wait_for_the_issuer(served):
    async def run():
        keys = opened(served, max_age_s=0)
        assert (keys.lost, keys.last_fault) == (False, None)
        served.status = 503
        for lost, status in ((True, 200), (False, 200)):
            keys.check()
            assert keys._reading
            await keys._reading
            assert keys.lost == lost
            served.status = status
        assert "503" in keys.last_fault.text

    asyncio.run(run())


def test_only_public_keys_that_sign_are_taken():
    private = public(RSA, "private", d="AQAB", p="AQAB")
    keys = parse(
        jwks(
            private,
            public(EC, "ec", use="sig", alg="ES256"),
            public(OTHER_RSA, "encrypts", use="enc"),
            public(OTHER_RSA, "other", alg="RS512"),
            public(EC, "curve", crv="P-384"),
            public(WEAK_RSA, "weak"),
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
            {"kty": "RSA", "kid": "torn", "n": "AQAB"},
            {"kty": "EC", "kid": "bad", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
        )
    )
    assert [(key.key_id, key.algorithm_name) for key in keys] == [("private", "RS256"), ("ec", "ES256")]
    assert not hasattr(keys[0].key, "private_numbers")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2),
    max_leaves=4,
)
MEMBERS = ("kty", "kid", "use", "alg", "crv", "n", "e", "x", "y")


@given(
    kind=st.sampled_from([RSA, EC]),
    members=st.dictionaries(st.sampled_from(MEMBERS), ANY, max_size=4),
    dropped=st.sets(st.sampled_from(MEMBERS), max_size=1),
)
def test_an_invalid_entry_does_not_affect_others(kind, members, dropped):
    odd = {name: value for name, value in (public(kind, "odd") | members).items() if name not in dropped}
    keys = parse(jwks(odd, members, public(OTHER_RSA, "good")))
    assert keys[-1].key_id == "good"
    assert all(key.key_id is None or isinstance(key.key_id, str) for key in keys)


def test_any_failure_of_a_refresh_is_retried(served, monkeypatch):
    async def run():
        keys = opened(served)
        with monkeypatch.context() as patch:
            patch.setattr("app.auth.jwks.parse", lambda _: {}[0])
            with pytest.raises(KeysUnavailable):
                await named(keys, "one")
            assert keys.lost
        assert await named(keys, "one") == [True]
        assert not keys.lost

    asyncio.run(run())


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [1, null, {}]}'])
def test_a_document_without_keys_is_an_error(text):
    with pytest.raises(ValueError, match=r".+"):
        parse(text)
