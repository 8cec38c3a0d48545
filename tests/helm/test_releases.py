"""Releases with Helm's engine, from installation to their end; and what is wrong with manifests is found."""

import copy

import pytest

from scripts.chart import merged
from scripts.chart.engine import OPERATORS, RELEASE, VERSIONS, Refused, faults
from scripts.chart.examples import examples
from scripts.chart.releases import releasing
from scripts.chart.scanners import SKIPPED, of_dockerfile, of_manifests
from tests.helm.laws import of_kind
from tests.paths import ROOT

EXAMPLES = examples()
# A StatefulSet's volume is immutable: the API server rejects it after it has accepted other objects of the upgrade.
REFUSED = {"postgresql": {"size": "9Gi"}, "config": {"engine": {"requests": 4}}}
CHANGED = {"config": {"engine": {"requests": 8, "drain_seconds": 9.5}}}
INDEX = {"index": {"enabled": True, "configMap": "papers"}}


@pytest.mark.parametrize("minor", VERSIONS)
def test_a_release_is_upgraded_rolled_back_after_a_failure_and_leaves_its_data(minor):
    values = EXAMPLES["everything"]
    with releasing(minor) as release:
        release.act("install", values)
        before = release.pods()
        release.act("upgrade", merged(values, CHANGED))
        assert release.pods()["checksum/config"] != before["checksum/config"]
        assert release.pods()["checksum/secret"] == before["checksum/secret"]
        good = release.wanted()
        with pytest.raises(Refused, match="field is immutable"):
            release.act("upgrade", merged(values, REFUSED))
        assert release.history()[-1] == "failed"
        assert release.wanted() != good  # else a rollback proves nothing
        release.helm.rollback(RELEASE, version=2)
        assert release.wanted() == good
        release.helm.uninstall(RELEASE)
        assert [kind for kind, _ in release.cluster.objects] == ["PersistentVolumeClaim"]


def test_a_cluster_without_the_sleep_before_the_end_is_refused():
    with releasing("1.29") as release, pytest.raises(Refused, match="requires kubeVersion"):
        release.act("install", {})
    with releasing("1.31") as release:
        release.act("install", {})
        assert release.history() == ["deployed"]


def test_another_image_makes_another_job_and_takes_the_old_one_away():
    with releasing("1.34") as release:
        release.act("install", INDEX)
        (old,) = release.cluster.every("Job")
        release.act("upgrade", INDEX | {"image": {"tag": "2"}})
        (new,) = release.cluster.every("Job")
    assert old["metadata"]["name"] != new["metadata"]["name"]


def test_values_that_do_not_go_together_change_nothing():
    with releasing("1.34") as release:
        release.act("install", {})
        before = release.wanted()
        with pytest.raises(Refused, match="replicaCount"):
            release.act("upgrade", {"replicaCount": 2})
        assert release.wanted() == before
        assert release.history() == ["deployed"]


def test_a_size_of_the_data_volume_may_grow_and_its_class_may_not_change():
    with releasing("1.34") as release:
        release.act("install", {})
        release.act("upgrade", {"persistence": {"size": "9Gi"}})
        with pytest.raises(Refused, match="storageClassName: field is immutable"):
            release.act("upgrade", {"persistence": {"storageClass": "fast"}})


@pytest.mark.parametrize("minor", VERSIONS)
def test_a_field_that_does_not_exist_is_found_in_every_kind(helm, minor):
    everything = helm.manifests(EXAMPLES["everything"])
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


def test_the_scanners_object_to_nothing_but_to_what_is_known(helm, tmp_path):
    manifests = {name: helm.manifests(values) for name, values in EXAMPLES.items()}
    assert of_manifests(manifests, tmp_path / "ours") + of_dockerfile(ROOT / "Dockerfile") == []
    (pod,) = of_kind(manifests["values.yaml"], "Deployment")
    pod["spec"]["template"]["spec"]["hostNetwork"] = True
    found = of_manifests(manifests, tmp_path / "bad", skipped=())
    assert any("host network" in each for each in found)
    assert {each.split()[0] for each in found} >= {*SKIPPED}, "a check is skipped that objects to nothing"
    (tmp_path / "Dockerfile").write_text("FROM python:3.11\nUSER 1\nHEALTHCHECK NONE\nRUN cd /tmp\n")
    assert any("DL3003" in found for found in of_dockerfile(tmp_path / "Dockerfile"))
