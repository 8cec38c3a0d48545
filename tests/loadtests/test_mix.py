import pytest

from app.settings import QuotaSettings
from loadtests.mix import DOCUMENTS, KINDS, PRD, TIERS
from loadtests.shapes import NORMAL_USERS


def test_all_requests_together_are_the_prds_mix():
    assert PRD == {"similarity": 30, "small": 40, "medium": 20, "large": 10}
    assert {kind: sum(tier.asks.get(kind, 0) for tier in TIERS.values()) for kind in KINDS} == PRD


def test_each_tier_sends_its_part_of_them():
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
