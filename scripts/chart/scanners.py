"""Checkov on the manifests and the Dockerfile, hadolint on the Dockerfile.

What is accepted stands where it is, in the scanners' own comments and annotations; what is of all pods, here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from scripts import call
from scripts.chart.engine import Manifest

SKIPPED = {
    "CKV_K8S_15": "Tags of releases are never moved, and Always would keep a pod from starting without the registry.",
    "CKV_K8S_43": "A digest is known once an image is pushed to a registry; image.digest takes it.",
    "CKV_K8S_35": "The service and the images of Redis and PostgreSQL take secrets from the environment alone.",
}
_PROGRAMS = Path(sys.executable).parent


def of_manifests(
    manifests: Mapping[str, Iterable[Manifest]], folder: Path, skipped: Iterable[str] = SKIPPED
) -> list[str]:
    """Checkov's objections to manifests, grouped by the name of their values; they are written into the folder."""
    for name, group in manifests.items():
        target = folder / name.removesuffix(".yaml")
        target.mkdir(parents=True)
        for manifest in group:
            file = target / f"{manifest['kind']}-{manifest['metadata']['name']}.yaml"
            file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return _checkov("--directory", str(folder), "--framework", "kubernetes", "--skip-check", ",".join(skipped))


def of_dockerfile(dockerfile: Path) -> list[str]:
    """Checkov's and hadolint's objections to a Dockerfile."""
    found = call([_PROGRAMS / "hadolint", "--no-fail", dockerfile]).stdout.splitlines()
    return found + _checkov("--file", str(dockerfile), "--framework", "dockerfile")


def _checkov(*options: str) -> list[str]:
    command: list[str | Path] = [_PROGRAMS / "checkov", *options, "--skip-download", "--output", "json", "--soft-fail"]
    report = json.loads(call(command).stdout)
    if "results" not in report or report["results"]["parsing_errors"]:  # the report's form if nothing was scanned
        raise RuntimeError(f"checkov scanned nothing, or could not read all: {report}")
    failed = report["results"]["failed_checks"]
    return sorted({f"{check['check_id']} {check['resource']}: {check['check_name']}" for check in failed})
