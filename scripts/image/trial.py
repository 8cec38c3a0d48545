"""One life of a container: started, asked, checked, stopped."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from scripts import trial
from scripts.image.engine import Container, Engine
from scripts.image.judgement import IDLE, READY, Judgement

BILL = "sbom.cdx.json"
_PAPERS, _WHERE = (BILL, "licenses.txt", "debian.txt"), "/usr/share/doc/quantum-rerank"
_SETTLED_S = 2
_REQUESTS, _DOCUMENTS = 20, 100
_FORBIDDEN = {"torch", "transformers", "sentence-transformers", "nncf", "huggingface-hub", "pip"}


def try_image(engine: Engine, tag: str, judgement: Judgement, *, locked: bool, papers: Path | None = None) -> None:
    """Start the image with a key of its own, rank with and without that key, check its health, and stop it.

    locked: as `Engine.run`. papers: a folder for the image's bill of materials and licences; with it the figures are
    taken, too.
    """
    key = secrets.token_urlsafe(32)
    environment = {"QRERANK_AUTH__ENABLED": "true", "QRERANK_AUTH__KEYS": json.dumps([key])}
    with engine.run(tag, environment, locked=locked) as container:
        try:
            ready_s = trial.seconds_until_ready(container.port, container.started, container.alive)
            if papers:
                judgement.measured(READY, ready_s)
                judgement.told("meanwhile", f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
                time.sleep(_SETTLED_S)
                judgement.measured(IDLE, container.resident_mb())
            _ask(container, key, judgement)
            if papers:
                _work(container, key, judgement)
                _keep_papers(container, papers, judgement)
            judgement.found("HEALTHCHECK", f"exit status {(status := container.health())}", status == 0)
            judgement.found("stopped by SIGTERM", f"exit status {(status := container.stop())}", status == 0)
        except (RuntimeError, OSError):
            print(container.log()[-4000:], flush=True)
            raise


def _ask(container: Container, key: str, judgement: Judgement) -> None:
    judgement.found("POST /rerank", "the right document first", trial.ranks(container.port, key))
    body = {"query": trial.QUERY, "documents": trial.DOCUMENTS}
    status, _ = trial.ask(container.port, "POST", "/rerank", body)
    judgement.found("POST /rerank without a key", str(status), status == 401)


def _work(container: Container, key: str, judgement: Judgement) -> None:
    trial.keep_busy(container.port, _REQUESTS, _DOCUMENTS, key)
    held = f"{container.resident_mb():.0f} MB"
    judgement.told(f"memory after {_REQUESTS} requests of {_DOCUMENTS} new documents", held)


def _keep_papers(container: Container, folder: Path, judgement: Judgement) -> None:
    folder.mkdir(exist_ok=True)
    for name in _PAPERS:
        (folder / name).write_bytes(container.read(f"{_WHERE}/{name}"))
        judgement.told(f"{name}, in the image and in {folder.name}/", f"{(folder / name).stat().st_size // 1024} KiB")
    bill: dict[str, Any] = json.loads((folder / BILL).read_text(encoding="utf-8"))
    names = {component["name"].lower() for component in bill["components"]}
    judgement.told("bill of materials", f"{bill['bomFormat']} {bill['specVersion']}, {len(names)} components")
    unwanted = names & _FORBIDDEN
    told = ", ".join(sorted(unwanted)) or "none of them"
    judgement.found("no torch, transformers or pip in it", told, not unwanted)
