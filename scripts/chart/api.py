"""An API server's addresses over `Cluster`, on this machine, as far as Helm asks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from scripts.chart.cluster import KINDS, Cluster, Problem

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_KIND_OF = {address: kind for kind, address in KINDS.items()}


def resources(version: str) -> dict[str, Any]:
    """The discovery document of a group and version."""
    found = [
        {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": _VERBS}
        for kind, (of, plural) in KINDS.items()
        if of == version
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": found}


def groups() -> dict[str, Any]:
    """The discovery document of all groups."""
    found = []
    for version in sorted({of for of, _ in KINDS.values() if "/" in of}):
        named = {"groupVersion": version, "version": version.partition("/")[2]}
        found.append({"name": version.partition("/")[0], "versions": [named], "preferredVersion": named})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def answer(cluster: Cluster, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
    """What a request comes to; Problem where it fails."""
    match path.strip("/").split("/"):
        case ["api", "v1", "namespaces", _, plural, *name]:
            return _object(cluster, method, ("v1", plural), name, query, body)
        case ["apis", group, version, "namespaces", _, plural, *name]:
            return _object(cluster, method, (f"{group}/{version}", plural), name, query, body)
        case ["apis", group, version]:
            return resources(f"{group}/{version}")
    found = {
        "/version": {"major": "1", "minor": cluster.minor.partition(".")[2], "gitVersion": f"v{cluster.minor}.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": groups(),
        "/api/v1": resources("v1"),
    }
    if path not in found:
        raise Problem(404, "NotFound", f"{path} is nothing here")
    return found[path]


def _object(
    cluster: Cluster, method: str, address: tuple[str, str], rest: list[str], query: dict[str, list[str]], body: Any
) -> Any:
    if address not in _KIND_OF:
        raise Problem(404, "NotFound", f"there are no {address[1]} in {address[0]}")
    kind, name = _KIND_OF[address], rest[0] if rest else ""
    match method:
        case "GET" if name:
            return cluster.get(kind, name)
        case "GET":
            return _listed(cluster, kind, address[0], query)
        case "POST":
            return cluster.create(kind, body)
        case "PATCH" | "PUT":
            return cluster.apply(kind, name, body)
        case "DELETE":
            cluster.delete(kind, name)
    return {"kind": "Status", "apiVersion": "v1", "status": "Success"}


def _listed(cluster: Cluster, kind: str, version: str, query: dict[str, list[str]]) -> Any:
    named = [word.removeprefix("metadata.name=") for word in query.get("fieldSelector", [])]
    items = [found for found in cluster.every(kind) if not named or found["metadata"]["name"] in named]
    metadata = {"resourceVersion": str(cluster.writes)}
    return {"kind": f"{kind}List", "apiVersion": version, "metadata": metadata, "items": items}


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    """The address of a server of this cluster."""

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            url = urlsplit(self.path)
            body = yaml.safe_load(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
            try:
                code, found = 200, answer(cluster, self.command, url.path, parse_qs(url.query), body)
            except Problem as problem:
                code, found = problem.code, _told(problem)
            text = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - as http.server names them

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _told(problem: Problem) -> dict[str, Any]:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return status | {"message": str(problem), "reason": problem.reason, "code": problem.code}
