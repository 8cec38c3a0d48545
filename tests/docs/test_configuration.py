"""docs/configuration.md is what `python -m scripts.configuration` prints."""

import re

import pytest

from scripts import configuration
from scripts.configuration import settings
from tests.paths import ROOT


def test_the_committed_page_is_generated_from_the_settings():
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == configuration.page(), "run `make pages`"


def test_every_setting_has_one_row():
    rows = re.findall(r"^\| `(QRERANK_\w+)` \|", configuration.page(), re.MULTILINE)
    assert sorted(rows) == sorted(setting.variable for setting in settings())


@pytest.mark.parametrize(
    "row",
    [
        "| `QRERANK_LIMITS__BODY_BYTES` | `16777216` (16 MiB) | integer, 1 KiB to 1 GiB |",
        "| `QRERANK_ENGINE__DEADLINE_MS` | `400` | integer, 0 to 600,000 milliseconds |",
        "| `QRERANK_AUTH__PEPPER` | none | string, 32 characters or more; secret |",
        "| `QRERANK_LOGS__FORMAT` | `auto` | `auto`, `json`, `pretty` |",
    ],
)
def test_a_row_has_default_bounds_and_unit(row):
    assert row in configuration.page()
