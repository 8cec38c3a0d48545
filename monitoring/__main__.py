"""Write the dashboard, the alert rules and their tests: `python -m monitoring`, the verb `make monitoring`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from monitoring import alerts, cases, dashboard
from monitoring.alerting import GROUPS
from monitoring.rows import ROWS
from monitoring.scenarios import SCENARIOS

HERE = Path(__file__).parent
RUNBOOKS = "https://example.com/quantum-rerank/docs/operations/runbooks"  # say where yours are


def files(runbooks: str = RUNBOOKS) -> Mapping[str, str]:
    """What is written, by file name."""
    runbooks = runbooks.rstrip("/")
    return {
        "dashboard.json": dashboard.written(ROWS, runbooks),
        "alerts.yml": alerts.written(GROUPS, runbooks),
        "alerts_test.yml": cases.written(GROUPS, SCENARIOS, runbooks),
    }


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description="Write the dashboard, the alert rules and their tests.")
    parser.add_argument("--runbooks", default=RUNBOOKS, help="URL of the folder with the runbooks")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, text in files(given.runbooks).items():
        (given.out / name).write_text(text, encoding="utf-8")
        print(f"wrote {given.out / name}")


if __name__ == "__main__":
    main()
