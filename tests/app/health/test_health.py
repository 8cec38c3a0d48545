"""Failures of the index and of each dependency: readiness and the report show the failure and the recovery."""

import os
import threading
from collections import Counter

import pytest
from sqlalchemy import event

from app.health.targets import read
from app.quotas.redis_counters import SharedCounters
from app.service import collections as open_collections
from app.service.collections import OpenCollections
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.held_files import HeldFiles
from retrieval.states.redis import RedisStates
from retrieval.store.indexer import build
from retrieval.text.passages import Passage
from tests.app.auth.issuer import RSA, jwks, public, serve, token
from tests.app.problems import problem
from tests.app.reports import AT_ONCE, component, report, settings_of, statuses
from tests.conftest import serving
from tests.indexers import indexed_elsewhere
from tests.postgres_server import PASSWORD, PostgresServer
from tests.redis_server import RedisServer
from tests.waiting import PATIENT_S, eventually

pytestmark = pytest.mark.usefixtures("quiet_machine")
BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}


def make(folder, name, count=20):
    passages = [Passage(f"p{at}", "", f"passage {at} of an owl") for at in range(count)]
    build(folder / "collections" / name, passages, HashEncoder(), lambda *_: None, replace=True)
    return folder / "collections" / name


def search(client, name):
    return client.post("/rerank", json={"query": "owl", "collection": name})


def test_a_default_collection_that_is_cut_short_makes_it_unready_until_it_is_whole(tmp_path):
    file = make(tmp_path, "birds") / "segments" / "1" / "tokens.bin"
    # Another process indexes, so that this one does not mend it.
    with serving(settings_of(tmp_path, default_collection="birds")) as client, indexed_elsewhere(file.parents[2]):
        assert client.get("/health/ready").status_code == 200
        well = component(client, "index")
        (opened,) = well["facts"]["collections"]
        assert (well["status"], well["facts"]["default"]) == ("ok", "birds")
        assert (opened["passages"], opened["certified"], opened["certificate"]["recall"]) == (20, True, 1.0)
        whole = file.read_bytes()
        os.truncate(file, 100)
        problem(search(client, "birds"), 503, "'birds' is damaged: ")
        assert search(client, None).headers["retry-after"] == "60"
        assert client.post("/rerank", json=BODY).status_code == 200, "what needs no collection is served"
        problem(client.get("/health/ready"), 503, "the collection 'birds' is damaged")
        lost = component(client, "index", 503)
        assert lost["status"] == "unavailable"
        assert "damaged" in lost["last_error"]
        assert str(tmp_path) not in str(lost)
        file.write_bytes(whole)
        assert client.get("/health/ready").status_code == 200
        assert search(client, None).status_code == 200
        mended = component(client, "index")
        assert (mended["status"], mended["last_error"]) == ("ok", lost["last_error"])


@pytest.mark.parametrize("name", ["tokens.bin", "passages.jsonl", "postings.bin"])
def test_a_collection_that_is_cut_short_under_a_request_costs_that_request_alone(tmp_path, monkeypatch, name, caplog):
    file = make(tmp_path, "birds") / "segments" / "1" / name
    with serving(settings_of(tmp_path)) as client, indexed_elsewhere(file.parents[2]):
        before = search(client, "birds").json()["results"]
        whole = file.read_bytes()
        monkeypatch.setattr(HeldFiles, "changed", lambda _: None)  # the damage happens after the check
        os.truncate(file, 0)
        for _ in range(2):
            answer = search(client, "birds")
            problem(answer, 503, f"the collection 'birds' cannot be searched: {name} was cut short")
            assert answer.json()["error_type"] == "damaged-collection"
        told = component(client, "index")
        assert told["last_error"].startswith(f"birds: {name} was cut short")
        assert str(tmp_path) not in answer.text + str(told)
        assert [record.levelname for record in caplog.records if "birds" in record.message] == ["ERROR"]
        file.write_bytes(whole)
        assert search(client, "birds").json()["results"] == before


class Other(HashEncoder):
    """Another version of the same model."""

    digest = "other"


class Unserved(Other):
    """Another model."""

    name = "new"


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        (Unserved, "the model 'new', which is not served: add it to QRERANK_MODELS, or read it anew with "),
        (Other, "another version of the model 'hash' than is served: read it anew with "),
    ],
)
def test_a_collection_of_a_model_that_is_not_served_is_refused_with_the_remedy(tmp_path, encoder, reason):
    build(tmp_path / "collections" / "birds", [Passage("p", "", "owl")], encoder(), lambda *_: None)
    told = f"the collection 'birds' was made with {reason}`qrerank index encode birds --model hash`"
    with serving(settings_of(tmp_path)) as client:
        answer = search(client, "birds")
        problem(answer, 409, told)
        assert answer.json()["error_type"] == "model-not-served"
        assert "retry-after" not in answer.headers, "it does not go away by itself"
        problem(client.post("/rerank", json={"query": "owl", "collection": "birds", "model": "new"}), 409, told)
        index = component(client, "index")
        (opened,) = index["facts"]["collections"]
        assert (index["status"], opened["certified"], opened["fault"]) == ("degraded", False, told)
        assert told in index["last_error"]
        assert 'qrerank_index_certified{collection="birds"} 0.0' in client.get("/metrics").text
        assert client.get("/health/ready").status_code == 200


def test_until_the_default_collection_is_open_no_worker_counts_as_ready(tmp_path, monkeypatch):
    make(tmp_path, "birds")
    free, opened = threading.Event(), open_collections.Collection
    monkeypatch.setattr(open_collections, "Collection", lambda *of: free.wait(PATIENT_S) and opened(*of))
    with serving(settings_of(tmp_path, default_collection="birds")) as client:
        assert "qrerank_ready 0.0" in client.get("/metrics").text
        free.set()
        eventually(lambda: "qrerank_ready 1.0" in client.get("/metrics").text)
        assert client.get("/health/ready").status_code == 200


def test_another_collection_that_rots_is_refused_and_the_service_goes_on(tmp_path):
    make(tmp_path, "birds")
    rotting = make(tmp_path, "bees")
    health = AT_ONCE | {"certify_every_s": 0.05}
    with serving(settings_of(tmp_path, default_collection="birds", health=health)) as client:
        assert search(client, "bees").status_code == 200
        with indexed_elsewhere(rotting), (rotting / "segments" / "1" / "pooled.npy").open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(bytes(100))
            file.flush()
            eventually(lambda: search(client, "bees").status_code == 503)
            # Other bytes than were written, or vectors that are not of length 1: a check may have begun before.
            problem(search(client, "bees"), 503, "'bees' is damaged: pooled.npy holds ")
            assert search(client, "birds").status_code == client.get("/health/ready").status_code == 200
            assert statuses(client) == ("degraded", {"index"})
            assert "bees: pooled.npy" in component(client, "index")["last_error"]
        make(tmp_path, "bees")
        eventually(lambda: search(client, "bees").status_code == 200)
        assert statuses(client) == ("ok", set())


def test_a_default_collection_that_is_not_there_makes_it_unready_until_it_is_built(tmp_path):
    with serving(settings_of(tmp_path, default_collection="birds")) as client:
        problem(client.get("/health/ready"), 503, "there is no collection 'birds'")
        assert component(client, "index", 503)["status"] == "unavailable"
        make(tmp_path, "birds")
        assert client.get("/health/ready").status_code == 200


def test_a_default_collection_of_another_model_makes_it_unready(tmp_path):
    build(tmp_path / "collections" / "birds", [Passage("p", "", "owl")], Unserved(), lambda *_: None)
    with serving(settings_of(tmp_path, default_collection="birds")) as client:
        problem(client.get("/health/ready"), 503, "was made with the model 'new', which is not served")


def test_a_lost_redis_degrades_what_used_it_and_is_met_again(tmp_path, monkeypatch, patient_cache):
    monkeypatch.setitem(RedisStates.__init__.__kwdefaults__, "retry_s", 0.1)
    monkeypatch.setitem(SharedCounters.__init__.__kwdefaults__, "retry_s", 0.1)
    with RedisServer() as server:
        quotas = {"redis_timeout_s": 10}
        settings = settings_of(tmp_path, cache={"redis_url": server.url}, auth={"enabled": True}, quotas=quotas)
        with serving(settings) as client:
            eventually(lambda: statuses(client) == ("ok", set()))
            assert {"cache_redis", "quota_redis", "keys"} <= report(client)["components"].keys()
            server.kill()
            eventually(lambda: statuses(client) == ("degraded", {"cache_redis", "quota_redis"}))  # unused yet
            assert client.get("/health/ready").status_code == 200
            lost = report(client)["components"]
            for name in ("cache_redis", "quota_redis"):
                assert f"Redis at 127.0.0.1:{server.port} fails" in lost[name]["last_error"]
            server.start()
            eventually(lambda: statuses(client) == ("ok", set()))
            assert component(client, "quota_redis")["last_error"] == lost["quota_redis"]["last_error"]


def test_a_lost_database_of_keys_degrades_it_and_is_met_again(tmp_path):
    with PostgresServer() as server:
        auth = {"enabled": True, "database_url": server.database()}
        with serving(settings_of(tmp_path, auth=auth)) as client:
            eventually(lambda: statuses(client) == ("ok", set()))
            server.kill()
            eventually(lambda: statuses(client) == ("degraded", {"keys"}))
            assert client.get("/health/ready").status_code == 200
            assert "the database failed: " in component(client, "keys")["last_error"]
            assert PASSWORD not in client.get("/health/detailed").text
            server.start()
            eventually(lambda: statuses(client) == ("ok", set()))


def test_a_database_that_takes_no_writes_lets_everybody_in_and_usage_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("app.auth.usage.WRITE_EVERY_S", 0.01)
    read_only = [1]
    with serving(settings_of(tmp_path, auth={"enabled": True})) as client:
        auth = client.app.state.dependencies.auth
        made = [auth.keys.create("", "admin" if at == 0 else "user", "unlimited") for at in range(20)]
        listener = (auth.database._engine, "checkout", lambda c, *_: c.execute(f"PRAGMA query_only = {read_only[0]}"))
        event.listen(*listener)
        for _, plain in made:  # not in the credential cache yet
            assert client.get("/v1/models", headers={"Authorization": f"Bearer {plain}"}).status_code == 200
        eventually(lambda: statuses(client) == ("degraded", {"keys"}))
        assert client.get("/health/ready").status_code == 200
        told = component(client, "keys")
        assert told["last_error"] == told["facts"]["usage_fault"]
        assert told["last_error"].startswith("usage cannot be written: the database takes no writes: attempt to write")
        assert (told["facts"]["usage_waiting_rows"], told["facts"]["usage_dropped"]) == (20, 0)
        metrics = client.get("/metrics").text
        assert 'breaker_open{dependency="keys"} 0.0' in metrics
        eventually(lambda: "qrerank_usage_waiting_rows 20.0" in client.get("/metrics").text)
        admin = {"Authorization": f"Bearer {made[0][1]}"}
        problem(client.post("/v1/admin/keys", json={"name": "new"}, headers=admin), 503, "keys cannot be changed")
        read_only[0] = 0
        eventually(lambda: statuses(client) == ("ok", set()))
        eventually(lambda: sum(day.requests for day in auth.used.read(1)) == 21)
        assert component(client, "keys")["facts"]["usage_fault"] is None


def test_a_file_of_keys_that_is_taken_away_degrades_it_until_it_is_back(tmp_path):
    with serving(settings_of(tmp_path / "data", auth={"enabled": True})) as client:
        eventually(lambda: statuses(client) == ("ok", set()))
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        eventually(lambda: statuses(client) == ("degraded", {"keys"}))
        assert "auth.sqlite3 is gone" in component(client, "keys")["last_error"]
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        eventually(lambda: statuses(client) == ("ok", set()))


def test_a_lost_issuer_of_tokens_degrades_it_and_is_met_again(tmp_path, monkeypatch):
    monkeypatch.setattr("app.auth.jwks.Jwks.__init__.__defaults__", (0,))  # no retry delay
    with serve() as issuer:
        issuer.text, issuer.status = jwks(public(RSA)), 503
        auth = {"enabled": True, "jwt": {"jwks_url": issuer.url, "audience": "owls"}}
        with serving(settings_of(tmp_path, auth=auth)) as client:
            bearer = {"Authorization": f"Bearer {token(aud='owls')}"}
            assert client.get("/v1/models", headers=bearer).status_code == 503
            eventually(lambda: statuses(client) == ("degraded", {"issuer"}))
            lost = component(client, "issuer")
            assert "the keys of the tokens' issuer cannot be read: HTTP Error 503" in lost["last_error"]
            assert client.get("/health/ready").status_code == 200
            issuer.status = 200
            eventually(lambda: statuses(client) == ("ok", set()))
            assert client.get("/v1/models", headers=bearer).status_code == 200


def test_the_log_tells_each_change_of_readiness_once_and_why(tmp_path, caplog):
    caplog.set_level("INFO", "app.health.health")
    with serving(settings_of(tmp_path, default_collection="birds")) as client:
        for _ in range(3):
            assert client.get("/health/ready").status_code == 503
        make(tmp_path, "birds")
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert client.get("/health/ready").status_code == 200
    told = [record.getMessage() for record in caplog.records if record.name == "app.health.health"]
    assert [line.partition(":")[0] for line in told] == ["not ready", "ready again"]
    assert "birds" in told[0]


def test_the_log_tells_why_models_cannot_be_loaded(tmp_path, caplog):
    with serving(settings_of(tmp_path, circuit={"bandwidth": 0.1})):
        eventually(lambda: "not ready: Saturated: the map 'angle' saturates" in caplog.text)


def test_what_fails_once_is_done_again(tmp_path, monkeypatch, caplog):
    done = Counter()

    def failing_once(name, work):
        def works(*arguments):
            done[name] += 1
            if done[name] == 1:
                raise OSError("too many open files")
            return work(*arguments)

        return works

    monkeypatch.setattr("app.health.health.EVERY_S", 0.01)
    monkeypatch.setattr("app.health.health.read", failing_once("read", read))
    monkeypatch.setattr(OpenCollections, "verify", failing_once("verify", OpenCollections.verify))
    with serving(settings_of(tmp_path, health=AT_ONCE | {"certify_every_s": 0.01})) as client:
        eventually(lambda: min(done["read"], done["verify"]) > 1)
        assert statuses(client) == ("ok", set())
    failed = {"sampling the health metrics failed", "verifying the collections failed"}
    assert failed <= set(caplog.messages)
