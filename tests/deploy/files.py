"""The files for operators, read as those who use them read them."""

import os
import re
from pathlib import Path

import yaml

from app.settings import Settings

ROOT = Path(__file__).parents[2]
SECRETS = {"REDIS_PASSWORD": "a" * 64, "GRAFANA_PASSWORD": "b" * 64}


def compose(name):
    """A compose file with its variables put in; KeyError for one that deploy/compose.env.example does not name."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"(?<!\$)\$\{(\w+)[^}]*\}", lambda found: SECRETS[found[1]], text))


def settings_of(variables, monkeypatch):
    """The settings of an environment with these variables and no other of ours."""
    for name in [name for name in os.environ if name.startswith("QRERANK_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        if name.startswith("QRERANK_"):
            monkeypatch.setenv(name, value)
    return Settings()


def seconds(text):
    """35 or 35s."""
    return float(str(text).removesuffix("s"))
