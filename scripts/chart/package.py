"""Write the chart's archive: `make chart-package`. `--golden` rewrites the golden file instead.

`git diff` then shows how a change affects the default render.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.chart.engine import GOLDEN, chart, golden, package


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", action="store_true", help="rewrite the golden file")
    parser.add_argument("--folder", type=Path, default=Path("dist"), help="the archive's folder (%(default)s)")
    arguments = parser.parse_args()
    if arguments.golden:
        with chart() as helm:
            GOLDEN.write_text(golden(helm), encoding="utf-8")
    print(f"wrote {GOLDEN if arguments.golden else package(arguments.folder)}")


if __name__ == "__main__":
    main()
