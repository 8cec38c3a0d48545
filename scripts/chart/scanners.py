"""Checkov on the manifests and the Dockerfile, hadolint on the Dockerfile. Each objection needs an exception."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.chart.engine import Manifest

EXCEPTIONS = Path(__file__).with_name("exceptions.yml")
_PROGRAMS = Path(sys.executable).parent
Objections = dict[tuple[str, str], str]  # by check and kind of object, where and why; the kind may be "Dockerfile"


def manifests_objections(manifests: Mapping[str, Iterable[Manifest]], folder: Path) -> Objections:
    """Scan manifests, grouped by the name of their values, with Checkov; they are written into the folder."""
    for name, group in manifests.items():
        target = folder / name.removesuffix(".yaml")
        target.mkdir(parents=True)
        for manifest in group:
            file = target / f"{manifest['kind']}-{manifest['metadata']['name']}.yaml"
            file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return _checkov("--directory", str(folder), "--framework", "kubernetes")


def dockerfile_objections(dockerfile: Path) -> Objections:
    """Scan a Dockerfile with Checkov and hadolint."""
    issues = json.loads(_run("hadolint", "--no-fail", "--format", "json", str(dockerfile)))
    found = {(issue["code"], "Dockerfile"): f"line {issue['line']}: {issue['message']}" for issue in issues}
    return _checkov("--file", str(dockerfile), "--framework", "dockerfile") | found


def excepted(objections: Objections, exceptions: list[dict[str, Any]]) -> tuple[Objections, list[str]]:
    """The objections without an exception, and the obsolete exceptions."""
    allowed = {(each["check"], kind) for each in exceptions for kind in each["of"]}
    obsolete = [f"{check} of {kind}" for check, kind in sorted(allowed - objections.keys())]
    return {key: said for key, said in objections.items() if key not in allowed}, obsolete


def exceptions() -> list[dict[str, Any]]:
    """The committed exceptions, each with check, of (kinds) and why."""
    entries: list[dict[str, Any]] = yaml.safe_load(EXCEPTIONS.read_text(encoding="utf-8"))
    return entries


def _checkov(*options: str) -> Objections:
    report = json.loads(_run("checkov", *options, "--skip-download", "--output", "json", "--soft-fail"))
    if "results" not in report or report["results"]["parsing_errors"]:  # the report's form if nothing was scanned
        raise RuntimeError(f"checkov scanned nothing, or could not read all: {report}")
    found = {}
    for check in report["results"]["failed_checks"]:
        where = check["resource"]  # such as `Deployment.prod.rel` or `/Dockerfile.RUN`
        kind = "Dockerfile" if where.startswith("/") else where.partition(".")[0]
        found[check["check_id"], kind] = f"{where}: {check['check_name']}"
    return found


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - ours
        [_PROGRAMS / program, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr[-2000:] or done.stdout[-2000:]}")
    return done.stdout
