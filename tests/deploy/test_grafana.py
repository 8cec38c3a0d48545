import yaml

from monitoring.queries import ALERTS, DASHBOARD, JOB
from tests.deploy.files import ROOT, compose

PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
MOUNTS = dict(mount.split(":")[:2] for mount in compose("docker-compose.yml")["services"]["grafana"]["volumes"])


def provisioned(path):
    return yaml.safe_load((PROVISIONING / path).read_text(encoding="utf-8"))


def test_grafana_reads_the_dashboard_that_the_metrics_make():
    (provider,) = provisioned("dashboards/quantum-rerank.yml")["providers"]
    target = MOUNTS[f"./{DASHBOARD.relative_to(ROOT)}"]
    assert target.rsplit("/", 1)[0] == provider["options"]["path"]
    assert MOUNTS["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_its_source_is_the_prometheus_of_the_file():
    (source,) = provisioned("datasources/prometheus.yml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["isDefault"]  # which the dashboard's variable begins with
    assert source["url"] == "http://prometheus:9090"
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_prometheus_knows_the_service_by_the_job_of_the_rules():
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))
    assert [job["job_name"] for job in config["scrape_configs"]] == [JOB]
    mounts = dict(mount.split(":")[:2] for mount in compose("docker-compose.yml")["services"]["prometheus"]["volumes"])
    folder = mounts["./deploy/prometheus.yml"].rsplit("/", 1)[0]
    assert [f"{folder}/{name}" for name in config["rule_files"]] == [mounts[f"./{ALERTS.relative_to(ROOT)}"]]
