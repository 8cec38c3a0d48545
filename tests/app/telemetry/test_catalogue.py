"""The catalogue of metrics, and the page that documents them."""

import re

import pytest

from app.api.dialects import detect
from app.identity import TIERS
from app.ranking.methods import RANK_METHODS
from app.telemetry.catalogue import FAMILIES, Family
from app.telemetry.watchers import outcome_of, size_of
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "operations" / "metrics.md").read_text(encoding="utf-8")


def row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.type} | {labels} | {family.help} |"


def test_the_page_tells_of_every_metric_and_of_no_other():
    table = re.findall(r"^\| `qrerank_.*$", PAGE, re.MULTILINE)
    assert table == [row(family) for family in FAMILIES]


def test_the_page_tells_what_each_label_may_be():
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## What labels may be")[1].split("\n## ")[0], re.MULTILINE))
    assert told == {label for family in FAMILIES for label in family.labels} - {"version"}


def test_the_page_names_every_value_of_what_the_code_knows():
    names = {each.name for each in vars(detect).values() if isinstance(each, detect.Dialect)}
    sizes = {size_of(documents) for documents in (None, 1, 21, 51, 101)}
    outcomes = {outcome_of(status) for status in (200, 400, 500)}
    for value in (*names, *sizes, *outcomes, *RANK_METHODS, *TIERS):
        assert f"`{value}`" in PAGE, value


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.short)
def test_names_are_as_prometheus_wants_them(family):
    assert re.fullmatch(r"qrerank_[a-z][a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.type == "counter")
    assert not family.name.endswith(("_count", "_sum", "_bucket", "_created"))
    assert len(set(family.labels)) == len(family.labels)
    assert not {"le", "job", "instance", "pid"} & set(family.labels)
    assert bool(family.buckets) == (family.type == "histogram")
    assert list(family.buckets) == sorted(set(family.buckets))
    assert family.help.endswith(".")


def test_the_targets_are_bounds_of_buckets():
    [seconds] = [family.buckets for family in FAMILIES if family.short == "request_seconds"]
    assert {0.05, 0.1, 0.2, 0.5, 1} <= set(seconds)
