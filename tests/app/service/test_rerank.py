"""From requests to outcomes: what the routes' tests cannot see."""

import math
from dataclasses import replace

import pytest

from app.engine.engine import ModelRegistry
from app.identity import ANONYMOUS
from app.ranking.reranker import Reranker
from app.service.collections import OpenCollections
from app.service.request import RerankRequest, SpanOptions, resolve
from app.service.rerank import rerank
from app.settings import LimitSettings, Settings
from retrieval.deadline import Deadline
from retrieval.encoder.hash_encoder import HashEncoder

FILLER = "prices rose and fell again in the market " * 200  # 1600 words, which the hash model reads in four chunks
LONG = FILLER + "the nightingale sings after dusk. " + FILLER


@pytest.fixture(scope="module")
def models():
    return ModelRegistry({"hash": Reranker(HashEncoder())})


@pytest.fixture
def ask(models, tmp_path):
    def ask(query, documents, limits=None, **fields):
        settings = Settings(model="hash", data_dir=tmp_path, limits=limits or LimitSettings())
        request = RerankRequest(query, documents, documents, **fields)
        return rerank(resolve(request, models, settings, "ada", ANONYMOUS), OpenCollections(tmp_path), "id")

    return ask


def scores(outcome):
    return {row.index: row.score for row in outcome.rows}


def test_a_long_document_scores_as_its_best_chunk(ask):
    ranked = ask("nightingale sings", [FILLER, LONG, "market prices"], method="quantum")
    assert ranked.rows[0].index == 1
    alone = ask("nightingale sings", ["the nightingale sings after dusk"], method="quantum")
    fidelities = ranked.ranking.rankers["quantum"]
    assert fidelities[1] == pytest.approx(alone.ranking.rankers["quantum"][0])


@pytest.mark.parametrize("reading", [{"max_tokens": 100}, {"max_chunks": 1}])
def test_what_is_not_read_does_not_count(ask, reading):
    cut = scores(ask("nightingale sings", [FILLER, LONG], **reading))
    assert cut[0] == cut[1]  # they begin alike
    assert scores(ask("nightingale sings", [FILLER, LONG]))[1] > cut[1]


def test_the_setting_bounds_the_chunks(ask):
    one = LimitSettings(chunks_per_document=1)
    most = ask("nightingale sings", [LONG], one, max_chunks=200, method="quantum")
    assert scores(most) == scores(ask("nightingale sings", [LONG], max_chunks=1, method="quantum"))


def test_spans_are_of_the_documents_shown_and_hold_what_was_asked(ask):
    documents = ["Prices rose. The nightingale sings! Prices fell.", "Nothing here."]
    outcome = ask("nightingale sings", documents, top_n=1, spans=SpanOptions(0.2, 1))
    (row,) = outcome.rows
    (span,) = row.spans
    assert documents[row.index][span["start"] : span["end"]] == "The nightingale sings!"
    assert 0.2 <= span["score"] <= 1
    assert ask("nightingale sings", documents).rows[0].spans is None


def test_a_document_that_was_not_read_has_no_spans(models, tmp_path):
    request = RerankRequest("owl", ["owl"], ["owl"], spans=SpanOptions())
    resolved = replace(resolve(request, models, Settings(model="hash"), "ada", ANONYMOUS), deadline=Deadline(0.0))
    outcome = rerank(resolved, OpenCollections(tmp_path), "id")
    assert outcome.degraded == ["deadline"]
    assert outcome.rows[0].spans is None


def test_a_document_of_which_too_little_was_looked_at_degrades_the_answer(ask):
    end = 32 * 512
    assert ask("owl", ["owl", "x" * (end + 1)]).degraded == ["truncated"]
    assert ask("owl", ["owl", "x" * end]).degraded == []
    assert ask("owl", ["owl", "a book of owls " * 20_000]).degraded == ["chunks"]  # only its beginning is read


def test_raw_scores_stay_finite(ask):
    outcome = ask("owl", ["owl", "price"], method="quantum", raw_scores=True)
    assert all(math.isfinite(row.score) for row in outcome.rows)


def test_reports_come_before_the_outcome_and_hold_no_documents(models, tmp_path):
    request = RerankRequest("owl", ["owl", "price"], ["owl", "price"], return_documents=True, top_n=1)
    reports = []
    resolved = resolve(request, models, Settings(model="hash"), "ada", ANONYMOUS)
    outcome = rerank(resolved, OpenCollections(tmp_path), "id", reports.append)
    assert reports[0].ranking.encoded == 0
    assert all(len(report.rows) == 1 and report.rows[0].document is None for report in reports)
    assert outcome.rows[0].document == "owl"
