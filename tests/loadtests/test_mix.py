import orjson
import pytest

from app.settings import QuotaSettings
from loadtests.mix import DOCUMENTS, KINDS, PRD, TIERS, Refused, Wrong, check
from loadtests.shapes import NORMAL_USERS


def test_all_requests_together_are_the_prds_mix_and_each_tier_sends_its_part_of_them():
    assert PRD == {"similarity": 30, "small": 40, "medium": 20, "large": 10}
    assert {kind: sum(tier.asks.get(kind, 0) for tier in TIERS.values()) for kind in KINDS} == PRD
    rates = {name: tier.users * tier.per_second for name, tier in TIERS.items()}
    for name, tier in TIERS.items():
        assert 100 * rates[name] / sum(rates.values()) == pytest.approx(sum(tier.asks.values()))


def test_the_normal_users_ask_for_what_the_target_wants_and_more():
    assert sum(tier.users for tier in TIERS.values()) == 10
    assert NORMAL_USERS / 10 * sum(tier.users * tier.per_second for tier in TIERS.values()) == pytest.approx(50)


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
