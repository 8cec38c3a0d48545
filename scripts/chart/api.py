"""An in-memory Kubernetes API server for Helm. Objects are validated strictly, and some fields are immutable.

It has one namespace and no controllers.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from scripts.chart.engine import Manifest, faults

# For each kind in the chart: its group and version, and its plural name in URLs.
KINDS = {
    "ConfigMap": ("v1", "configmaps"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "Pod": ("v1", "pods"),
    "Secret": ("v1", "secrets"),
    "Service": ("v1", "services"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "Job": ("batch/v1", "jobs"),
    "Ingress": ("networking.k8s.io/v1", "ingresses"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "ServiceMonitor": ("monitoring.coreos.com/v1", "servicemonitors"),
    "PrometheusRule": ("monitoring.coreos.com/v1", "prometheusrules"),
}
# Immutable fields of `spec`.
FIXED = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "volumeClaimTemplates"),
    "Job": ("template", "selector"),
    "PersistentVolumeClaim": ("accessModes", "storageClassName"),
}
Key = tuple[str, str]  # kind, name
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_KIND_BY_URL = {address: kind for kind, address in KINDS.items()}


class Problem(Exception):
    """An error response of the API server: HTTP status code, reason and message."""


class Cluster:
    """The objects of a cluster by kind and name."""

    def __init__(self, minor: str) -> None:
        """Create an empty cluster. minor: the Kubernetes version, such as 1.34."""
        self.minor = minor
        self.objects: dict[Key, Manifest] = {}
        self._writes = 0

    def every(self, kind: str) -> list[Manifest]:
        """All objects of a kind."""
        return [manifest for (other, _), manifest in self.objects.items() if other == kind]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """Handle a request. Raises Problem."""
        if path == "/version":
            return {"major": "1", "minor": self.minor.partition(".")[2], "gitVersion": f"v{self.minor}.0"}
        if path in _DISCOVERY:
            return _DISCOVERY[path]
        version, _, rest = path.removeprefix("/apis/").removeprefix("/api/").partition("/namespaces/")
        _, plural, *name = rest.split("/") if rest else ("", "")
        if (version, plural) not in _KIND_BY_URL:
            raise Problem(404, "NotFound", f"{path} does not exist")
        return self._object(method, _KIND_BY_URL[version, plural], name, query, body)

    def _object(self, method: str, kind: str, name: list[str], query: dict[str, list[str]], body: Any) -> Any:
        if method == "GET" and not name:
            names = [word.removeprefix("metadata.name=") for word in query.get("fieldSelector", [])]
            items = [item for item in self.every(kind) if not names or item["metadata"]["name"] in names]
            version = {"apiVersion": KINDS[kind][0], "metadata": {"resourceVersion": str(self._writes)}}
            return {"kind": f"{kind}List", "items": items, **version}
        key = (kind, name[0] if name else body["metadata"]["name"])
        if method == "POST" and key in self.objects:
            raise Problem(409, "AlreadyExists", f"{key} already exists")
        if method in {"GET", "DELETE"} and key not in self.objects:
            raise Problem(404, "NotFound", f"{key} not found")
        if method == "DELETE":
            return self.objects.pop(key)
        return self.objects[key] if method == "GET" else self._store(key, body)

    def _store(self, key: Key, body: Manifest) -> Manifest:
        """Create an object, or replace one as a whole. Raises Problem 422 if it is invalid."""
        made, old = copy.deepcopy(body), self.objects.get(key)
        made["metadata"].pop("managedFields", None)
        made.pop("status", None)
        if wrong := faults(made, self.minor):
            raise Problem(422, "Invalid", "; ".join(wrong))
        for place in FIXED.get(key[0], ()):
            if old and old["spec"].get(place) != made["spec"].get(place):
                raise Problem(422, "Invalid", f"{key} is invalid: spec.{place}: field is immutable")
        before: dict[str, Any] = old["metadata"] if old else {"uid": str(uuid.uuid4()), "generation": 0}
        self._writes += 1
        made["metadata"] |= {
            "uid": before["uid"],
            "generation": before["generation"] + 1,
            "resourceVersion": str(self._writes),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        self.objects[key] = made
        return made


def _discovery() -> dict[str, Any]:
    """The discovery documents by their paths: of all groups, and of the kinds of each group and version."""
    groups, documents = [], dict[str, Any]()
    for version in sorted({version for version, _ in KINDS.values()}):
        resources = [
            {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": _VERBS}
            for kind, (group_version, plural) in KINDS.items()
            if group_version == version
        ]
        group, _, number = version.rpartition("/")
        if group:
            entry = {"groupVersion": version, "version": number}
            groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
        path = f"/apis/{version}" if group else f"/api/{version}"
        documents[path] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
    documents["/api"] = {"kind": "APIVersions", "versions": ["v1"]}
    documents["/apis"] = {"kind": "APIGroupList", "groups": groups}
    return {path: {"apiVersion": "v1", **document} for path, document in documents.items()}


_DISCOVERY = _discovery()


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    """Run an API server of this cluster within the block; its URL."""
    lock = Lock()

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def _answer(self) -> None:
            url = urlsplit(self.path)
            body = yaml.safe_load(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
            try:
                with lock:
                    code, response = 200, cluster.answer(self.command, url.path, parse_qs(url.query), body)
            except Problem as problem:
                code, reason, message = problem.args
                response = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
                response |= {"code": code, "reason": reason, "message": message}
            text = json.dumps(response).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - http.server's names

    with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
