"""The chart's values files have the sizes that `python -m benchmarks sizing` derives and docs/deployment.md shows."""

import re

import pytest
import yaml

from benchmarks.sizing import DEPLOYMENTS
from tests.deploy.files import ROOT

CHART = ROOT / "helm" / "quantum-rerank"
DOCUMENTED = {
    row[0]: row[1:]
    for line in (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8").splitlines()
    if len(row := [cell.strip() for cell in line.strip("|").split("|")]) == 9
}
FILES = [(name, each) for each in DEPLOYMENTS for name in each.name.split(", ")]
UNITS = {"m": 0.001, "": 1, "Mi": 1, "Gi": 1024}


def quantity(text):
    """Cores, or MiB."""
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", text).groups()
    return float(number) * UNITS[unit]


def test_every_values_file_is_one_of_the_sizes():
    others = {"values-multilingual.yaml"}  # another model, for pods of any size
    sizes = {f"values-{name}.yaml" for name, _ in FILES}
    assert sizes | others == {path.name for path in CHART.glob("values-*.yaml")}


@pytest.mark.parametrize(("name", "deployment"), FILES)
def test_a_values_file_has_its_size_and_the_memory_that_was_measured(name, deployment):
    values = yaml.safe_load((CHART / f"values-{name}.yaml").read_text(encoding="utf-8"))
    given, config, resources = deployment.given, values["config"], values["resources"]
    assert values["workers"] == given.workers
    assert config["cache"]["max_bytes"] == given.cache_mib * 2**20
    assert config["engine"] == {
        "processors": given.processors,
        "requests": given.requests,
        "queue_requests": given.queue,
    }
    asked = [resources[kind]["cpu"] for kind in ("requests", "limits")]
    assert [quantity(each) for each in asked] == [float(each) for each in deployment.cpu.split(" / ")]
    row = DOCUMENTED[deployment.name]
    assert row[1:5] == [str(each) for each in (given.workers, given.processors, given.cache_mib, given.requests)]
    peak = int(row[6])
    memory = {kind: quantity(resources[kind]["memory"]) for kind in ("requests", "limits")}
    assert 0.9 * peak <= memory["requests"] <= memory["limits"]
    assert 1.15 * peak <= memory["limits"] <= 1.6 * peak  # another run of the measurement gives another peak
