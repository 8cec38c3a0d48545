"""The table of quotas in docs/security.md, and the help of `keys create --tier`, say what the settings are."""

import inspect

from app.cli.keys import create
from app.quotas.settings import QuotaSettings
from app.settings import Settings
from tests.paths import ROOT

TIERS = ("public", "standard", "premium")
QUOTAS = QuotaSettings()
SEARCH = Settings.model_fields["candidates"].default * QUOTAS.prices.hybrid  # similarities


def searches(tier):
    return getattr(QUOTAS, tier).similarities_per_hour // SEARCH


def test_the_table_has_the_numbers_of_the_settings():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for tier in TIERS:
        quotas = getattr(QUOTAS, tier)
        counts = (quotas.requests_per_minute, quotas.similarities_per_hour, searches(tier), quotas.documents)
        assert " | ".join([f"| `{tier}`", *(f"{count:,}".replace(",", " ") for count in counts)]) in page
    assert f"it takes {SEARCH} similarities by `hybrid`" in page


def test_the_help_says_how_many_searches_a_tier_is():
    said = inspect.get_annotations(create, eval_str=True)["tier"].__metadata__[0].help
    assert (
        f"public is {searches('public')} hybrid searches of a collection an hour, standard {searches('standard')}, "
        f"premium {searches('premium')};" in said
    )
