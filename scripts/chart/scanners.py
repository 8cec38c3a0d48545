"""Checkov over the manifests and the Dockerfile, hadolint over the Dockerfile; what they object to needs a reason."""

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
    """What a scanner says of a kind of object, or of the Dockerfile. where: the object or the line."""

    check: str
    kind: str
    where: str
    said: str


@dataclass(frozen=True)
class Scan:
    """What a scanner found. passed: how often a check held."""

    passed: int
    objections: list[Objection]


def checkov_manifests(manifests: Mapping[str, Iterable[Manifest]], folder: Path) -> Scan:
    """Checkov's view of manifests by what they were made of; they are written to the folder."""
    for name, found in manifests.items():
        place = folder / name.removesuffix(".yaml")
        place.mkdir(parents=True)
        for manifest in found:
            file = place / f"{manifest['kind']}-{manifest['metadata']['name']}.yaml"
            file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return _checkov("--directory", str(folder), "--framework", "kubernetes")


def checkov_dockerfile(dockerfile: Path) -> Scan:
    """Checkov's view of a Dockerfile."""
    return _checkov("--file", str(dockerfile), "--framework", "dockerfile")


def hadolint(dockerfile: Path) -> Scan:
    """Hadolint's view of it."""
    done = _run("hadolint", "--no-fail", "--format", "json", str(dockerfile))
    found = [
        Objection(said["code"], "Dockerfile", f"line {said['line']}", said["message"]) for said in json.loads(done)
    ]
    return Scan(0, found)


def excepted(scans: Iterable[Scan], exceptions: list[dict[str, Any]]) -> tuple[list[Objection], list[str]]:
    """The objections that nobody has answered, and the exceptions that nothing objects to any more."""
    used, left = set[int](), []
    for objection in {objection for scan in scans for objection in scan.objections}:
        fitting = [
            number
            for number, made in enumerate(exceptions)
            if made["check"] == objection.check and objection.kind in made["of"]
        ]
        used.update(fitting)
        if not fitting:
            left.append(objection)
    stale = [f"{made['check']} of {', '.join(made['of'])}" for n, made in enumerate(exceptions) if n not in used]
    return sorted(left, key=lambda objection: (objection.check, objection.where)), stale


def exceptions() -> list[dict[str, Any]]:
    """The committed ones, each with check, of (kinds) and why."""
    made: list[dict[str, Any]] = yaml.safe_load(EXCEPTIONS.read_text(encoding="utf-8"))
    return made


def _checkov(*what: str) -> Scan:
    said = json.loads(_run("checkov", *what, "--skip-download", "--output", "json", "--soft-fail"))
    if "results" not in said:  # it has found nothing to look at, and says so in another form
        raise RuntimeError(f"checkov looked at nothing: {said}")
    results = said["results"]
    failed = [
        Objection(one["check_id"], _kind(one["resource"]), one["resource"], one["check_name"])
        for one in results["failed_checks"]
    ]
    if results["parsing_errors"]:
        raise RuntimeError(f"checkov could not read {results['parsing_errors']}")
    return Scan(len(results["passed_checks"]), failed)


def _kind(resource: str) -> str:
    """Of `Deployment.prod.rel` or of `/Dockerfile.RUN`."""
    return "Dockerfile" if resource.startswith("/") else resource.partition(".")[0]


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - ours
        [_PROGRAMS / program, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr[-2000:] or done.stdout[-2000:]}")
    return done.stdout
