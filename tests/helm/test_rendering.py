"""What the defaults and single values come to."""

import json
import re

import yaml

from scripts.chart import CHART, merged
from scripts.chart.engine import GOLDEN, chart, golden, package
from tests.helm.drawn import PASSWORD, PEPPER, STORES
from tests.helm.laws import of_kind

NAME = "rel-quantum-rerank"
OPEN = {**STORES[-1], "replicaCount": 1}  # without keys and volumes


def found(manifests, kind, name=NAME):
    (one,) = [made for made in of_kind(manifests, kind) if made["metadata"]["name"] == name]
    return one


def variables(helm, config):
    return found(helm.manifests({"config": config}), "ConfigMap")["data"]


def test_the_default_render_is_the_committed_one_and_the_archive_renders_the_same(helm, tmp_path):
    committed = GOLDEN.read_text(encoding="utf-8")
    assert golden(helm) == committed, "run `.venv-chart/bin/python -m scripts.chart.engine --golden`; review the diff"
    with chart(package(tmp_path)) as packed:
        assert golden(packed) == committed


def test_the_values_on_the_page_of_proxies_render_below_its_sub_path(helm):
    page = (CHART.parents[1] / "docs" / "proxies.md").read_text(encoding="utf-8")
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert [values["ingress"]["className"] for values in shown] == ["nginx", "traefik", "alb"]
    for values in shown:
        ingress = found(helm.manifests(values), "Ingress", f"{NAME}-api")
        assert ingress["spec"]["rules"][0]["http"]["paths"][0]["path"] == "/ranking/"
        froms = found(helm.manifests(values), "NetworkPolicy")["spec"]["ingress"][0]["from"]
        cidrs = values.get("networkPolicy", {}).get("clientCidrs", [])
        assert [each["ipBlock"]["cidr"] for each in froms if "ipBlock" in each] == cidrs
        assert ingress["metadata"].get("annotations", {}).items() >= values["ingress"].get("annotations", {}).items()


def test_settings_become_variables_as_the_service_reads_them(helm):
    said = variables(
        helm,
        {
            "limits": {"body_bytes": 1073741824},
            "circuit": {"bandwidth": 0.125},
            "cors": {"origins": ["https://a.example", "*"]},
            "aliases": {"rerank-v3.5": "all-MiniLM-L6-v2:quantum"},
            "model": '"quoted"\n: é {{ .Values }}',
            "hsts_s": 0,
            "auth": {"force_open": False},
        },
    )
    assert said["QRERANK_LIMITS__BODY_BYTES"] == "1073741824"  # and not 1.073741824e+09
    assert said["QRERANK_CIRCUIT__BANDWIDTH"] == "0.125"
    assert json.loads(said["QRERANK_CORS__ORIGINS"]) == ["https://a.example", "*"]
    assert json.loads(said["QRERANK_ALIASES"]) == {"rerank-v3.5": "all-MiniLM-L6-v2:quantum"}
    assert said["QRERANK_MODEL"] == '"quoted"\n: é {{ .Values }}'
    assert (said["QRERANK_HSTS_S"], said["QRERANK_AUTH__FORCE_OPEN"]) == ("0", "false")
    assert (said["QRERANK_DATA_DIR"], said["QRERANK_MODEL_DIR"]) == ("/data", "/models")


def test_further_variables_stand_after_the_secrets(helm):
    further = [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "c", "key": "d"}}}]
    for values, names in (({}, []), ({"secretConfig": {"auth": {"pepper": PEPPER}}}, ["QRERANK_AUTH__PEPPER"])):
        pod = found(helm.manifests(values | {"env": further}), "Deployment")["spec"]["template"]["spec"]
        env = pod["containers"][0]["env"]
        assert [each["name"] for each in env] == [*names, "A", "B"]
        assert env[-2:] == further


def test_passwords_are_escaped_in_addresses_and_plain_for_their_servers(helm):
    values = {
        "redis": {"enabled": True, "password": PASSWORD},
        "postgresql": {"enabled": True, "password": PASSWORD},
        "secretConfig": {"auth": {"pepper": PEPPER}},
    }
    said = found(helm.manifests(values), "Secret")["stringData"]
    assert said["postgresql-password"] == said["redis-password"] == PASSWORD
    assert (
        said["QRERANK_AUTH__DATABASE_URL"]
        == f"postgresql://qrerank:hidden%20p%2Fssw%2Brd@{NAME}-postgresql:5432/qrerank"
    )
    assert said["QRERANK_QUOTAS__REDIS_URL"] == f"redis://:hidden%20p%2Fssw%2Brd@{NAME}-redis-quotas:6379/0"


def test_a_volume_of_one_node_is_handed_on_and_a_shared_one_is_not(helm):
    alone = found(helm.manifests({}), "Deployment")["spec"]["strategy"]
    shared = found(helm.manifests({"persistence": {"accessMode": "ReadWriteMany"}}), "Deployment")["spec"]["strategy"]
    assert alone == {"type": "Recreate"}
    assert shared == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_a_job_that_does_something_else_is_another_job(helm):
    base = {"index": {"enabled": True, "configMap": "papers"}}

    def job(**over):
        return of_kind(helm.manifests(merged(base, over)), "Job")[0]["metadata"]["name"]

    assert job() == job(service={"port": 81})
    others = [job(image={"tag": "2"}), job(index={"file": "a.txt"}), job(config={"encoder": {"precision": "f32"}})]
    assert len({job(), *others}) == 4


def test_ingresses_are_below_the_root_path_that_the_service_has(helm):
    values = {"ingress": {"enabled": True, "host": "a.example"}, "config": {"server": {"root_path": "/ranking"}}}
    made = helm.manifests(values)
    paths = {each["spec"]["rules"][0]["http"]["paths"][0]["path"] for each in of_kind(made, "Ingress")}
    assert {"/ranking/", "/ranking/v1/admin"} <= paths
    data = [each["data"] for each in of_kind(made, "ConfigMap")]
    assert "/ranking" in [each.get("QRERANK_SERVER__ROOT_PATH") for each in data]


def test_each_path_has_an_ingress_with_its_own_limits(helm):
    values = {"ingress": {"enabled": True, "host": "a.example", "annotations": {"a/b": "c"}}}
    made = of_kind(helm.manifests(values), "Ingress")
    paths = {one["spec"]["rules"][0]["http"]["paths"][0]["path"]: one["metadata"]["annotations"] for one in made}
    assert set(paths) == {"/", "/v1/rerank/stream", "/v1/ws", "/v1/collections", "/v1/admin"}
    assert paths["/v1/collections"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "2g"
    assert paths["/v1/collections"]["nginx.ingress.kubernetes.io/proxy-request-buffering"] == "off"
    assert all(notes["a/b"] == "c" for notes in paths.values())
    assert paths["/v1/admin"]["nginx.ingress.kubernetes.io/limit-rpm"] == "30"
    assert "nginx.ingress.kubernetes.io/limit-rpm" not in paths["/"]
    assert all(one["spec"]["tls"] == [{"hosts": ["a.example"], "secretName": f"{NAME}-tls"}] for one in made)


def test_alerts_and_dashboard_are_those_of_monitoring_but_for_the_runbooks(helm):
    monitoring = {part: {"enabled": True} for part in ("serviceMonitor", "rules", "dashboard")}
    manifests = helm.manifests({"monitoring": monitoring | {"runbooks": "https://w.example/r/"}})
    label = found(manifests, "ServiceMonitor")["spec"]["jobLabel"]
    assert found(manifests, "Service", f"{NAME}-metrics")["metadata"]["labels"][label] == "quantum-rerank"
    groups = found(manifests, "PrometheusRule")["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    written = yaml.safe_load((CHART / "files" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    assert [rule["alert"] for rule in rules] == [rule["alert"] for group in written for rule in group["rules"]]
    assert {rule["annotations"]["runbook_url"] for rule in rules} == {
        f"https://w.example/r/{rule['alert']}.md" for rule in rules
    }
    assert "{{ $labels.job }}" in json.dumps(rules)
    dashboard = found(manifests, "ConfigMap", f"{NAME}-dashboard")["data"]["quantum-rerank.json"]
    assert "example.com" not in dashboard
    assert json.loads(dashboard)["uid"] == "quantum-rerank"


def test_the_latency_target_is_in_thousandths(helm):
    values = OPEN | {"autoscaling": {"enabled": True, "latency": {"metric": "p95_seconds", "targetMs": 250}}}
    (cpu, pods) = found(helm.manifests(values), "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert cpu["resource"]["target"]["averageUtilization"] == 60
    assert pods["pods"]["metric"]["name"] == "p95_seconds"
    assert pods["pods"]["target"]["averageValue"] == "250m"


def test_several_pods_without_redis_are_warned(helm):
    pods = merged(OPEN, {"replicaCount": 2})
    assert "no Redis" in helm.render(pods)["templates/NOTES.txt"]
    redis = {"redis": {"enabled": True, "password": PASSWORD}}
    assert "no Redis" not in helm.render(merged(pods, redis))["templates/NOTES.txt"]
