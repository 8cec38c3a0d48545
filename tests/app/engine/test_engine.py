import asyncio
import threading
from contextlib import closing

import pytest

from app.engine.engine import Engine, ModelRegistry
from app.errors import NotReady, Overloaded
from app.identity import ANONYMOUS
from app.ranking.methods import split_method
from app.ranking.reranker import Reranker
from app.service.request import RerankRequest, resolve
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import ModelError
from tests.conftest import serving
from tests.redis_server import KEYS, RedisServer, open_states, share, states_of
from tests.waiting import PATIENT_S


def load(encoder: type[HashEncoder] = HashEncoder) -> ModelRegistry:
    return ModelRegistry({"hash": Reranker(encoder())})


ASKED = resolve(RerankRequest("owl", ["song"], ["song"]), load(), Settings(model="hash"), "ada", ANONYMOUS)


def test_it_is_ready_once_loaded_and_probed():
    async def story():
        engine = Engine(load, threads=1, queue=0)
        assert engine.state.phase == "loading"
        with pytest.raises(NotReady, match="being loaded"):
            await engine.run(lambda: None, ASKED)
        await engine.start()
        assert engine.state.phase == "ready"
        assert await engine.run(lambda: "done", ASKED) == "done"
        engine.close()
        with pytest.raises(NotReady, match="shutting down"):
            await engine.run(lambda: None, ASKED)

    asyncio.run(story())


def test_a_model_that_does_not_load_is_said_and_nothing_is_served():
    def fail() -> ModelRegistry:
        raise ModelError("the model is gone")

    async def story():
        engine = Engine(fail, threads=1, queue=0)
        with pytest.raises(ModelError):
            await engine.start()
        assert engine.state.phase == "failed"
        with pytest.raises(NotReady, match="the model is gone"):
            await engine.run(lambda: None, ASKED)

    asyncio.run(story())


def test_a_model_that_ranks_nonsense_does_not_become_ready():
    class Backwards(HashEncoder):
        def tokenize(self, texts, role="document"):
            return super().tokenize(["stock" if role == "query" else text for text in texts], role)

    async def story():
        engine = Engine(lambda: load(Backwards), threads=1, queue=0)
        with pytest.raises(NotReady, match="probe"):
            await engine.start()
        assert engine.state.phase == "failed"

    asyncio.run(story())


def test_what_redis_holds_of_a_probes_texts_does_not_keep_it_from_getting_ready(tmp_path, patient_cache):
    """Whoever writes into Redis may have put one text's state in another's place, so that the answer would be last."""
    query, answer = "which bird sings at night, asks 0", "the nightingale sings after dusk, says 0"
    other = "stock prices fell sharply, says 0"
    with RedisServer() as server:
        with closing(open_states(server.url)) as states:
            documents, questions = states_of(answer, other), states_of(query)
            swapped = dict(zip(documents, reversed(documents.values()), strict=True))
            share(states, swapped | {KEYS("query", query): questions[KEYS("document", query)]})
        with serving(Settings(model="hash", data_dir=tmp_path, cache={"redis_url": server.url})) as client:
            assert client.get("/health/ready").status_code == 200
            (counts,) = client.app.state.dependencies.engine.counts().replicas.values()
            assert (counts.hits, counts.misses, counts.written) == (0, 0, 0)
            order = client.post("/rerank", json={"query": query, "documents": [answer, other], "method": "classical"})
            assert [row["index"] for row in order.json()["results"]] == [1, 0], "what was put there does lead astray"


def test_no_more_wait_than_may_and_the_loop_stays_free():
    async def story():
        engine = Engine(load, threads=1, queue=1)
        await engine.start()
        go = threading.Event()
        admitted = [asyncio.create_task(engine.run(lambda: go.wait(PATIENT_S), ASKED)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 requests"):
            await engine.run(lambda: None, ASKED)
        go.set()
        assert await asyncio.gather(*admitted) == [True, True]
        assert await engine.run(lambda: 7, ASKED) == 7
        engine.close()

    asyncio.run(story())


def test_an_error_in_the_work_reaches_its_caller_and_frees_its_place():
    async def story():
        engine = Engine(load, threads=1, queue=0)
        await engine.start()
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await engine.run(lambda: 1 // 0, ASKED)
        assert await engine.run(lambda: 7, ASKED) == 7
        engine.close()

    asyncio.run(story())


def test_readiness_over_http(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path)) as client:
        assert client.get("/health").json() == {"status": "alive"}
        assert client.get("/health/ready").json()["status"] == "ready"
    with serving(Settings(model=str(tmp_path), model_dir=tmp_path, data_dir=tmp_path)) as client:
        assert client.get("/health").status_code == 200
        response = client.get("/health/ready")
        assert response.status_code == 503
        assert "holds no weights" in response.json()["detail"]
        assert response.headers["retry-after"].isdecimal()
        assert client.post("/rerank", json={"query": "a", "documents": ["b"]}).status_code == 503


class Other(HashEncoder):
    name = "other"


@pytest.fixture(scope="module")
def models():
    served = {"hash": Reranker(HashEncoder()), "team/other": Reranker(Other())}
    return ModelRegistry(served, {"rerank-v3.5": "team/other:quantum", "plain": "hash"})


@pytest.mark.parametrize(
    ("asked", "name", "served", "method"),
    [
        (None, "hash", "hash", None),
        ("", "hash", "hash", None),
        ("hash", "hash", "hash", None),
        ("other", "other", "other", None),
        ("team/other", "team/other", "other", None),
        ("anybody/other:classical", "anybody/other:classical", "other", "classical"),
        ("rerank-v3.5", "rerank-v3.5", "other", "quantum"),
        ("plain", "plain", "hash", None),
        ("jina-reranker-v2-base-multilingual", "jina-reranker-v2-base-multilingual", "hash", None),
        ("other:magic", "other:magic", "hash", None),
        (7, "7", "hash", None),
        ({"id": "other"}, '{"id":"other"}', "hash", None),
        ([], "[]", "hash", None),
    ],
)
def test_any_model_chooses_one_and_is_echoed(models, asked, name, served, method):
    choice = models.choose(asked)
    assert (choice.name, choice.reranker.encoder.name, choice.method) == (name, served, method)


def test_the_first_is_the_default_and_all_names_are_told(models):
    assert models.default.encoder.name == "hash"
    assert models.names() == ["hash", "other", "rerank-v3.5", "plain"]


@pytest.mark.parametrize("name", ["", "m", "m:", "m:Quantum", ":"])
def test_what_is_no_method_stays_in_the_name(name):
    assert split_method(name) == (name, None)
