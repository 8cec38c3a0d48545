"""What the schema cannot say is said by name, all of it at once."""

import re

import pytest

from scripts.chart import merged
from scripts.chart.engine import Refused
from tests.helm.drawn import KEY, PASSWORD, PEPPER, URL

OPEN = {"config": {"auth": {"enabled": False, "force_open": True}, "operations": {"access": "open"}}}
APART = {"persistence": {"enabled": False}}
SHARED = {"persistence": {"accessMode": "ReadWriteMany"}}
STORED = {"secretConfig": {"auth": {"pepper": PEPPER, "database_url": URL}}}
REDIS = {"redis": {"enabled": True, "password": PASSWORD}}
POSTGRESQL = {"postgresql": {"enabled": True, "password": PASSWORD}}
EGRESS = {"networkPolicy": {"egress": [{"cidr": "10.0.0.1/32", "port": 5432}]}}


def secret(**auth):
    return {"secretConfig": {"auth": auth}}


def existing(**values):
    return {"existingSecret": values}


def metrics_port(number):
    return {"config": {"operations": {"metrics_port": number}}}


SEVEN = {"autoscaling": {"enabled": True, "minReplicas": 7}}
CLAIMED = {"index": {"enabled": True, "claim": "a"}}
PEPPERED = existing(name="a", keys=["QRERANK_AUTH__PEPPER"])
REMOTE = {"config": {"encoder": {"remote": {"url": "https://models.example.com/v1/embeddings"}}}}
CACHED = {"secretConfig": {"cache": {"redis_url": "redis://a"}}}
WRONG = [  # what is named, what is wrong, and what mends it
    ("replicaCount", merged({"replicaCount": 2}, SHARED), merged(STORED, EGRESS)),
    ("replicaCount", merged({"autoscaling": {"enabled": True}}, SHARED), merged(STORED, EGRESS)),
    ("secretConfig.auth.pepper", merged(secret(database_url=URL), EGRESS), secret(pepper=PEPPER)),
    ("persistence.enabled", APART, secret(keys=[KEY])),
    ("persistence.enabled", APART, {"config": {"auth": {"jwt": {"jwks_file": "/issuer/keys"}}}}),
    ("config.auth.enabled", {"config": {"auth": {"enabled": False}, "operations": {"access": "open"}}}, OPEN),
    ("config.operations.access", {"config": {"auth": {"enabled": False, "force_open": True}}}, OPEN),
    ("config.auth.enabled", merged(OPEN, secret(keys=[KEY])), {"config": {"auth": {"enabled": True}}}),
    ("persistence.accessMode", {"replicaCount": 2, **STORED, **EGRESS}, SHARED),
    ("existingSecret.name", existing(keys=["QRERANK_AUTH__KEYS"]), existing(name="a")),
    ("existingSecret.keys", existing(name="a"), existing(keys=["QRERANK_AUTH__KEYS"])),
    ("existingSecret.keys", {**PEPPERED, **secret(pepper=PEPPER)}, existing(keys=["QRERANK_AUTH__KEYS"])),
    ("redis.password", {"redis": {"enabled": True}}, REDIS),
    ("postgresql.password", {"postgresql": {"enabled": True}, **secret(pepper=PEPPER)}, POSTGRESQL),
    ("redis.enabled", merged(REDIS, CACHED), {"redis": {"enabled": False}, **EGRESS}),
    ("postgresql.enabled", merged(POSTGRESQL, STORED), {"postgresql": {"enabled": False}, **EGRESS}),
    ("networkPolicy.egress", STORED, EGRESS),
    ("networkPolicy.egress", STORED, {"networkPolicy": {"enabled": False}}),
    ("networkPolicy.egress", {"config": {"tracing": {"endpoint": "http://collector:4318"}}}, EGRESS),
    ("networkPolicy.egress", REMOTE, EGRESS),
    ("networkPolicy.egress", merged(REMOTE, {"secretConfig": {"encoder": {"remote": {"api_key": KEY}}}}), EGRESS),
    ("index.enabled", merged(REMOTE, {**CLAIMED, **EGRESS}), {"index": {"enabled": False}}),
    (
        "index.enabled",
        {"secretConfig": {"index": {"url": "milvus://a"}}, **CLAIMED, **EGRESS},
        {"secretConfig": {"index": {"url": ""}}},
    ),
    (
        "networkPolicy.clientCidrs",
        {"service": {"type": "NodePort"}},
        {"networkPolicy": {"clientCidrs": ["10.0.0.0/16"]}},
    ),
    ("networkPolicy.clientCidrs", {"service": {"type": "LoadBalancer"}}, {"networkPolicy": {"enabled": False}}),
    ("autoscaling.minReplicas", merged(SEVEN, {**SHARED, **STORED, **EGRESS}), {"autoscaling": {"maxReplicas": 7}}),
    ("ingress.host", {"ingress": {"enabled": True}}, {"ingress": {"host": "rerank.example.com"}}),
    ("index.enabled", {**CLAIMED, **secret(keys=[KEY]), **APART}, {"persistence": {"enabled": True}}),
    ("index.configMap", {"index": {"enabled": True}}, {"index": {"configMap": "papers"}}),
    ("index.configMap", {"index": {"enabled": True, "claim": "a", "configMap": "b"}}, {"index": {"claim": ""}}),
    ("mounts", {"mounts": [{"name": "a", "path": "/a"}]}, {"mounts": [{"name": "a", "path": "/a", "claim": "b"}]}),
    ("env", {"env": [{"name": "A"}]}, {"env": [{"name": "A", "value": ""}]}),
    ("env", {"env": [{"name": "A", "valueFrom": {}}]}, {"env": [{"name": "A", "value": "b"}]}),
    ("env", {"env": [{"name": "A", "value": "b", "valueFrom": {}}]}, {"env": []}),
    ("env", {"env": [{"name": "qrerank_model", "value": "hash"}]}, {"env": [{"name": "model", "value": "hash"}]}),
    ("config.operations.metrics_port", metrics_port(8000), metrics_port(8001)),
]


@pytest.mark.parametrize(("named", "wrong", "mend"), WRONG, ids=range(len(WRONG)))
def test_what_does_not_go_together_is_refused_until_it_is_mended(helm, named, wrong, mend):
    with pytest.raises(Refused) as refused:
        helm.render(wrong)
    assert re.findall(r"^  - ([\w.]+): ", str(refused.value), re.MULTILINE) == [named]
    assert not [hidden for hidden in (KEY, PEPPER, URL, PASSWORD) if hidden in str(refused.value)]
    assert helm.render(merged(wrong, mend))


def test_all_that_is_wrong_is_told_at_once(helm):
    with pytest.raises(Refused) as refused:
        helm.render({"replicaCount": 2, "redis": {"enabled": True}, "ingress": {"enabled": True}})
    assert len(re.findall("^  - ", str(refused.value), re.MULTILINE)) == 4


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"config": {"engine": {"requests": 1025}}}, "'/config/engine/requests': maximum: got 1,025, want 1,024"),
        ({"config": {"operations": {"metrics_port": None}}}, "'/config/operations': missing property 'metrics_port'"),
        ({"resources": {"limits": {"cpus": "2"}}}, "'/resources/limits': additional properties 'cpus' not allowed"),
    ],
)
def test_values_out_of_bounds_are_refused_with_their_place(helm, values, said):
    with pytest.raises(Refused, match=re.escape(said)):
        helm.render(values)


def test_a_secret_that_does_not_fit_is_not_printed(helm):
    with pytest.raises(Refused) as refused:
        helm.render(secret(pepper="hidden-but-short", keys=["hidden-too"]))
    assert "/secretConfig/auth/pepper" in str(refused.value)
    assert "hidden" not in str(refused.value)
