"""The checks themselves: what is wrong is found."""

import copy

import pytest

from scripts.chart.api import groups, resources
from scripts.chart.cluster import KINDS, Cluster, Problem
from scripts.chart.examples import examples
from scripts.chart.manifests import OPERATORS, VERSIONS, faults, lost
from scripts.chart.scanners import Objection, Scan, excepted, exceptions
from tests.helm.laws import LAWS, of_kind


@pytest.fixture(scope="module")
def everything(helm):
    return helm.manifests(examples()["everything"])


@pytest.mark.parametrize("minor", VERSIONS)
def test_a_field_that_does_not_exist_is_found_in_every_kind(everything, minor):
    for made in everything:
        assert faults(made, minor) == []
        broken = copy.deepcopy(made)
        broken.setdefault("spec", {})["fieldd"] = 1
        assert faults(broken, minor), made["kind"]


def test_a_field_deep_in_the_operators_kinds_is_found(everything):
    for made in of_kind(everything, *OPERATORS):
        broken = copy.deepcopy(made)
        inner = broken["spec"].get("endpoints") or broken["spec"]["groups"][0]["rules"]
        inner[0]["fieldd"] = 1
        assert "fieldd is not known" in faults(broken, "1.34")[0]
    assert faults({"kind": "PrometheusRule", "metadata": {"name": "a"}, "spec": {"groups": 3}}, "1.34")


def test_a_kind_that_nobody_knows_is_a_fault():
    assert "Couldn't find schema" in faults({"kind": "Cheese", "apiVersion": "v1", "metadata": {}}, "1.34")[0]


@pytest.mark.parametrize(
    ("written", "read", "places"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": {"b": 1}}, {"a": {}}, [".a.b"]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [".a[1].b"]),
        ({"a": [1]}, {"a": []}, [".a"]),
        (1, "1", [""]),
    ],
)
def test_what_is_lost_on_the_way_is_told_by_its_place(written, read, places):
    assert lost(written, read) == places


BREAKS = [  # each law, and what breaks it
    ("names_are_theirs", lambda all_: all_.append(copy.deepcopy(all_[0]))),
    ("selectors_match_labels", lambda all_: of_kind(all_, "Service")[0]["spec"]["selector"].update(a="b")),
    ("port_names_exist", lambda all_: of_kind(all_, "Service")[0]["spec"]["ports"][0].update(targetPort="htpp")),
    ("secrets_stay_in_secrets", lambda all_: all_[0]["metadata"].update(annotations={"a": "hidden-key-of-a-caller"})),
    ("a_pod_has_time_to_end", lambda all_: pod(all_).update(terminationGracePeriodSeconds=30)),
    ("pods_are_restricted", lambda all_: pod(all_).update(automountServiceAccountToken=True)),
    ("what_is_named_is_there", lambda all_: pod(all_).update(volumes=[])),
]


def pod(manifests):
    servers = [made for made in of_kind(manifests, "Deployment") if "topologySpread" in str(made)]
    return servers[0]["spec"]["template"]["spec"]


@pytest.mark.parametrize(("law", "wreck"), BREAKS, ids=[name for name, _ in BREAKS])
def test_a_law_that_is_broken_is_found(everything, law, wreck):
    (holds,) = [one for one in LAWS if one.__name__ == law]
    values, broken = examples()["everything"], copy.deepcopy(everything)
    holds(values, broken)
    wreck(broken)
    with pytest.raises(AssertionError):
        holds(values, broken)


def test_every_law_has_something_that_breaks_it():
    assert {name for name, _ in BREAKS} == {law.__name__ for law in LAWS}


def test_the_cluster_knows_every_kind_of_the_chart(everything):
    assert {made["kind"] for made in everything} == set(KINDS)
    listed = {one["kind"] for of, _ in KINDS.values() for one in resources(of)["resources"]}
    assert listed == set(KINDS)
    assert len(groups()["groups"]) == len({of for of, _ in KINDS.values()} - {"v1"})


def test_the_cluster_keeps_checks_and_refuses_as_an_api_server_does(everything):
    cluster = Cluster("1.34")
    made = copy.deepcopy(of_kind(everything, "StatefulSet")[0])
    name = made["metadata"]["name"]
    first = cluster.create("StatefulSet", made)
    assert first["metadata"]["generation"] == 1
    with pytest.raises(Problem, match="already exists"):
        cluster.create("StatefulSet", made)
    second = cluster.apply("StatefulSet", name, made)
    assert (second["metadata"]["uid"], second["metadata"]["generation"]) == (first["metadata"]["uid"], 2)
    with pytest.raises(Problem, match="serviceName: field is immutable"):
        cluster.apply("StatefulSet", name, made | {"spec": made["spec"] | {"serviceName": "other"}})
    with pytest.raises(Problem) as invalid:
        cluster.apply("StatefulSet", name, made | {"spec": made["spec"] | {"replicass": 1}})
    assert (invalid.value.code, invalid.value.reason) == (422, "Invalid")
    cluster.delete("StatefulSet", name)
    with pytest.raises(Problem, match="not found"):
        cluster.get("StatefulSet", name)


def test_an_objection_needs_an_exception_and_an_exception_an_objection():
    scan = Scan(1, [Objection("CKV_1", "Pod", "Pod.a", "bad"), Objection("CKV_2", "Job", "Job.a", "worse")])
    answers = [{"check": "CKV_1", "of": ["Pod"], "why": "…"}, {"check": "CKV_2", "of": ["Pod"], "why": "…"}]
    left, stale = excepted([scan], answers)
    assert [objection.check for objection in left] == ["CKV_2"]
    assert stale == ["CKV_2 of Pod"]


def test_each_exception_has_a_reason():
    for one in exceptions():
        assert set(one) == {"check", "of", "why"}
        assert len(one["why"]) > 20
