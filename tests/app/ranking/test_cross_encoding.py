"""The cross-encoder's stage: laws of the new order, what is left out, and the whole service with a tiny model."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking import Reranker
from app.ranking.cross_encoding import CrossEncoding, add
from app.ranking.job import Pace
from app.settings import Settings
from retrieval.cross_encoder.cross_encoder import CrossEncoder
from retrieval.cross_encoder.prepare import load_cross_encoder
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.segment import Segment, build
from retrieval.text.passages import Passage
from tests.app.problems import problem
from tests.conftest import quiet, serving
from tests.retrieval.cross_encoder.tiny_models import save_onnx

QUERY = "which bird sings at night"
DOCUMENTS = [f"the nightingale sings {place} dusk" for place in ("after", "at", "the", "mice", "owl")]
DOCUMENTS += ["stock prices fell", "an owl hunts mice at night", "an owl hunts mice at night"]
NUMBERS = st.floats(-20, 20).map(lambda x: round(x, 3))


@given(st.lists(st.tuples(NUMBERS, NUMBERS | st.none()), min_size=1, max_size=12))
def test_only_what_was_read_moves_and_within_its_range(rows):
    fused = np.array([score for score, _ in rows])
    logits = np.array([np.nan if logit is None else logit for _, logit in rows])
    read, changed = np.isfinite(logits), add(fused, logits)
    np.testing.assert_array_equal(changed[~read], fused[~read])
    if read.any():
        assert changed[read].min() >= fused[read].min()
        if np.ptp(fused[read]):
            assert changed[read].max() <= fused[read].max() + 1e-9
    for a in np.flatnonzero(read):
        for b in np.flatnonzero(read):  # whoever both prefer stays above
            if fused[a] >= fused[b] and logits[a] >= logits[b]:
                assert changed[a] >= changed[b] - 1e-9


def test_a_cross_encoder_that_contradicts_changes_nothing():
    fused = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(add(fused, np.array([5.0, 1.0, -5.0])), fused)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_onnx(tmp_path_factory.mktemp("cross"))


@pytest.fixture(scope="module")
def encoder(folder):
    return CrossEncoder(load_cross_encoder(str(folder), folder, quiet), 2**20)


def reranker(encoder, top_k=3):
    return Reranker(HashEncoder(), cross=CrossEncoding(encoder, top_k))


@pytest.mark.parametrize("top_k", [1, 3, 100])
def test_the_best_are_read_and_the_rest_stays_below_in_its_order(encoder, top_k):
    both = reranker(encoder, top_k)
    hybrid = both.rerank(QUERY, DOCUMENTS)
    crossed = both.rerank(QUERY, DOCUMENTS, method="hybrid+cross")
    read = np.isfinite(crossed.rankers["cross_encoder"])
    best = list(dict.fromkeys(DOCUMENTS[at] for at in hybrid.order))[:top_k]  # texts: a copy takes no place
    assert read.tolist() == [text in best for text in DOCUMENTS]
    count = int(read.sum())
    assert sorted(crossed.order[:count]) == sorted(hybrid.order[:count])
    assert crossed.order[count:].tolist() == hybrid.order[count:].tolist()
    assert crossed.dropped == ()
    assert (np.diff(crossed.scores[crossed.order]) <= 0).all()
    assert crossed.scores[6] == crossed.scores[7]  # equal texts
    expected = encoder.scores(QUERY, [DOCUMENTS[at] for at in np.flatnonzero(read)], math.inf, Deadline())
    np.testing.assert_array_equal(crossed.rankers["cross_encoder"][read], expected)


@pytest.mark.parametrize("options", [{"exclude": ["the nightingale sings"]}, {"diversity": 0.9}])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_those_are_read_that_stand_first_by_what_is_excluded_and_how_they_differ(encoder, top_k, options):
    both = reranker(encoder, top_k)
    order = both.rerank(QUERY, DOCUMENTS, **options).order
    assert order.tolist() != both.rerank(QUERY, DOCUMENTS).order.tolist()
    best = list(dict.fromkeys(DOCUMENTS[at] for at in order))[:top_k]
    crossed = both.rerank(QUERY, DOCUMENTS, method="hybrid+cross", **options)
    assert [text in best for text in DOCUMENTS] == np.isfinite(crossed.rankers["cross_encoder"]).tolist()


def test_the_same_request_gets_the_same_answer_cached_or_not(encoder, folder):
    fresh = CrossEncoder(load_cross_encoder(str(folder), folder, quiet))
    answers = [reranker(each).rerank(QUERY, DOCUMENTS, method="hybrid+cross") for each in (encoder, encoder, fresh)]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.scores, answers[0].scores)


def test_an_excluded_document_is_never_raised(encoder):
    both = reranker(encoder, 5)
    plain = both.rerank(QUERY, DOCUMENTS, method="hybrid+cross").order.tolist()
    excluding = both.rerank(QUERY, DOCUMENTS, method="hybrid+cross", exclude=["an owl hunts mice at night"])
    for at in (6, 7):
        assert excluding.order.tolist().index(at) >= plain.index(at)


def test_partial_rankings_come_before_the_cross_encoder(encoder):
    reports = []
    both = reranker(encoder)
    final = both.rerank(QUERY, DOCUMENTS, method="hybrid+cross", report=reports.append)
    assert reports[-1].order.tolist() == both.rerank(QUERY, DOCUMENTS).order.tolist()
    assert "cross_encoder" in final.rankers
    assert "cross_encoder" not in reports[-1].rankers


class Reading:
    """A cross-encoder that keeps what it was given to read."""

    def scores(self, _, texts, *__):
        self.read = texts
        return np.zeros(len(texts))


class Short(HashEncoder):
    """Reads sixteen words at once."""

    max_tokens = 16


def test_of_a_long_document_the_chunk_that_scored_best_is_read(tmp_path):
    reading, filler = Reading(), "stock prices fell again today. " * 12
    long = filler + "the nightingale sings at night. " + filler
    both = Reranker(Short(), cross=CrossEncoding(reading))
    both.rerank(QUERY, [long, "an owl hunts"], method="hybrid+cross")
    read = max(reading.read, key=len)
    assert "sings at night" in read
    assert read in long
    assert len(read.split()) <= Short.max_tokens
    build(tmp_path / "birds", [Passage(str(i), "", text) for i, text in enumerate(DOCUMENTS)], Short(), lambda *_: None)
    both.search(QUERY, Segment(tmp_path / "birds"), method="hybrid+cross")
    assert {*reading.read} == {*DOCUMENTS}


class Failing:
    """A cross-encoder whose every pass fails."""

    def __init__(self, error):
        self.error = error

    def scores(self, *_):
        raise self.error


def test_one_that_fails_is_left_out_and_the_answer_is_hybrids():
    both = reranker(Failing(RuntimeError("boom")))
    crossed = both.rerank(QUERY, DOCUMENTS, method="hybrid+cross")
    assert crossed.dropped == ("cross_encoder",)
    np.testing.assert_array_equal(crossed.scores, both.rerank(QUERY, DOCUMENTS).scores)
    with pytest.raises(Cancelled):
        reranker(Failing(Cancelled("gone"))).rerank(QUERY, DOCUMENTS, method="hybrid+cross")


def test_one_that_is_late_is_left_out(folder):
    both = reranker(CrossEncoder(load_cross_encoder(str(folder), folder, quiet)))
    crossed = both.rerank(QUERY, DOCUMENTS, method="hybrid+cross", deadline=Deadline.after(0.001))
    assert crossed.dropped == ("cross_encoder",)
    assert len(crossed.order) == len(DOCUMENTS)


def test_its_fusion_is_no_part_of_what_scoring_a_chunk_costs(encoder, monkeypatch):
    learned = []
    monkeypatch.setattr(Pace, "learn", lambda _, ms, __: learned.append(ms["fuse"]))
    ranking = reranker(encoder).rerank(QUERY, DOCUMENTS, method="hybrid+cross")
    fused = [lap.seconds * 1e3 for lap in ranking.laps if lap.stage == "fuse"]
    assert len(fused) == 2
    assert learned == [fused[0]]


def test_without_one_the_method_is_refused():
    with pytest.raises(ValueError, match="needs a cross-encoder"):
        Reranker(HashEncoder()).rerank(QUERY, DOCUMENTS, method="hybrid+cross")


ASK = {"query": QUERY, "documents": DOCUMENTS, "method": "hybrid+cross", "explain": True}


def test_the_service_serves_it_tells_of_it_and_counts(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("app.engine.engine.check_pairs", lambda _: None)  # this model knows nothing of birds
    settings = Settings(model="hash", data_dir=tmp_path, cross_encoder={"model": str(folder), "top_k": 3})
    with serving(settings) as client:
        answer = client.post("/rerank", json=ASK).json()
        assert answer["meta"]["method"] == "hybrid+cross"
        assert answer["meta"]["degraded"] == []
        logits = {DOCUMENTS[row["index"]]: row["scores"]["cross_encoder"] for row in answer["results"]}
        assert sum(logit is not None for logit in logits.values()) == 3
        named = client.post("/rerank", json=ASK | {"method": None, "model": "hash:hybrid+cross"}).json()
        assert named["results"] == answer["results"]
        assert "hash:hybrid+cross" in [model["id"] for model in client.get("/v1/models").json()["data"]]
        assert client.get("/info").json()["cross_encoder"]["top_k"] == 3
        facts = client.get("/health/detailed").json()["components"]["cross_encoder"]["facts"]
        assert facts["pairs"] == facts["entries"] == 3
        monkeypatch.setattr(CrossEncoder, "scores", Failing(RuntimeError("boom")).scores)
        failed = client.post("/rerank", json=ASK).json()
        assert failed["meta"]["degraded"] == ["cross_encoder"]
        assert len(failed["results"]) == len(DOCUMENTS)
        assert 'qrerank_rankers_dropped_total{ranker="cross_encoder"} 1.0' in client.get("/metrics").text
        similar = {"text1": "owl", "text2": "an owl", "model": "hash:hybrid+cross"}
        assert client.post("/v1/similarity", json=similar).json()["method"] == "hybrid"


def test_a_service_without_one_says_what_to_set(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path)) as client:
        problem(client.post("/rerank", json=ASK), 422, "QRERANK_CROSS_ENCODER__MODEL")
        assert client.get("/info").json()["cross_encoder"] is None


def failing(*of):
    raise RuntimeError("boom")


FAULTS = {"classical": "scoring.Scorer._cosine", "quantum": "scoring.Scorer._fidelity"}
LEXICAL = "candidates.SentDocuments.matches"


@pytest.mark.parametrize("ranker", ["classical", "quantum", "lexical"])
def test_a_ranker_that_fails_is_left_out_and_the_others_answer(monkeypatch, ranker):
    monkeypatch.setattr(f"app.ranking.{FAULTS.get(ranker, LEXICAL)}", failing)
    ranking = Reranker(HashEncoder()).rerank(QUERY, DOCUMENTS)
    assert ranking.dropped == (ranker,)
    assert len(ranking.order) == ranking.encoded == len(DOCUMENTS)
    assert np.isfinite(ranking.scores).all()
    assert set(ranking.rankers) - {"lexical"} == {"classical", "quantum"} - {ranker}


def test_where_all_that_a_method_needs_fail_there_is_no_answer(monkeypatch):
    for place in FAULTS.values():
        monkeypatch.setattr(f"app.ranking.{place}", failing)
    words = Reranker(HashEncoder()).rerank(QUERY, DOCUMENTS)
    assert words.dropped == ("classical", "quantum")
    assert set(words.rankers) == {"lexical"}
    for method in ("classical", "quantum"):
        with pytest.raises(RuntimeError, match="boom"):
            Reranker(HashEncoder()).rerank(QUERY, DOCUMENTS, method=method)
    monkeypatch.setattr(f"app.ranking.{LEXICAL}", failing)
    with pytest.raises(RuntimeError, match="boom"):
        Reranker(HashEncoder()).rerank(QUERY, DOCUMENTS)
