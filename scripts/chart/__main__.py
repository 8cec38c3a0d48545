"""Write the chart's generated files: `python -m scripts.chart`; `--check` only compares."""

from __future__ import annotations

import argparse
import sys

from scripts.chart.generated import CHART, drifted, files


def main() -> int:
    """Write or compare the files; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the chart's schema, list of settings and dashboard.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file differs")
    if parser.parse_args().check:
        if wrong := drifted():
            print(f"{', '.join(wrong)}: out of date; run `python -m scripts.chart`", file=sys.stderr)
            return 1
        print(f"{len(files())} generated files of the chart match settings, values and metrics")
        return 0
    for name, text in files().items():
        (CHART / name).write_text(text, encoding="utf-8")
        print(f"wrote {CHART / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
