"""What holds of the manifests, whatever the values are. That pods are restricted is checkov's to say."""

import math

import yaml

from scripts.chart import merged
from tests.helm.drawn import DEFAULTS, HIDDEN


def of_kind(manifests, *kinds):
    return [made for made in manifests if made["kind"] in kinds]


def pods(manifests):
    """The labels and the spec of every pod, by the name of what makes it."""
    found = {}
    for made in manifests:
        if made["kind"] == "Pod":
            found[made["metadata"]["name"]] = (made["metadata"]["labels"], made["spec"])
        elif "template" in made.get("spec", {}):
            template = made["spec"]["template"]
            claims = [{"name": claim["metadata"]["name"]} for claim in made["spec"].get("volumeClaimTemplates", ())]
            volumes = {"volumes": template["spec"]["volumes"] + claims}
            found[made["metadata"]["name"]] = (template["metadata"]["labels"], template["spec"] | volumes)
    return found


def selected(selector, manifests):
    """The only pods that a selector takes: their name and spec."""
    ((name, spec),) = [
        (name, spec) for name, (labels, spec) in pods(manifests).items() if selector.items() <= labels.items()
    ]
    return name, spec


def ports(spec):
    return {port["name"] for container in spec["containers"] for port in container.get("ports", ())}


def names_are_theirs(values, manifests):
    names = [(made["kind"], made["metadata"]["name"]) for made in manifests]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def selectors_and_ports_match(values, manifests):
    for made in of_kind(manifests, "Deployment", "StatefulSet", "PodDisruptionBudget"):
        name, _ = selected(made["spec"]["selector"]["matchLabels"], manifests)
        assert made["kind"] == "PodDisruptionBudget" or name == made["metadata"]["name"]
    services = {made["metadata"]["name"]: made for made in of_kind(manifests, "Service")}
    for made in services.values():
        _, spec = selected(made["spec"]["selector"], manifests)
        assert {port["targetPort"] for port in made["spec"]["ports"]} <= ports(spec)
    for made in of_kind(manifests, "NetworkPolicy"):
        _, spec = selected(made["spec"]["podSelector"]["matchLabels"], manifests)
        let_in = [port["port"] for rule in made["spec"].get("ingress", ()) for port in rule["ports"]]
        assert {port for port in let_in if isinstance(port, str)} <= ports(spec)
    for made in of_kind(manifests, "ServiceMonitor"):
        wanted = made["spec"]["selector"]["matchLabels"].items()
        (found,) = [one for one in services.values() if wanted <= one["metadata"]["labels"].items()]
        assert {end["port"] for end in made["spec"]["endpoints"]} <= {port["name"] for port in found["spec"]["ports"]}
    for made in of_kind(manifests, "Ingress"):
        for path in made["spec"]["rules"][0]["http"]["paths"]:
            backend = path["backend"]["service"]
            assert backend["port"]["name"] in {port["name"] for port in services[backend["name"]]["spec"]["ports"]}
    for made in of_kind(manifests, "HorizontalPodAutoscaler"):
        target = made["spec"]["scaleTargetRef"]
        (found,) = [one for one in of_kind(manifests, target["kind"]) if one["metadata"]["name"] == target["name"]]
        assert "replicas" not in found["spec"]


def secrets_stay_in_secrets(values, manifests):
    elsewhere = yaml.safe_dump([made for made in manifests if made["kind"] != "Secret"], width=10**9)
    assert not [hidden for hidden in HIDDEN if hidden in elsewhere]


def a_pod_has_time_to_end(values, manifests):
    whole = merged(DEFAULTS, values)
    needed = math.ceil(whole["config"]["engine"]["drain_seconds"]) + whole["preStopSeconds"] + 20
    (server,) = [spec for labels, spec in pods(manifests).values() if labels["app.kubernetes.io/component"] == "server"]
    assert server["terminationGracePeriodSeconds"] > needed


def what_pods_name_is_there(values, manifests):
    """Ports of probes, volumes of mounts, and objects of the chart."""
    ours = {made["metadata"]["name"] for made in of_kind(manifests, "ConfigMap")}
    keys = {made["metadata"]["name"]: set(made["stringData"]) for made in of_kind(manifests, "Secret")}
    yours = {values.get("existingSecret", {"name": ""})["name"]}
    further = [variable.get("valueFrom", {}) for variable in values.get("env", ())]
    yours |= {source["secretKeyRef"]["name"] for source in further if "secretKeyRef" in source}
    for _, spec in pods(manifests).values():
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            probes = [container.get(probe, {}) for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
            named = {probe[how]["port"] for probe in probes for how in ("httpGet", "tcpSocket") if how in probe}
            assert named <= ports(spec)
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert {source["configMapRef"]["name"] for source in container.get("envFrom", ())} <= ours
            for variable in container.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] in yours or reference["key"] in keys[reference["name"]]


LAWS = (
    names_are_theirs,
    selectors_and_ports_match,
    secrets_stay_in_secrets,
    a_pod_has_time_to_end,
    what_pods_name_is_there,
)
