import os
import time
from itertools import islice

import orjson
import pytest

from benchmarks.capacity import Measured, cached, cpu_seconds, cut, pair, unseen, warm_rows
from benchmarks.corpus import Passages, Task
from benchmarks.planning import COLD, WARM
from benchmarks.server import Server
from benchmarks.wire import post
from retrieval.text.demo import demo_passages
from tests.app.live import live

TASK = Task("owl", ("an owl", "a river", "a road"))


@pytest.fixture
def passages():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return Passages(" ".join(passage.text for passage in islice(demo_passages(), 300)), tokenizer)


def body(request):
    return orjson.loads(request.partition(b"\r\n\r\n")[2])


def test_requests_are_cut_from_the_pools_and_have_no_deadline():
    (request,) = cut([TASK], 2)
    assert body(request) == {"query": "owl", "documents": ["an owl", "a river"], "method": "hybrid", "deadline_ms": 0}
    assert body(pair(TASK)) == {"text1": "owl", "text2": "an owl"}


def test_unseen_documents_come_once(passages):
    three = [body(request)["documents"] for request in islice(unseen(passages, 4, 20), 3)]
    assert len({text for documents in three for text in documents}) == 12
    assert "text2" in body(next(unseen(passages, 0, 20)))


def test_processor_time_is_counted():
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert cpu_seconds(os.getpid()) - before >= 0.05


def test_rows_are_measured_on_a_server(hash_settings, monkeypatch, passages):
    monkeypatch.setattr("benchmarks.capacity.WARM_S", 0.05)
    monkeypatch.setattr("benchmarks.capacity.DOCUMENTS", (2, 5))
    steps = []
    with live(hash_settings, monkeypatch) as here:
        measured = Measured(Server(here.port, os.getpid()), 1, lambda: steps.append(1))
        rows, size = warm_rows(measured, passages, 20)
        assert [(row.states, row.documents, row.per_second > 0) for row in rows] == [
            (WARM, documents, True) for documents in (2, 5, 0)
        ]
        entries, total = cached(here.port)
        assert entries >= 60
        assert 0 < size < total
        cold = measured.serve(COLD, 2, 20, unseen(passages, 2, 20), 0.05)
        assert cold.per_second > 0
        assert len(steps) == 4


def test_a_refused_request_is_no_figure(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        measured = Measured(Server(here.port, os.getpid()), 1, lambda: None)
        with pytest.raises(RuntimeError, match="3 of 3 requests failed"):
            measured.serve(COLD, 1, 1, iter([post("/rerank", b"{}")] * 3), 5)
