"""Hold the chart to Helm's own engine, Kubernetes' schemas and two scanners: `make chart`. Exit status 0: all held.

`--golden` rewrites the golden file, after which `git diff` shows what a change does to the default render;
`--package FOLDER` only writes the chart's archive.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from scripts.chart.engine import CHART, Chart, Refused, chart, lint, package
from scripts.chart.examples import examples
from scripts.chart.manifests import VERSIONS, faults
from scripts.chart.releases import Failed, lived
from scripts.chart.scanners import checkov_dockerfile, checkov_manifests, excepted, exceptions, hadolint
from scripts.rehearsal.findings import Findings

ROOT = CHART.parents[1]
DOCKERFILE = ROOT / "Dockerfile"
GOLDEN = ROOT / "tests" / "helm" / "golden.yaml"


def check_manifests(findings: Findings, helm: Chart) -> None:
    """Lint, render and validate every example for every version."""
    findings.begin("Manifests")
    for name, values in examples().items():
        wrong, counts = [], []
        for minor in VERSIONS:
            made = helm.manifests(values, minor)
            counts.append(f"{minor}: {len(made)}")
            wrong += [f"lint: {said}" for said in lint(values, minor)]
            wrong += [f"{minor}: {fault}" for manifest in made for fault in faults(manifest, minor)]
        findings.check(f"{name} renders to what a cluster takes", not wrong, "; ".join(wrong or counts))


def golden(helm: Chart) -> str:
    """The default render, as one file."""
    rendered = helm.render({}, VERSIONS[-1])
    return "".join(f"# {path}\n{text.strip()}\n" for path, text in sorted(rendered.items()) if text.strip())


def check_golden(findings: Findings, helm: Chart) -> None:
    """The default render is the committed one."""
    findings.begin("Golden file")
    same = GOLDEN.exists() and GOLDEN.read_text(encoding="utf-8") == golden(helm)
    told = "" if same else "write it by `.venv-chart/bin/python -m scripts.chart.check --golden`, and look at the diff"
    findings.check("the default render is the committed one", same, told)


def check_releases(findings: Findings) -> None:
    """A release's life on each version."""
    findings.begin("Releases, by Helm's engine against an API server in memory")
    for minor in VERSIONS:
        try:
            findings.check(f"Kubernetes {minor}", True, lived(minor))
        except (Failed, Refused) as error:
            findings.check(f"Kubernetes {minor}", False, error)


def check_scanners(findings: Findings, helm: Chart) -> None:
    """Nothing that a scanner objects to goes unanswered."""
    findings.begin("Scanners")
    made = {name: helm.manifests(values) for name, values in examples().items()}
    with tempfile.TemporaryDirectory() as folder:
        scans = {
            "checkov, manifests": checkov_manifests(made, Path(folder)),
            "checkov, Dockerfile": checkov_dockerfile(DOCKERFILE),
            "hadolint": hadolint(DOCKERFILE),
        }
    for name, scan in scans.items():
        print(f"  {name}: {scan.passed} checks passed, {len(scan.objections)} objections")
    answers = exceptions()
    left, stale = excepted(scans.values(), answers)
    told = "; ".join(f"{one.check} {one.where}: {one.said}" for one in left)
    findings.check("each objection has its reason", not left, told or f"{len(answers)} exceptions")
    findings.check("each exception is needed", not stale, "; ".join(stale))


def main() -> int:
    """Check everything, and say what was checked; the exit status."""
    parser = argparse.ArgumentParser(description="Check the chart.")
    parser.add_argument("--golden", action="store_true", help="rewrite the golden file instead")
    parser.add_argument("--package", type=Path, metavar="FOLDER", help="write the archive there instead")
    given = parser.parse_args()
    if given.package:
        print(f"wrote {package(given.package)}")
        return 0
    findings = Findings()
    with chart() as helm:
        if given.golden:
            GOLDEN.write_text(golden(helm), encoding="utf-8")
            print(f"wrote {GOLDEN.relative_to(ROOT)}")
            return 0
        check_manifests(findings, helm)
        check_golden(findings, helm)
        check_scanners(findings, helm)
    check_releases(findings)
    with tempfile.TemporaryDirectory() as folder, chart(package(Path(folder))) as packed:
        findings.begin("Package")
        findings.check("the archive renders as the folder does", golden(packed) == GOLDEN.read_text(encoding="utf-8"))
    return findings.verdict()


if __name__ == "__main__":
    sys.exit(main())
