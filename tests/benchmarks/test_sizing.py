"""What capacity and sizes are derived from: requests, and the time and memory of a real server."""

import os
from itertools import islice, product

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.capacity import DOCUMENTS, PAIRS, SECONDS, TOKENS, cached, first, serve, served_table, unseen
from benchmarks.corpus import Passages, Task
from benchmarks.server import Server
from benchmarks.sizing import DEPLOYMENTS, Configuration, Measured, Rule, burst, forget_peaks, peak, report, rule
from benchmarks.wire import Request
from retrieval.text.demo import demo_passages
from tests.app.live import live
from tests.waiting import PATIENT_S

TASK = Task("owl", ("an owl", "a river", "a road"))
FEW, MANY, PAIR = Configuration(1, 1, 64, 8), Configuration(1, 1, 256, 32), Configuration(2, 2, 256, 32)


def body(request):
    return orjson.loads(request.body)


def measured(configuration, most, idle=400.0):
    return Measured(configuration, 3.0, idle, most, most - 10, 50.0)


ROWS = [measured(FEW, 590), measured(MANY, 710), measured(PAIR, 1400, idle=900)]


def test_requests_have_the_first_documents_and_no_deadline_and_unseen_ones_come_once():
    (request,) = first([TASK], 2)
    assert body(request) == {"query": "owl", "documents": ["an owl", "a river"], "method": "hybrid", "deadline_ms": 0}
    assert body(first([TASK], PAIRS)[0]) == {"text1": "owl", "text2": "an owl"}
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    passages = Passages(" ".join(passage.text for passage in islice(demo_passages(), 300)), tokenizer)
    three = [body(request)["documents"] for request in islice(unseen(passages, 4, 20), 3)]
    assert len({text for documents in three for text in documents}) == 12


def test_a_server_is_loaded_with_all_there_is_and_a_refused_request_is_no_figure(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        server = Server(here.port, os.getpid())
        supply = iter(first([TASK], 3) * 50)  # takes longer than the clock of processors ticks
        assert min(serve(server, supply, 2, PATIENT_S)) > 0  # requests a second, core milliseconds
        assert cached(here.port)[0] >= 3
        supply = iter(first([TASK], 3) * 7)
        assert burst(server, supply, 3) > 0
        assert next(supply, None) is None
        with pytest.raises(RuntimeError, match="3 of 3 requests failed"):
            serve(server, iter([Request("/rerank", b"{}")] * 3), 1, PATIENT_S)


def test_the_table_of_capacity_has_a_row_for_each_size():
    text = served_table({(*cell, documents): (50, 20) for cell in product(SECONDS, TOKENS) for documents in DOCUMENTS})
    assert "| 100 | 50.0 / 20.0 | 50.0 / 20.0 | 50.0 / 20.0 | 50.0 / 20.0 |" in text
    assert text.count("\n") == 1 + len(DOCUMENTS)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(500, 2000)), min_size=2, max_size=8))
def test_no_measured_row_lies_above_the_rule(points):
    rows = [measured(Configuration(1, 1, 64, requests), most) for requests, most in (*points, (41, 600), (1, 600))]
    found = rule([*rows, ROWS[-1]])
    assert all(found.working + row.at_once * found.request >= row.working - 1e-6 for row in rows)


def test_the_limit_leaves_a_fifth_of_every_workers_peak_free():
    found = Rule(idle=400, supervisor=100, working=50, request=5)
    assert found.peak(FEW) == 400 + 50 + 64 + 40
    assert found.peak(PAIR) == 2 * (400 + 50 + 256 + 160) + 100
    for each in DEPLOYMENTS:
        limit = found.limit(each.given)
        assert limit % 128 == 0
        assert limit * 0.8 >= found.peak(each.given) > (limit - 128) * 0.8


def test_the_report_has_a_row_for_each_server_and_deployment():
    text = report(ROWS)
    assert "| 1, 1, 64, 8 | 3.00 | 400 | 590 | 580 | 50.0 |" in text
    assert "idle 400, working 100, request 5.0, supervisor 100 MiB" in text
    assert "| small | 2 | 1 | 1 | 128 | 8 | 1 / 1 | 668 | 896 |" in text  # 400 + 100 + 128 + 40, and a quarter


def test_a_peak_is_of_what_came_after_it_was_forgotten():
    taken = np.ones(2**23)  # 64 MiB
    high = peak(os.getpid())
    del taken
    forget_peaks(os.getpid())
    assert high - peak(os.getpid()) > 32
