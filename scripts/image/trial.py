"""Smoke test of an image: start a container, send requests, check its health, stop it."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts import trial
from scripts.image.engines import Buildah, Container, Docker
from scripts.trial import Findings

BILL = "sbom.cdx.json"
_PAPERS, _WHERE = (BILL, "licenses.txt", "debian.txt"), "/usr/share/doc/quantum-rerank"
_SETTLED_S = 2
READY_S, IDLE_MB, SIZE_MB = 5, 600, 870  # targets; engines count 30 MB more, in blocks
_FORBIDDEN = {"torch", "transformers", "sentence-transformers", "huggingface-hub", "pip"}


def try_image(
    engine: Docker | Buildah, tag: str, findings: Findings, *, locked: bool, papers: Path | None = None
) -> None:
    """Start the image with an API key, rank with and without that key, check its health, and stop it.

    Args:
        engine: The container engine.
        tag: The image.
        findings: Receives the checks.
        locked: As in `Docker.run`.
        papers: A folder for the image's bill of materials and licences. If given, times and memory are measured, too.
    """
    key = secrets.token_urlsafe(32)
    environment = {"QRERANK_AUTH__ENABLED": "true", "QRERANK_AUTH__KEYS": json.dumps([key])}
    with engine.run(tag, environment, locked=locked) as container:
        try:
            ready_s = trial.seconds_until_ready(container.port, container.started, container.alive)
            if papers:
                findings.at_most("start to ready", ready_s, READY_S, "s")
                findings.note("machine", f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
                time.sleep(_SETTLED_S)
                memory = trial.ask(container.port, "GET", "/health/detailed")[1]["components"]["memory"]
                findings.at_most("memory once ready (RSS)", memory["facts"]["resident_bytes"] / 1e6, IDLE_MB, "MB")
                # All files that are in the image itself; the service's user cannot look into root's folders.
                kib = container.run("du", "--apparent-size", "-xsk", "/", check=False).stdout.split()[0]
                findings.at_most("image size", int(kib) * 1024 / 1e6, SIZE_MB, "MB")
            _check_ranking(container, key, findings)
            if papers:
                _save_papers(container, papers, findings)
            _, *health = engine.config(tag)["Healthcheck"]["Test"]  # the first word is CMD: without a shell
            status = container.run(*health, check=False).returncode
            findings.check("HEALTHCHECK", status == 0, f"exit status {status}")
            findings.check("stopped by SIGTERM", (status := container.stop()) == 0, f"exit status {status}")
        except (RuntimeError, OSError):
            print(container.log()[-4000:], flush=True)
            raise


def _check_ranking(container: Container, key: str, findings: Findings) -> None:
    findings.check("POST /rerank: the right document first", trial.ranks(container.port, key))
    body = {"query": trial.QUERY, "documents": trial.DOCUMENTS}
    status, _ = trial.ask(container.port, "POST", "/rerank", body)
    findings.check("POST /rerank without a key", status == 401, status)


def _save_papers(container: Container, folder: Path, findings: Findings) -> None:
    folder.mkdir(exist_ok=True)
    for name in _PAPERS:
        (folder / name).write_text(container.run("cat", f"{_WHERE}/{name}").stdout, encoding="utf-8")
        findings.note(f"{name}, in the image and in {folder.name}/", f"{(folder / name).stat().st_size // 1024} KiB")
    bill: dict[str, Any] = json.loads((folder / BILL).read_text(encoding="utf-8"))
    findings.note(
        "bill of materials", f"{bill['bomFormat']} {bill['specVersion']}, {len(bill['components'])} components"
    )
    forbidden = unwanted(bill)
    findings.check("contains no torch, transformers or pip", not forbidden, ", ".join(sorted(forbidden)))


def unwanted(bill: Mapping[str, Any]) -> set[str]:
    """The components of a bill of materials that a serving image must not contain."""
    return {component["name"].lower() for component in bill["components"]} & _FORBIDDEN
