"""Each part is broken in its turn: readiness and the report see it, and see it mend."""

import os
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from app.quotas.shared import SharedCounters
from app.settings import Settings
from app.wire.health import HealthResponse
from retrieval.collection import build
from retrieval.hash_encoder import HashEncoder
from retrieval.passage import Passage
from retrieval.redis_states import RedisStates
from tests.app.auth.issuer import RSA, jwks, public, serve, token
from tests.app.live import live
from tests.app.problems import problem
from tests.conftest import serving
from tests.postgres_server import PASSWORD, PostgresServer
from tests.redis_server import RedisServer, eventually

BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}
AT_ONCE = {"probe_every_s": 0}  # nothing is remembered


def settings_of(folder, **others):
    return Settings(**{"model": "hash", "data_dir": folder, "health": AT_ONCE} | others)


def report(client, status=200):
    """What /health/detailed says, which is what it is described to say."""
    answer = client.get("/health/detailed")
    assert answer.status_code == status, answer.text
    HealthResponse.model_validate(answer.json(), strict=True)
    assert (answer.headers.get("retry-after") == "5") == (status == 503)
    return answer.json()


def component(client, name, status=200):
    return report(client, status)["components"][name]


def statuses(client):
    """Of the whole, and of the components that are not well."""
    answer = client.get("/health/detailed").json()
    return answer["status"], {name for name, of in answer["components"].items() if of["status"] != "ok"}


def test_a_service_that_is_well_says_so(client):
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/health/ready").json()["status"] == "ready"
    told = report(client)
    assert (told["status"], told["reason"]) == ("ok", None)
    assert set(told["components"]) == {"engine", "models", "cache", "event_loop", "memory"}, (
        "what there is, and no more"
    )
    assert {of["last_error"] for of in told["components"].values()} == {None}
    (model,) = told["components"]["models"]["facts"]["models"]
    assert model["name"] == "hash"
    assert 0 < model["probe_ms"] < 2000


def test_a_model_that_cannot_be_loaded_is_told_with_its_error(tmp_path):
    with serving(settings_of(tmp_path, model=str(tmp_path / "none"), model_dir=tmp_path)) as client:
        assert client.get("/health").status_code == 200
        refused = client.get("/health/ready")
        problem(refused, 503, "ModelError")
        assert refused.headers["retry-after"] == "5"
        told = report(client, 503)
        assert told["status"] == "unavailable"
        engine = told["components"]["engine"]
        assert engine["facts"]["phase"] == "failed"
        assert "ModelError" in engine["last_error"]
        age = datetime.now(UTC) - datetime.fromisoformat(engine["last_error_at"])
        assert 0 <= age.total_seconds() < 60
        assert told["components"]["models"]["status"] == "unavailable"


def test_a_service_that_drains_is_alive_and_not_ready(client):
    client.app.state.engine.drain()
    assert client.get("/health").status_code == 200
    problem(client.get("/health/ready"), 503, "about to stop")
    told = report(client, 503)
    assert (told["status"], told["reason"]) == ("unavailable", "the service is about to stop")
    assert told["components"]["engine"]["status"] == "unavailable"
    assert client.post("/rerank", json=BODY).status_code == 200, "it goes on meanwhile"


class Encoder:
    """Breaks the passes of the live server's encoder, or holds them up."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.free = threading.Event()
        self.free.set()
        self.passes = 0
        self.seconds = 0.0  # that each pass takes

    def __call__(self, _: object) -> None:
        self.passes += 1
        time.sleep(self.seconds)
        assert self.free.wait(20)
        if self.error:
            raise self.error


@pytest.fixture
def encoder():
    made = Encoder()
    yield made
    made.free.set()


@contextmanager
def served(settings, monkeypatch, encoder):
    with (
        live(settings, monkeypatch, encoder, log_level="critical") as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client,
    ):
        yield client
        encoder.free.set()


@pytest.mark.parametrize("error", [RuntimeError("the file is gone"), SystemExit()])
def test_an_encoder_that_breaks_makes_it_unready_until_it_mends(tmp_path, monkeypatch, encoder, error):
    with served(settings_of(tmp_path), monkeypatch, encoder) as client:
        assert client.get("/health/ready").status_code == 200
        encoder.error = error
        problem(client.get("/health/ready"), 503, "a probe failed: RuntimeError")
        broken = component(client, "models", 503)
        assert broken["status"] == "unavailable"
        assert "a probe failed" in broken["last_error"]
        assert client.get("/health").status_code == 200
        assert "qrerank_ready 0.0" in client.get("/metrics").text
        encoder.error = None
        assert client.get("/health/ready").status_code == 200
        assert "qrerank_ready 1.0" in client.get("/metrics").text
        mended = component(client, "models")
        assert (mended["status"], mended["last_error"]) == ("ok", broken["last_error"])


def test_an_encoder_that_takes_too_long_makes_it_unready_until_it_is_in_time(tmp_path, monkeypatch, encoder):
    health = AT_ONCE | {"probe_deadline_ms": 700}
    with served(settings_of(tmp_path, health=health), monkeypatch, encoder) as client:
        assert client.get("/health/ready").status_code == 200
        encoder.free.clear()
        passes = encoder.passes
        assert client.get("/health/ready").status_code == 200, "the probe has still time, and the last one was well"
        eventually(lambda: client.get("/health/ready").status_code == 503)
        problem(client.get("/health/ready"), 503, "and 700 ms are allowed")
        assert statuses(client) == ("unavailable", {"models"})
        assert encoder.passes <= passes + 1, "probes do not pile up"
        encoder.free.set()
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert "and 700 ms are allowed" in component(client, "models")["last_error"]


def test_an_overload_leaves_it_ready(tmp_path, monkeypatch, encoder):
    encoder.seconds = 0.02
    engine = {"requests": 4, "queue_requests": 4, "deadline_ms": 0, "least_part": 0}
    with served(settings_of(tmp_path, engine=engine), monkeypatch, encoder) as client:
        over = threading.Event()
        told: list[int] = []

        def ask(number: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                while not over.is_set():
                    texts = [f"{number} {len(told)} {at} {'owl ' * at}" for at in range(20)]
                    told.append(own.post("/rerank", json={"query": "owl", "documents": texts}).status_code)

        threads = [threading.Thread(target=ask, args=[number]) for number in range(16)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: 503 in told)
            refused = told.count(503)
            for _ in range(3):
                answer = client.get("/health/ready")
                assert answer.status_code == 200, answer.text
            eventually(lambda: told.count(503) > refused)
        finally:
            over.set()
            for thread in threads:
                thread.join()


def test_a_probe_reads_anew_each_time_and_leaves_no_trace(tmp_path, monkeypatch, encoder):
    with served(settings_of(tmp_path), monkeypatch, encoder) as client:
        traces = [line for line in client.get("/metrics").text.splitlines() if "encode" in line or "cache" in line]
        assert any("encoded_texts_total" in line for line in traces)
        for _ in range(3):
            passes = encoder.passes
            assert client.get("/health/ready").status_code == 200
            assert encoder.passes >= passes + 2, "the query and the documents"
        after = client.get("/metrics").text.splitlines()
        assert [line for line in after if "encode" in line or "cache" in line] == traces


def test_what_a_probe_found_is_remembered(tmp_path, monkeypatch, encoder):
    with served(settings_of(tmp_path, health={"probe_every_s": 3600}), monkeypatch, encoder) as client:
        assert client.get("/health/ready").status_code == 200
        passes = encoder.passes
        encoder.error = RuntimeError("later")
        for _ in range(10):
            assert client.get("/health/ready").status_code == 200
        assert encoder.passes == passes


def make(folder, name, count=20):
    passages = [Passage(f"p{at}", "", f"passage {at} of an owl") for at in range(count)]
    build(folder / "collections" / name, passages, HashEncoder(), lambda *_: None)
    return folder / "collections" / name


def search(client, name):
    return client.post("/rerank", json={"query": "owl", "collection": name})


def test_a_default_collection_that_is_cut_short_makes_it_unready_until_it_is_whole(tmp_path):
    file = make(tmp_path, "birds") / "tokens.i8"
    with serving(settings_of(tmp_path, default_collection="birds")) as client:
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


def test_another_collection_that_rots_is_refused_and_the_service_goes_on(tmp_path):
    make(tmp_path, "birds")
    rotting = make(tmp_path, "bees")
    health = AT_ONCE | {"certify_every_s": 0.05}
    with serving(settings_of(tmp_path, default_collection="birds", health=health)) as client:
        assert search(client, "bees").status_code == 200
        with (rotting / "pooled.npy").open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(bytes(100))
        eventually(lambda: search(client, "bees").status_code == 503)
        problem(search(client, "bees"), 503, "'bees' is damaged: pooled.npy holds vectors that are not of length 1")
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
    class Other(HashEncoder):
        digest = "other"

    build(tmp_path / "collections" / "birds", [Passage("p", "", "owl")], Other(), lambda *_: None)
    with serving(settings_of(tmp_path, default_collection="birds")) as client:
        problem(client.get("/health/ready"), 503, "was built with model 'hash' and cannot be searched")


def test_a_lost_redis_degrades_what_used_it_and_is_met_again(tmp_path, monkeypatch):
    monkeypatch.setitem(RedisStates.__init__.__kwdefaults__, "retry_s", 0.1)
    monkeypatch.setitem(SharedCounters.__init__.__kwdefaults__, "retry_s", 0.1)
    with RedisServer() as server:
        settings = settings_of(tmp_path, cache={"redis_url": server.url}, auth={"enabled": True})
        with serving(settings) as client:
            assert statuses(client) == ("ok", set())
            assert {"cache_redis", "quota_redis", "keys"} <= report(client)["components"].keys()
            server.kill()
            assert statuses(client) == ("degraded", {"cache_redis", "quota_redis"}), "before anybody needs it"
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
            assert statuses(client) == ("ok", set())
            server.kill()
            eventually(lambda: statuses(client) == ("degraded", {"keys"}))
            assert client.get("/health/ready").status_code == 200
            assert "the database failed: " in component(client, "keys")["last_error"]
            assert PASSWORD not in client.get("/health/detailed").text
            server.start()
            eventually(lambda: statuses(client) == ("ok", set()))


def test_a_file_of_keys_that_is_taken_away_degrades_it_until_it_is_back(tmp_path):
    with serving(settings_of(tmp_path / "data", auth={"enabled": True})) as client:
        eventually(lambda: statuses(client) == ("ok", set()))
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        eventually(lambda: statuses(client) == ("degraded", {"keys"}))
        assert "auth.sqlite3 is gone" in component(client, "keys")["last_error"]
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        eventually(lambda: statuses(client) == ("ok", set()))


def test_a_lost_issuer_of_tokens_degrades_it_and_is_met_again(tmp_path, monkeypatch):
    monkeypatch.setattr("app.auth.jwks.Jwks.__init__.__defaults__", (0,))  # it may be asked again at once
    with serve() as issuer:
        issuer.text, issuer.status = jwks(public(RSA)), 503
        auth = {"enabled": True, "jwt": {"jwks_url": issuer.url, "audience": "owls"}}
        with serving(settings_of(tmp_path, auth=auth)) as client:
            bearer = {"Authorization": f"Bearer {token(aud='owls')}"}
            assert client.get("/v1/models", headers=bearer).status_code == 503
            assert statuses(client) == ("degraded", {"issuer"})
            lost = component(client, "issuer")
            assert "the keys of the tokens' issuer cannot be read: HTTP Error 503" in lost["last_error"]
            assert client.get("/health/ready").status_code == 200
            issuer.status = 200
            eventually(lambda: statuses(client) == ("ok", set()))
            assert client.get("/v1/models", headers=bearer).status_code == 200


def test_targets_are_measured_on_the_requests_that_were_made(client):
    told = report(client)
    assert told["targets"]["rerank_p95_ms"] == {"target": 500, "measured": None, "requests": 0, "meets": None}
    for _ in range(7):
        assert client.post("/rerank", json=BODY).status_code == 200
    pair = {"text1": "owl", "text2": "an owl"}
    assert client.post("/v1/similarity", json=pair).status_code == 200
    assert client.post("/rerank", json={}).status_code == 422
    told = report(client)
    targets = told["targets"]
    assert (targets["rerank_p95_ms"]["requests"], targets["similarity_p95_ms"]["requests"]) == (7, 1)
    for target in targets.values():
        assert target["meets"] == (target["measured"] <= target["target"])
    assert told["meets_targets"] == all(target["meets"] for target in targets.values())
    assert 0 < told["window_s"] < 300
    memory = told["components"]["memory"]["facts"]
    assert targets["memory_bytes"]["measured"] == memory["most_bytes"] >= memory["resident_bytes"] > 10**7


def test_how_each_part_is_may_be_for_administrators_alone(tmp_path):
    settings = settings_of(tmp_path, auth={"enabled": True}, operations={"access": "admin"})
    with serving(settings) as client:
        keys = client.app.state.auth.keys
        made = {role: {"X-API-Key": keys.create("", role, "unlimited", None)[1]} for role in ("user", "admin")}
        answers = [client.get("/health/detailed", headers=headers) for headers in ({}, made["user"], made["admin"])]
        assert [answer.status_code for answer in answers] == [401, 403, 200]
        assert client.get("/health/ready").status_code == client.get("/health").status_code == 200
