"""What holds of the manifests, whatever the values are."""

import math
from itertools import chain

import yaml

from scripts.chart.examples import merged
from tests.helm.drawn import DEFAULTS, HIDDEN


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


def of_kind(manifests, *kinds):
    return [made for made in manifests if made["kind"] in kinds]


def fits(selector, labels):
    return selector.items() <= labels.items()


def selected(selector, manifests):
    return [name for name, (labels, _) in pods(manifests).items() if fits(selector, labels)]


def ports(spec):
    return {port["name"] for container in spec["containers"] for port in container.get("ports", ())}


def names_are_theirs(values, manifests):
    names = [(made["kind"], made["metadata"]["name"]) for made in manifests]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def selectors_match_labels(values, manifests):
    for made in of_kind(manifests, "Deployment", "StatefulSet"):
        wanted = made["spec"]["selector"]["matchLabels"]
        assert selected(wanted, manifests) == [made["metadata"]["name"]]
    for made in of_kind(manifests, "Service"):
        assert len(selected(made["spec"]["selector"], manifests)) == 1
    for made in of_kind(manifests, "PodDisruptionBudget"):
        assert len(selected(made["spec"]["selector"]["matchLabels"], manifests)) == 1
    for made in of_kind(manifests, "NetworkPolicy"):
        assert len(selected(made["spec"]["podSelector"]["matchLabels"], manifests)) == 1
    for made in of_kind(manifests, "HorizontalPodAutoscaler"):
        target = made["spec"]["scaleTargetRef"]
        (found,) = [one for one in of_kind(manifests, target["kind"]) if one["metadata"]["name"] == target["name"]]
        assert "replicas" not in found["spec"]
    for made in of_kind(manifests, "ServiceMonitor"):
        wanted = made["spec"]["selector"]["matchLabels"]
        assert len([one for one in of_kind(manifests, "Service") if fits(wanted, one["metadata"]["labels"])]) == 1


def port_names_exist(values, manifests):
    for _, spec in pods(manifests).values():
        for container in spec["containers"]:
            asked = [container.get(probe, {}) for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
            named = [probe[how]["port"] for probe in asked for how in ("httpGet", "tcpSocket") if how in probe]
            assert set(named) <= ports(spec)
    services = {made["metadata"]["name"]: made for made in of_kind(manifests, "Service")}
    for made in services.values():
        (name,) = selected(made["spec"]["selector"], manifests)
        assert {port["targetPort"] for port in made["spec"]["ports"]} <= ports(pods(manifests)[name][1])
    for made in of_kind(manifests, "ServiceMonitor"):
        (found,) = [
            one for one in services.values() if fits(made["spec"]["selector"]["matchLabels"], one["metadata"]["labels"])
        ]
        assert {end["port"] for end in made["spec"]["endpoints"]} <= {port["name"] for port in found["spec"]["ports"]}
    for made in of_kind(manifests, "Ingress"):
        for path in made["spec"]["rules"][0]["http"]["paths"]:
            found = services[path["backend"]["service"]["name"]]
            assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in found["spec"]["ports"]}
    for made in of_kind(manifests, "NetworkPolicy"):
        (name,) = selected(made["spec"]["podSelector"]["matchLabels"], manifests)
        let_in = chain.from_iterable(rule["ports"] for rule in made["spec"].get("ingress", ()))
        assert {port["port"] for port in let_in if isinstance(port["port"], str)} <= ports(pods(manifests)[name][1])


def secrets_stay_in_secrets(values, manifests):
    elsewhere = yaml.safe_dump([made for made in manifests if made["kind"] != "Secret"], width=10**9)
    assert not [hidden for hidden in HIDDEN if hidden in elsewhere]


def a_pod_has_time_to_end(values, manifests):
    whole = merged(DEFAULTS, values)
    needed = math.ceil(whole["config"]["engine"]["drain_seconds"]) + whole["preStopSeconds"] + 20
    (server,) = [
        made
        for made in of_kind(manifests, "Deployment")
        if made["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    ]
    assert server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed


def pods_are_restricted(values, manifests):
    for _, spec in pods(manifests).values():
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and context["capabilities"] == {"drop": ["ALL"]}
            assert context["allowPrivilegeEscalation"] is False
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def what_is_named_is_there(values, manifests):
    """Volumes of mounts, and objects of the chart that pods refer to."""
    ours = {made["metadata"]["name"] for made in of_kind(manifests, "ConfigMap", "Secret", "ServiceAccount")}
    keys = {made["metadata"]["name"]: set(made["stringData"]) for made in of_kind(manifests, "Secret")}
    yours = values.get("existingSecret", {"name": ""})["name"]
    for _, spec in pods(manifests).values():
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            for source in container.get("envFrom", ()):
                assert source["configMapRef"]["name"] in ours
            for variable in container.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] == yours or reference["key"] in keys[reference["name"]]


LAWS = (
    names_are_theirs,
    selectors_match_labels,
    port_names_exist,
    secrets_stay_in_secrets,
    a_pod_has_time_to_end,
    pods_are_restricted,
    what_is_named_is_there,
)
