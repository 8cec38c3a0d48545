import os
import time
from itertools import cycle, islice

import orjson
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.capacity import COLD, PAIRS, WARM, Served, cached, first, serve, served_table, unseen
from benchmarks.corpus import Passages, Task
from benchmarks.server import Server, cpu_seconds, resident_bytes
from benchmarks.wire import post
from retrieval.text.demo import demo_passages
from tests.app.live import live

TASK = Task("owl", ("an owl", "a river", "a road"))


def body(request):
    return orjson.loads(request.partition(b"\r\n\r\n")[2])


def test_requests_have_the_first_documents_and_no_deadline():
    (request,) = first([TASK], 2)
    assert body(request) == {"query": "owl", "documents": ["an owl", "a river"], "method": "hybrid", "deadline_ms": 0}
    assert body(first([TASK], PAIRS)[0]) == {"text1": "owl", "text2": "an owl"}


def test_unseen_documents_come_once():
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    passages = Passages(" ".join(passage.text for passage in islice(demo_passages(), 300)), tokenizer)
    three = [body(request)["documents"] for request in islice(unseen(passages, 4, 20), 3)]
    assert len({text for documents in three for text in documents}) == 12


def test_processor_time_and_memory_are_read():
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert cpu_seconds(os.getpid()) - before >= 0.05
    assert resident_bytes(os.getpid()) > 10**6
    assert (cpu_seconds(2**22 + 1), resident_bytes(2**22 + 1)) == (0, 0)  # of a process that is not there


def test_a_server_is_loaded_and_a_refused_request_is_no_figure(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        server = Server(here.port, os.getpid())
        assert serve(server, cycle(first([TASK], 3)), 2, 0.05)[0] > 0
        assert cached(here.port)[0] >= 3
        with pytest.raises(RuntimeError, match="3 of 3 requests failed"):
            serve(server, iter([post("/rerank", b"{}")] * 3), 1, 5)


def test_the_table_has_a_row_for_each_size():
    text = served_table(
        [Served(WARM, 100, 64, 50, 20), Served(WARM, PAIRS, 64, 1000, 1), Served(COLD, 100, 64, 2, 900)]
    )
    assert "| 100 | 50.0 / 20.0 | 2.00 / 900 |" in text
    assert "| one pair, /v1/similarity | 1000 / 1.00 |  |" in text
