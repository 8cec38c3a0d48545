import orjson
import pytest

from app.quotas.settings import QuotaSettings
from loadtests.mix import DOCUMENTS, KINDS, PASSAGES, PRD, QUERIES, TIERS, Refused, Wrong, check, open_traffic, traffic
from loadtests.shapes import NORMAL_USERS, PLANS, Stage, stretched, users_at


def test_all_requests_together_are_the_prds_mix_and_each_tier_sends_its_part_of_them():
    assert PRD == {"similarity": 30, "small": 40, "medium": 20, "large": 10}
    assert {kind: sum(tier.asks.get(kind, 0) for tier in TIERS.values()) for kind in KINDS} == PRD
    rates = {name: tier.users * 2 / sum(tier.seconds) for name, tier in TIERS.items()}
    for name, tier in TIERS.items():
        assert 100 * rates[name] / sum(rates.values()) == pytest.approx(sum(tier.asks.values()))


def test_the_normal_users_ask_for_what_the_target_wants_and_more():
    assert sum(tier.users for tier in TIERS.values()) == 10
    assert NORMAL_USERS / 10 * sum(tier.users * 2 / sum(tier.seconds) for tier in TIERS.values()) == pytest.approx(50)


@pytest.mark.parametrize("name", TIERS)
def test_nobody_asks_for_more_than_the_tier_allows(name):
    tier, limits = TIERS[name], getattr(QuotaSettings(), name)
    assert max(DOCUMENTS.get(kind, 1) for kind in tier.asks) <= limits.documents
    assert 60 / tier.seconds[0] < limits.requests_per_minute


def ranked(indices=range(10), scores=None):
    scores = [1 - 0.01 * place for place in range(len(list(indices)))] if scores is None else scores
    results = [{"index": index, "relevance_score": score} for index, score in zip(indices, scores, strict=True)]
    return orjson.dumps({"results": results})


def test_a_right_answer():
    check("small", 200, ranked(scores=[0.5] * 10))
    check("large", 200, ranked(range(90, 100)))
    check("similarity", 200, b'{"similarity":1.0}')


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_is_no_failure(status):
    with pytest.raises(Refused, match=f"refused with {status}"):
        check("small", status, b"")


@pytest.mark.parametrize(
    ("kind", "status", "body", "reason"),
    [
        ("small", 500, b"oops", "status 500: oops"),
        ("small", 200, b"", "not an answer"),
        ("small", 200, ranked(range(9)), "10 results were asked for, not 9"),
        ("small", 200, ranked(range(1, 11)), "none of the documents'"),
        ("small", 200, ranked([*range(9), 8]), "there twice"),
        ("small", 200, ranked(scores=[0.1, *(0.05,) * 8, 0.06]), "not in order"),
        ("similarity", 200, b'{"similarity":1.01}', "outside"),
        ("similarity", 200, b'{"similarity":null}', "not an answer"),
    ],
)
def test_a_wrong_answer_is_a_failure(kind, status, body, reason):
    with pytest.raises(Wrong, match=reason):
        check(kind, status, body)


@pytest.mark.parametrize(
    ("seconds", "users"), [(0, 50), (29.9, 50), (30, 400), (44.9, 400), (45, 50), (89.9, 50), (90, None)]
)
def test_a_plan_says_how_many_users_there_are(seconds, users):
    assert users_at(PLANS["spike"], seconds) == users


def test_a_plan_may_be_stretched():
    assert stretched(PLANS["spike"], seconds=9, users=10) == [Stage(3, 10), Stage(1.5, 80), Stage(4.5, 10)]
    assert stretched(PLANS["peak"], users=1)[1] == Stage(90, 2)
    assert stretched(PLANS["normal"]) == [Stage(120, 50)]


def test_the_pool_has_different_passages_and_queries():
    found = open_traffic()
    assert len(found.passages) == len(set(found.passages)) == PASSAGES
    assert len(found.queries) == len(set(found.queries)) == QUERIES


def test_a_request_holds_as_many_documents_as_its_kind_says_which_a_search_would_find():
    passages = [f"text {at} of {'owls' if at % 2 else 'mice'}" for at in range(120)]
    sent = traffic(passages, ["do owls hunt", "where are mice"])
    assert set(sent.bodies) == set(KINDS)
    for kind, count in DOCUMENTS.items():
        bodies = [orjson.loads(body) for body in sent.bodies[kind]]
        assert [body["query"] for body in bodies] == ["do owls hunt", "where are mice"]
        assert all(len(body["documents"]) == len(set(body["documents"])) == count for body in bodies)
    first, second = (orjson.loads(body)["documents"] for body in sent.bodies["medium"])
    assert all("owls" in text for text in first) and all("mice" in text for text in second)
