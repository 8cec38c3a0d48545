"""The checks themselves: what is wrong is found."""

import copy

import pytest

from scripts.chart.engine import OPERATORS, VERSIONS, faults
from scripts.chart.examples import examples
from scripts.chart.scanners import Objection, Scan, excepted, exceptions
from tests.helm.laws import of_kind


@pytest.mark.parametrize("minor", VERSIONS)
def test_a_field_that_does_not_exist_is_found_in_every_kind(helm, minor):
    everything = helm.manifests(examples()["everything"])
    for made in everything:
        assert faults(made, minor) == []
        broken = copy.deepcopy(made)
        broken.setdefault("spec", {})["fieldd"] = 1
        assert faults(broken, minor), made["kind"]
    for made in of_kind(everything, *OPERATORS):
        inner = made["spec"].get("endpoints") or made["spec"]["groups"][0]["rules"]
        inner[0]["fieldd"] = 1
        assert "fieldd" in faults(made, minor)[0]
    assert "Couldn't find schema" in faults({"kind": "Cheese", "apiVersion": "v1", "metadata": {}}, minor)[0]


def test_an_objection_needs_an_exception_with_a_reason_and_an_exception_an_objection():
    scan = Scan(1, [Objection("CKV_1", "Pod", "Pod.a", "bad"), Objection("CKV_2", "Job", "Job.a", "worse")])
    answers = [{"check": "CKV_1", "of": ["Pod"], "why": "…"}, {"check": "CKV_2", "of": ["Pod"], "why": "…"}]
    left, stale = excepted([scan], answers)
    assert [objection.check for objection in left] == ["CKV_2"]
    assert stale == ["CKV_2 of Pod"]
    assert all(set(one) == {"check", "of", "why"} and len(one["why"]) > 20 for one in exceptions())
