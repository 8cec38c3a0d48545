"""Authentication, and how often it queries a store."""

import asyncio
import base64
import json
import logging
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth import audit
from app.auth.authenticator import Authenticator, CredentialCache, presented
from app.auth.environment import EnvironmentKeys
from app.auth.store import UNKNOWN, Grant, Refusal
from app.errors import KeysUnavailable, Overloaded, Unauthorized
from app.identity import ANONYMOUS, Identity
from tests.app.auth.conftest import PEPPER
from tests.waiting import PATIENT_S, soon

OWL = Identity("qr_owl", "user", "public", "key_owl")


class Kept:
    """A store with given results that records its queries."""

    def __init__(self, **results):
        self.results, self.queries, self.go = results, [], threading.Event()
        self.go.set()

    def find(self, key, digest):  # noqa: ARG002 - a store's
        self.queries.append(key)
        assert self.go.wait(PATIENT_S)
        assert threading.current_thread() is not threading.main_thread()
        result = self.results.get(key, UNKNOWN)
        if isinstance(result, Exception):
            raise result
        return result


def authenticator(store, remembered=None):
    environment = EnvironmentKeys(["of-the-environment"], PEPPER)
    return Authenticator([environment, store], PEPPER, asyncio.to_thread, remembered=remembered)


def identify(store, *credentials):
    return asyncio.run(authenticator(store).identify(credentials, "here"))


def test_one_right_key_among_several_will_do():
    store = Kept(right=Grant(OWL))
    assert identify(store, "wrong", "right") == OWL
    assert identify(store, "right", "wrong") == OWL
    assert identify(store, "of-the-environment").tier == "unlimited"
    assert store.queries == ["wrong", "right", "right"]


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ([], "needs a key"),
        (["wrong"], "not known"),
        (["wrong", "old"], "too old"),
        (["old", "wrong"], "too old"),
        (["a.b.c"], "tokens are not taken"),
    ],
)
def test_a_refusal_gives_its_reason(credentials, message):
    with pytest.raises(Unauthorized, match=message):
        identify(Kept(old=Refusal("too old", "qr_old")), *credentials)


def test_during_an_outage_no_key_is_reported_as_unknown():
    store = Kept(lost=KeysUnavailable("down"), right=Grant(OWL))
    for credentials in (["lost"], ["lost", "wrong"], ["wrong", "lost"]):
        with pytest.raises(KeysUnavailable):
            identify(store, *credentials)
    assert identify(store, "lost", "right") == OWL
    assert identify(store, "lost", "of-the-environment").name.startswith("env:")


def test_a_cached_result_needs_no_query():
    async def run():
        store, remembered = Kept(right=Grant(OWL)), CredentialCache(seconds=3600)
        door = authenticator(store, remembered)
        for _ in range(3):
            assert await door.identify(["right"], "here") == OWL
            with pytest.raises(Unauthorized):
                await door.identify(["wrong"], "here")
        assert store.queries == ["right", "wrong"]
        store.results["right"] = UNKNOWN
        door.forget()
        with pytest.raises(Unauthorized):
            await door.identify(["right"], "here")

    asyncio.run(run())


def test_failures_are_not_cached():
    async def run():
        store = Kept(right=KeysUnavailable("down"))
        door = authenticator(store, CredentialCache(seconds=3600))
        with pytest.raises(KeysUnavailable):
            await door.identify(["right"], "here")
        store.results["right"] = Grant(OWL)
        assert await door.identify(["right"], "here") == OWL

    asyncio.run(run())


def test_concurrent_requests_share_one_query_and_a_cancelled_one_does_not_stop_it():
    async def run():
        store = Kept(right=Grant(OWL))
        store.go.clear()
        door = authenticator(store)
        waiting = [asyncio.create_task(door.identify(["right"], "here")) for _ in range(50)]
        await soon(lambda: store.queries)  # then all of them wait: they started in the same iteration of the event loop
        waiting[0].cancel()
        store.go.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [OWL] * 49
        assert store.queries == ["right"]

    asyncio.run(run())


def test_a_query_from_before_a_change_is_not_cached():
    async def run():
        store = Kept(right=Grant(OWL))
        store.go.clear()
        door = authenticator(store, CredentialCache(seconds=3600))
        early = asyncio.create_task(door.identify(["right"], "here"))
        await soon(lambda: store.queries)
        door.forget()
        store.go.set()
        assert await early == OWL
        store.results["right"] = UNKNOWN
        with pytest.raises(Unauthorized):
            await door.identify(["right"], "here")

    asyncio.run(run())


def test_the_number_of_concurrent_lookups_is_bounded(monkeypatch):
    monkeypatch.setattr("app.auth.authenticator._MAX_LOOKUPS", 2)

    async def run():
        store = Kept()
        store.go.clear()
        door = authenticator(store)
        waiting = [asyncio.create_task(door.identify([guess], "here")) for guess in "ab"]
        await soon(lambda: len(store.queries) == 2)
        with pytest.raises(Overloaded):
            await door.identify(["c"], "here")
        store.go.set()
        assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == [Unauthorized] * 2

    asyncio.run(run())


def test_repeated_refusals_of_a_key_are_logged_once(tmp_path):
    audit.open_log(tmp_path / "audit")

    async def run():
        store = Kept(old=Refusal("too old", "qr_old"), older=Refusal("too old", "qr_older"))
        door = authenticator(store, CredentialCache(seconds=0))
        for credential in ("old", "old", "older", "wrong"):
            with pytest.raises(Unauthorized):
                await door.identify([credential], "1.2.3.4")

    asyncio.run(run())
    events = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [(event["event"], event["key"], event["from"]) for event in events] == [
        ("key.refused", "qr_old", "1.2.3.4"),
        ("key.refused", "qr_older", "1.2.3.4"),
    ]
    logging.getLogger("qrerank.audit").handlers.clear()


GRANT = Grant(ANONYMOUS)


@pytest.fixture
def at(monkeypatch):
    """Sets the monotonic clock."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr("app.auth.authenticator.time.monotonic", lambda: seconds)

    set_to(100)
    return set_to


def test_entries_expire(at):
    remembered = CredentialCache(seconds=2)
    remembered.put(b"a", GRANT, 99.5)
    remembered.put(b"b", UNKNOWN, 100)
    assert (remembered.get(b"a"), remembered.get(b"b"), remembered.get(b"c")) == (GRANT, UNKNOWN, None)
    at(101.5)  # two seconds after the query
    assert (remembered.get(b"a"), remembered.get(b"b")) == (None, UNKNOWN)


def test_an_entry_expires_with_its_credential(at):
    remembered = CredentialCache(seconds=2000)
    remembered.put(b"a", Grant(ANONYMOUS, time.time() + 1000), 100)
    at(1000)
    assert remembered.get(b"a")
    at(1101)
    assert not remembered.get(b"a")


def test_the_newest_result_counts(at):
    remembered = CredentialCache(2)
    for result in (GRANT, UNKNOWN, GRANT):
        remembered.put(b"a", result, 100)
        assert remembered.get(b"a") == result
    remembered.clear()
    assert remembered.get(b"a") is None


def test_guesses_neither_fill_memory_nor_evict_grants(at):
    remembered = CredentialCache(2, most=10)
    remembered.put(b"right", GRANT, 100)
    for guess in range(1000):
        remembered.put(b"%d" % guess, UNKNOWN, 100)
    assert remembered.get(b"right") == GRANT
    assert [guess for guess in range(1000) if remembered.get(b"%d" % guess)] == list(range(990, 1000))
    for key in range(20):
        remembered.put(b"key %d" % key, GRANT, 100)
    assert sum(remembered.get(b"key %d" % key) == GRANT for key in range(20)) == 10


KEY = "a-long-enough-secret"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"authorization": KEY},
        {"x-api-key": KEY},
        {"api-key": f" {KEY}"},
        {"authorization": basic(f"user:{KEY}")},
        {"authorization": basic(f"user:{KEY}").replace(" ", "  ")},
        {"authorization": basic(f"{KEY}:")},
        {"authorization": basic(KEY)},
        {"authorization": "Bearer another", "x-api-key": KEY},
    ],
)
def test_a_key_is_found_wherever_clients_put_it(headers):
    assert KEY in presented(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Digest {KEY}"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic /w=="},
        {"authorization": "Basic \xe9"},  # a byte above 127, as servers decode it
        {"authorization": basic(":")},
        {"x-api-key": ""},
        {"x-api-key": KEY + "x"},
        {"x-api-key": KEY[:-1]},
    ],
)
def test_other_values_are_not_keys(headers):
    assert KEY not in presented(headers)


VALUES = st.text(max_size=40) | st.text(max_size=40).map("Basic ".__add__)


@given(st.dictionaries(st.sampled_from(["authorization", "x-api-key", "api-key"]), VALUES))
def test_any_headers_are_accepted(headers):
    credentials = presented(headers)
    assert len(credentials) <= 4
    assert all(isinstance(key, str) and key for key in credentials)
