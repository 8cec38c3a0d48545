"""Write the dashboard into the chart: `make monitoring`. With `--runbooks URL`, write it and the alerts elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from monitoring.dashboard import dashboard
from monitoring.queries import ALERTS, DASHBOARD
from monitoring.rows import ROWS

RUNBOOKS = "https://example.com/quantum-rerank/docs/operations/runbooks"  # replaced by your URL in the chart

OUT = Path("build/monitoring")


def files(runbooks: str = RUNBOOKS) -> Mapping[str, str]:
    """Dashboard and alerts by file name. runbooks: the URL of your runbooks."""
    runbooks = runbooks.rstrip("/")
    alerts = ALERTS.read_text(encoding="utf-8").replace(RUNBOOKS, runbooks)
    return {DASHBOARD.name: dashboard(ROWS, runbooks), ALERTS.name: alerts}


def main() -> None:
    """Write the dashboard into the chart, or dashboard and alerts with your runbooks' URL to a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runbooks", help="URL of the folder of your runbooks")
    runbooks = parser.parse_args().runbooks
    texts = (
        {OUT / name: text for name, text in files(runbooks).items()}
        if runbooks
        else {DASHBOARD: files()[DASHBOARD.name]}
    )
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
