"""Checkov on the manifests and the Dockerfile, hadolint on the Dockerfile. Each objection needs an exception."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.chart.engine import Manifest

EXCEPTIONS = Path(__file__).with_name("exceptions.yml")
_PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Objection:
    """A failed check. kind: of the object, or "Dockerfile"; where: the object or the line; said: the message."""

    check: str
    kind: str
    where: str
    said: str


@dataclass(frozen=True)
class Scan:
    """A scanner's result. passed: the number of passed checks."""

    passed: int
    objections: list[Objection]


def checkov_manifests(manifests: Mapping[str, Iterable[Manifest]], folder: Path) -> Scan:
    """Scan manifests, grouped by the name of their values, with Checkov; they are written into the folder."""
    for name, group in manifests.items():
        target = folder / name.removesuffix(".yaml")
        target.mkdir(parents=True)
        for manifest in group:
            file = target / f"{manifest['kind']}-{manifest['metadata']['name']}.yaml"
            file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return _checkov("--directory", str(folder), "--framework", "kubernetes")


def checkov_dockerfile(dockerfile: Path) -> Scan:
    """Scan a Dockerfile with Checkov."""
    return _checkov("--file", str(dockerfile), "--framework", "dockerfile")


def hadolint(dockerfile: Path) -> Scan:
    """Scan a Dockerfile with hadolint."""
    output = _run("hadolint", "--no-fail", "--format", "json", str(dockerfile))
    objections = [
        Objection(issue["code"], "Dockerfile", f"line {issue['line']}", issue["message"])
        for issue in json.loads(output)
    ]
    return Scan(0, objections)


def excepted(scans: Iterable[Scan], exceptions: list[dict[str, Any]]) -> tuple[list[Objection], list[str]]:
    """The objections without an exception, and the obsolete exceptions."""
    used, unexcepted = set[int](), []
    for objection in {objection for scan in scans for objection in scan.objections}:
        matching = [
            number
            for number, exception in enumerate(exceptions)
            if exception["check"] == objection.check and objection.kind in exception["of"]
        ]
        used.update(matching)
        if not matching:
            unexcepted.append(objection)
    obsolete = [f"{one['check']} of {', '.join(one['of'])}" for n, one in enumerate(exceptions) if n not in used]
    return sorted(unexcepted, key=lambda objection: (objection.check, objection.where)), obsolete


def exceptions() -> list[dict[str, Any]]:
    """The committed exceptions, each with check, of (kinds) and why."""
    entries: list[dict[str, Any]] = yaml.safe_load(EXCEPTIONS.read_text(encoding="utf-8"))
    return entries


def _checkov(*options: str) -> Scan:
    report = json.loads(_run("checkov", *options, "--skip-download", "--output", "json", "--soft-fail"))
    if "results" not in report:  # the report's form if there was nothing to scan
        raise RuntimeError(f"checkov scanned nothing: {report}")
    results = report["results"]
    failed = [
        Objection(check["check_id"], _kind(check["resource"]), check["resource"], check["check_name"])
        for check in results["failed_checks"]
    ]
    if results["parsing_errors"]:
        raise RuntimeError(f"checkov could not read {results['parsing_errors']}")
    return Scan(len(results["passed_checks"]), failed)


def _kind(resource: str) -> str:
    """The kind in a resource name such as `Deployment.prod.rel` or `/Dockerfile.RUN`."""
    return "Dockerfile" if resource.startswith("/") else resource.partition(".")[0]


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - ours
        [_PROGRAMS / program, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr[-2000:] or done.stdout[-2000:]}")
    return done.stdout
