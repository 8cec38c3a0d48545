"""Releases with Helm's engine: what `lived` does not go through."""

import pytest

from scripts.chart.engine import Refused
from scripts.chart.releases import releasing

INDEX = {"index": {"enabled": True, "configMap": "papers"}}


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
