"""Check the chart with Helm's engine, Kubernetes' schemas and two scanners: `make chart`. Exit status 0: all passed.

`--golden` rewrites the golden file; `git diff` then shows how a change affects the default render. `--package FOLDER`
only writes the chart's archive.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from scripts.chart import CHART
from scripts.chart.engine import VERSIONS, Chart, Refused, chart, faults, lint, package
from scripts.chart.examples import examples
from scripts.chart.releases import Failed, lived
from scripts.chart.scanners import dockerfile_objections, excepted, exceptions, manifests_objections
from scripts.trial import Findings

ROOT = CHART.parents[1]
DOCKERFILE = ROOT / "Dockerfile"
GOLDEN = ROOT / "tests" / "helm" / "golden.yaml"


def check_manifests(findings: Findings, helm: Chart) -> None:
    """Lint, render and validate every example for every Kubernetes version."""
    findings.begin("Manifests")
    for name, values in examples().items():
        errors, counts = [], []
        for minor in VERSIONS:
            manifests = helm.manifests(values, minor)
            counts.append(f"{minor}: {len(manifests)}")
            errors += [f"lint: {message}" for message in lint(values, minor)]
            errors += [f"{minor}: {fault}" for manifest in manifests for fault in faults(manifest, minor)]
        findings.check(f"{name} renders to valid manifests", not errors, "; ".join(errors or counts))


def golden(helm: Chart) -> str:
    """The default render as one file, without the release's test, which contains files/rerank.py once more."""
    rendered = {path: text.strip() for path, text in sorted(helm.render({}, VERSIONS[-1]).items())}
    return "".join(f"# {path}\n{text}\n" for path, text in rendered.items() if text and "/tests/" not in path)


def check_golden(findings: Findings, helm: Chart) -> None:
    """Check that the default render equals the committed one."""
    findings.begin("Golden file")
    same = GOLDEN.exists() and GOLDEN.read_text(encoding="utf-8") == golden(helm)
    remedy = "" if same else "run `.venv-chart/bin/python -m scripts.chart.check --golden` and review the diff"
    findings.check("the default render equals the committed one", same, remedy)


def check_releases(findings: Findings) -> None:
    """Run a release's life cycle on each Kubernetes version."""
    findings.begin("Releases, with Helm's engine and an in-memory API server")
    for minor in VERSIONS:
        try:
            findings.check(f"Kubernetes {minor}", True, lived(minor))
        except (Failed, Refused) as error:
            findings.check(f"Kubernetes {minor}", False, error)


def check_scanners(findings: Findings, helm: Chart) -> None:
    """Check that every objection of a scanner has a documented exception, and no exception is obsolete."""
    findings.begin("Scanners")
    manifests = {name: helm.manifests(values) for name, values in examples().items()}
    with tempfile.TemporaryDirectory() as folder:
        found = manifests_objections(manifests, Path(folder)) | dockerfile_objections(DOCKERFILE)
    accepted = exceptions()
    left, obsolete = excepted(found, accepted)
    details = "; ".join(f"{check} {said}" for (check, _), said in left.items())
    findings.check("each objection has an exception", not left, details or f"{len(accepted)} exceptions")
    findings.check("each exception is needed", not obsolete, "; ".join(obsolete))


def main() -> int:
    """Run all checks and print their results; return the exit status."""
    parser = argparse.ArgumentParser(description="Check the chart.")
    parser.add_argument("--golden", action="store_true", help="only rewrite the golden file")
    parser.add_argument("--package", type=Path, metavar="FOLDER", help="only write the archive into this folder")
    arguments = parser.parse_args()
    if arguments.package:
        print(f"wrote {package(arguments.package)}")
        return 0
    findings = Findings()
    with chart() as helm:
        if arguments.golden:
            GOLDEN.write_text(golden(helm), encoding="utf-8")
            print(f"wrote {GOLDEN.relative_to(ROOT)}")
            return 0
        check_manifests(findings, helm)
        check_golden(findings, helm)
        check_scanners(findings, helm)
    check_releases(findings)
    with tempfile.TemporaryDirectory() as folder, chart(package(Path(folder))) as packed:
        findings.begin("Package")
        findings.check("archive and folder render the same", golden(packed) == GOLDEN.read_text(encoding="utf-8"))
    return findings.verdict()


if __name__ == "__main__":
    sys.exit(main())
