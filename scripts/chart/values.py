"""The chart's values, except for the service's own settings; the values schema is generated from these models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
Name = Annotated[str, Field(pattern=rf"^({_SUBDOMAIN})?$", max_length=253)]  # empty: the chart's default, or none
GivenName = Annotated[str, Field(pattern=rf"^{_SUBDOMAIN}$", max_length=253)]
Label = Annotated[str, Field(pattern=rf"^{_LABEL}$", max_length=63)]
Namespaces = list[Label]
Port = Annotated[int, Field(ge=1, le=65535)]
CPU = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,3}|[1-9][0-9]{0,5}m|0?\.[0-9]{1,3}|[1-9][0-9]{0,3}\.[0-9]{1,3})$")]
Bytes = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}(Ki|Mi|Gi|Ti|k|M|G|T)$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
LabelName = Annotated[str, Field(pattern=rf"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$")]
Labels = dict[LabelName, LabelValue]
Annotations = dict[LabelName, str]
# Without a pattern: Helm would print an invalid password.
Password = Annotated[str, Field(json_schema_extra={"writeOnly": True})]
ImageName = Annotated[str, Field(min_length=1, pattern=r"^[a-z0-9][-a-z0-9._:/]*$")]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Image(_Group):
    repository: ImageName
    tag: Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$")]
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")]
    pull_policy: Literal["IfNotPresent", "Always", "Never"]
    pull_secrets: list[GivenName]


class Amounts(_Group):
    """Amounts of a pod's resources."""

    cpu: CPU | None = None
    memory: Bytes | None = None
    ephemeral_storage: Bytes | None = Field(None, alias="ephemeral-storage")


class Resources(_Group):
    requests: Amounts | None = None
    limits: Amounts | None = None


class Toleration(_Group):
    key: LabelName | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None


class Mount(_Group):
    """A Secret, ConfigMap or claim that is mounted into the pods."""

    name: Label
    path: Annotated[str, Field(pattern=r"^/[^:\s]+$")]
    secret: GivenName | None = None
    config_map: GivenName | None = None
    claim: GivenName | None = None


class ServiceAccount(_Group):
    create: bool
    name: Name
    annotations: Annotations


class Service(_Group):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"]
    port: Port
    annotations: Annotations


class Tls(_Group):
    enabled: bool
    secret_name: Name


class Path(_Group):
    name: Label
    path: Annotated[str, Field(pattern=r"^/[^\s{}\\\"';]*$")]
    annotations: Annotations


class Ingress(_Group):
    enabled: bool
    class_name: Name
    host: Annotated[str, Field(pattern=rf"^((\*\.)?{_SUBDOMAIN})?$", max_length=253)]
    annotations: Annotations
    tls: Tls
    paths: Annotated[list[Path], Field(min_length=1)]


class Latency(_Group):
    metric: Annotated[str, Field(pattern=r"^([a-zA-Z_:][a-zA-Z0-9_:]*)?$")]
    target_ms: Annotated[int, Field(ge=1, le=600_000)]


class Autoscaling(_Group):
    enabled: bool
    min_replicas: Annotated[int, Field(ge=1, le=1000)]
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    target_cpu_percent: Annotated[int, Field(ge=1, le=100)] = Field(alias="targetCPUPercent")
    latency: Latency


class Disruptions(_Group):
    max_unavailable: Annotated[int, Field(ge=1, le=1000)]


class Egress(_Group):
    """An address that pods may connect to."""

    cidr: Annotated[str, Field(pattern=r"^(([0-9]{1,3}\.){3}[0-9]{1,3}/([12]?[0-9]|3[0-2])|[0-9a-f:]+/[0-9]{1,3})$")]
    port: Port


class NetworkPolicy(_Group):
    """Allowed connections to and from the pods."""

    enabled: bool
    same_namespace: bool
    client_namespaces: Namespaces
    monitoring_namespaces: Namespaces
    dns_namespaces: Annotated[Namespaces, Field(min_length=1)]
    egress: list[Egress]


class Persistence(_Group):
    enabled: bool
    existing_claim: Name
    storage_class: Name
    access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]
    size: Bytes


class Index(_Group):
    """A collection that a Job builds on installation."""

    enabled: bool
    collection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
    config_map: Name
    claim: Name
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")]
    resources: Resources


class Switch(_Group):
    enabled: bool
    labels: Labels


class Monitor(Switch):
    interval: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}s$")]


class Monitoring(_Group):
    service_monitor: Monitor
    rules: Switch
    dashboard: Switch
    runbooks: Annotated[str, Field(pattern=r"^(https?://[!#-~]+)?$")]


class Redis(_Group):
    enabled: bool
    image: ImageName
    password: Password
    quotas_mib: Annotated[int, Field(ge=16, le=65_536)] = Field(alias="quotasMiB")
    cache_mib: Annotated[int, Field(ge=16, le=1_048_576)] = Field(alias="cacheMiB")


class PostgreSQL(_Group):
    enabled: bool
    image: ImageName
    password: Password
    storage_class: Name
    size: Bytes
    resources: Resources


class Values(_Group):
    """All values except `config`, `secretConfig` and `existingSecret`, which are generated from the settings."""

    replica_count: Annotated[int, Field(ge=1, le=1000)]
    workers: Annotated[int, Field(ge=1, le=64)]
    fullname_override: Annotated[str, Field(pattern=r"^([a-z]([-a-z0-9]{0,38}[a-z0-9])?)?$")]
    image: Image
    resources: Resources
    pre_stop_seconds: Annotated[int, Field(ge=0, le=600)]
    startup_seconds: Annotated[int, Field(ge=10, le=3600)]
    pod_annotations: Annotations
    pod_labels: Labels
    node_selector: Labels
    tolerations: list[Toleration]
    priority_class_name: Name
    mounts: list[Mount]
    service_account: ServiceAccount
    service: Service
    ingress: Ingress
    autoscaling: Autoscaling
    pod_disruption_budget: Disruptions
    network_policy: NetworkPolicy
    persistence: Persistence
    index: Index
    monitoring: Monitoring
    redis: Redis
    postgresql: PostgreSQL


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values as Helm merges values files: the latter override."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
