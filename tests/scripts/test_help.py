"""A command that is asked for help gives it, and does not start its work."""

import re

import pytest

from benchmarks.__main__ import NAMES
from tests.paths import ROOT

COMMANDS = [
    file
    for folder in ("benchmarks", "loadtests", "monitoring", "scripts")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if '__name__ == "__main__"' in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_command_reads_its_arguments_before_it_does_anything(file):
    text = file.read_text(encoding="utf-8")
    last = text.partition('if __name__ == "__main__":\n')[2]
    parsed = "typer.run(" in last or "cli(" in last  # else by argparse, where the service's packages are missing
    assert parsed or (re.search(r"^    (sys\.exit\()?main\(\)", last) and ".parse_args()" in text)


def test_every_benchmark_is_named_where_its_figures_are_and_every_name_is_a_benchmark():
    files = [ROOT / "Makefile", ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = re.findall(r"-m benchmarks([ .])(\w+)", "".join(file.read_text(encoding="utf-8") for file in files))
    assert set(named) == {(" ", name) for name in NAMES}
