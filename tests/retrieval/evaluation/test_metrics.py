"""The metrics against ranx on random runs, hand-computed examples, and undefined cases."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.evaluation.metrics import Qrels, Run, average_precision, mean, mrr, ndcg, oracle, recall, unjudged

Metric = Callable[[Run, Qrels], dict[str, float]]
IDS = [f"d{i}" for i in range(40)]


def random_judgements(seed: int) -> tuple[Run, Qrels]:
    rng = random.Random(seed)  # noqa: S311 (no secret)
    qrels = {f"q{i}": {d: rng.randint(1, 4) for d in rng.sample(IDS, rng.randint(1, 20))} for i in range(25)}
    run = {query: rng.sample(IDS, rng.randint(1, 40)) for query in qrels}
    return run, qrels


@pytest.mark.parametrize("k", [1, 10, 100])
def test_agrees_with_ranx(k: int) -> None:
    import ranx  # lazily, since the import takes a second

    for seed in range(4):
        run, qrels = random_judgements(seed)
        scored = {query: {d: 1 / rank for rank, d in enumerate(ranked, 1)} for query, ranked in run.items()}
        names = {f"ndcg@{k}": ndcg, f"mrr@{k}": mrr, f"recall@{k}": recall, f"map@{k}": average_precision}
        expected = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(scored), list(names))
        for name, metric in names.items():
            assert mean(metric(run, qrels, k)) == pytest.approx(expected[name], abs=1e-12)


def test_by_hand() -> None:
    run = {"q": ["x", "b", "a"]}
    qrels = {"q": {"a": 3, "b": 1, "c": 0, "d": -1}}
    # DCG = 1/log2(3) + 3/log2(4); the ideal order gives 3/log2(2) + 1/log2(3).
    assert ndcg(run, qrels) == {"q": pytest.approx((0.6309297535714575 + 1.5) / (3 + 0.6309297535714575))}
    assert ndcg(run, qrels, k=2) == {"q": pytest.approx(0.6309297535714575 / 3.6309297535714575)}
    assert mrr(run, qrels) == {"q": 0.5}
    assert mrr(run, qrels, k=1) == {"q": 0.0}
    assert recall(run, qrels, k=2) == {"q": 0.5}
    assert average_precision(run, qrels) == {"q": pytest.approx((1 / 2 + 2 / 3) / 2)}
    assert average_precision(run, qrels, k=2) == {"q": 0.25}  # of all relevant documents, retrieved or not
    assert unjudged(run, qrels) == {"q": pytest.approx(1 / 3)}  # a grade of 0 or below is a judgement
    assert oracle(run, qrels) == {"q": ["a", "b", "x"]}


@pytest.mark.parametrize("metric", [ndcg, mrr, recall, average_precision])
def test_missing_queries_score_0_and_queries_without_relevant_documents_are_skipped(metric: Metric) -> None:
    qrels = {"late": {"a": 1}, "none": {"a": 0}, "empty": {}, "missing": {"a": 1}, "nothing found": {"a": 2}}
    run = {"late": ["b", "a"], "none": ["a"], "nothing found": [], "unjudged": ["a"]}
    values = metric(run, qrels)
    assert list(values) == ["late", "missing", "nothing found"]
    assert values["late"] > 0
    assert values["missing"] == values["nothing found"] == 0


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 50))
def test_laws(seed: int, k: int) -> None:
    run, qrels = random_judgements(seed)
    perfect = {query: sorted(grades, key=lambda d: -grades[d]) for query, grades in qrels.items()}
    for metric in (ndcg, mrr, recall, average_precision):
        assert all(0 <= value <= 1 + 1e-12 for value in metric(run, qrels, k).values())
        assert all(
            best >= value - 1e-12
            for best, value in zip(metric(perfect, qrels, k).values(), metric(run, qrels, k).values(), strict=True)
        )
    best = ndcg(oracle(run, qrels), qrels, k)
    assert all(best[query] >= value - 1e-12 for query, value in ndcg(run, qrels, k).items())
    assert {query: set(ranked) for query, ranked in oracle(run, qrels).items()} == {q: set(r) for q, r in run.items()}
    assert set(ndcg(perfect, qrels, k).values()) == {1.0}
    assert all(recall(run, qrels, k + 1)[query] >= less for query, less in recall(run, qrels, k).items())


def test_refuses_what_has_no_value() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ndcg({}, {"q": {"a": 1}}, k=0)
    with pytest.raises(ValueError, match="twice for query 'q'"):
        recall({"q": ["a", "b", "a"]}, {"q": {"a": 1}})
    with pytest.raises(ValueError, match="no query has a relevant document"):
        mean({})
