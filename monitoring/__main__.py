"""Write the dashboard into the chart: `make monitoring`. With `--runbooks URL`, write it and the alerts elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from monitoring.dashboard import dashboard
from monitoring.rows import ALERTS, DASHBOARD, ROWS

RUNBOOKS = "https://example.com/quantum-rerank/docs/operations/runbooks"  # replaced by your URL in the chart

OUT = Path("build/monitoring")


def files(runbooks: str = RUNBOOKS) -> Mapping[str, str]:
    """Dashboard and alerts by file name. runbooks: the URL of your runbooks."""
    runbooks = runbooks.rstrip("/")
    alerts = ALERTS.read_text(encoding="utf-8").replace(RUNBOOKS, runbooks)
    return {DASHBOARD.name: dashboard(ROWS, runbooks), ALERTS.name: alerts}


def main(runbooks: Annotated[str | None, typer.Option(help="URL of the folder of your runbooks.")] = None) -> None:
    """Write the dashboard into the chart, or dashboard and alerts with your runbooks' URL to a folder."""
    own = {OUT / name: text for name, text in files(runbooks).items()} if runbooks else None
    for path, text in (own or {DASHBOARD: files()[DASHBOARD.name]}).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    typer.run(main)
