"""Feedback in both databases."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from app.errors import UnknownRequest
from app.feedback.judgements import Ranked, Scope
from app.feedback.learner import EXPERTS, Evidence
from app.feedback.store import FeedbackStore

SCOPE = Scope("birds", "standard")
RANKED = Ranked(
    "key_a",
    "request 1",
    SCOPE,
    1000.0,
    np.array([[0.5, -1], [2, 0], [0, 1]], dtype=np.float32),
    np.array([0.5, 1.0, 1.0]),
    np.array([2, 0], dtype=np.int16),
    ["a", "b"],
)
ONE = Evidence(1.0, np.arange(EXPERTS) / EXPERTS)


@pytest.fixture
def store(database):
    return FeedbackStore(database)


def judged(store, who="key_a", name="request 1", labels=None, evidence=ONE):
    seen = []

    def learn(ranking):
        seen.append(ranking)
        return labels or {}, evidence

    store.judge(who, name, learn)
    return seen[0]


def test_a_ranking_comes_back_as_it_was(store):
    store.remember([RANKED], oldest=0, most=10)
    found = judged(store, labels={"1": "relevant"})
    assert (found.who, found.id, found.scope, found.documents) == ("key_a", "request 1", SCOPE, ["a", "b"])
    for name in ("scores", "defaults", "positions"):
        np.testing.assert_array_equal(getattr(found, name), getattr(RANKED, name))
    assert judged(store).judged == {"1": "relevant"}


def test_a_request_id_that_comes_again_is_the_later_request(store):
    later = replace(RANKED, created=1001.0, documents=None)
    store.remember([RANKED, later], oldest=0, most=10)
    store.remember([replace(later, scope=Scope("", "public"))], oldest=0, most=10)
    assert judged(store).scope == Scope("", "public")


def test_old_rankings_and_too_many_are_forgotten(store):
    store.remember([replace(RANKED, id=str(at), created=float(at)) for at in range(6)], oldest=1.5, most=3)
    for name, known in {"0": False, "1": False, "2": False, "3": True, "5": True}.items():
        if known:
            assert judged(store, name=name).id == name
        else:
            with pytest.raises(UnknownRequest, match="X-Request-ID"):
                judged(store, name=name)
    with pytest.raises(UnknownRequest):
        judged(store, who="key_b", name="5")  # somebody else's


def test_evidence_adds_up_across_replicas(store, opened):
    store.remember([replace(RANKED, id=str(at), created=float(at)) for at in range(8)], oldest=-1, most=10)
    stores = [FeedbackStore(opened()) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda at: judged(stores[at % 4], name=str(at)), range(8)))
    [total] = store.evidence()[SCOPE]
    assert total.judged == 8
    np.testing.assert_allclose(total.losses, 8 * ONE.losses)


def test_a_failing_judgement_changes_nothing(store):
    store.remember([RANKED], oldest=0, most=10)

    def fail(_):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.judge("key_a", "request 1", fail)
    assert store.evidence() == {}
    assert judged(store).judged == {}


def test_what_was_learned_is_forgotten_by_scope(store):
    scopes = [Scope("birds", "standard"), Scope("birds", "public"), Scope("", "public")]
    for at, scope in enumerate(scopes):
        store.remember([replace(RANKED, id=str(at), created=float(at), scope=scope)], oldest=-1, most=10)
        judged(store, name=str(at))
    assert store.forget("", None) == 1
    assert set(store.evidence()) == set(scopes[:2])
    assert store.forget("birds", "public") == 1
    assert store.forget(None, None) == 1
    assert store.evidence() == {}


def test_replicas_may_store_one_request_id_at_once(store, opened):
    """A caller that sends the same X-Request-ID each time loses no ranking of others, written with its own."""
    stores, rounds = [FeedbackStore(opened()) for _ in range(4)], range(20)

    def remember(at):
        both = [replace(RANKED, id="the same"), replace(RANKED, id=str(at))]
        stores[at % 4].remember(both[:: -1 if at % 2 else 1], oldest=0, most=100)

    with ThreadPoolExecutor() as pool:
        list(pool.map(remember, rounds))
    for at in rounds:
        assert judged(store, name=str(at)).id == str(at)
