"""The chart's README, made of its values, their comments and the table of settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from scripts.chart.settings_table import MOUNTED, Setting

_SAID = re.compile(r"^(?P<indent> *)# -- (?P<text>.*)$")
_KEY = re.compile(r"^(?P<indent> *)(?P<name>[\w-]+):")
_TABLES = {"<!-- values -->", "<!-- settings -->"}


def written(template: str, values: str, settings: Iterable[Setting]) -> str:
    """The template with its two tables in their places; ValueError if it lacks one, or a value lacks its meaning."""
    made = {"<!-- values -->": _values(values), "<!-- settings -->": _settings(settings)}
    for place in _TABLES:
        if template.count(place) != 1:
            raise ValueError(f"the template needs {place} once")
        template = template.replace(place, made[place])
    return template


def documented(values: str) -> dict[str, str]:
    """What the comments say, by the value's path: `image.tag`."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    said = ""
    for line in values.splitlines():
        if comment := _SAID.match(line):
            said = comment["text"]
        elif key := _KEY.match(line):
            depth = len(key["indent"])
            above = [(indent, name) for indent, name in above if indent < depth] + [(depth, key["name"])]
            if said:
                found[".".join(name for _, name in above)] = said
            said = ""
    return found


def _values(text: str) -> str:
    said = documented(text)
    rows = ["| value | default | |", "|---|---|---|"]
    for path, default in _leaves(yaml.safe_load(text), "", said):
        if path not in said:
            raise ValueError(f"values.yaml does not say what {path} is: put `# -- …` above it")
        rows.append(f"| `{path}` | {_cell(default)} | {_escaped(said[path])} |")
    return "\n".join(rows)


def _leaves(values: dict[str, Any], before: str, said: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Every value that is told of; of a map that is told of as a whole, the whole."""
    for name, value in values.items():
        path = f"{before}{name}"
        if isinstance(value, dict) and value and path not in said:
            yield from _leaves(value, f"{path}.", said)
        else:
            yield path, value


def _settings(settings: Iterable[Setting]) -> str:
    rows = ["| value | variable | type and bounds | default | |", "|---|---|---|---|---|"]
    for setting in settings:
        path = ".".join(setting.path)
        place = "secretConfig" if setting.secret else "config"
        value, default = f"`{place}.{path}`", _cell(setting.default)
        if path in MOUNTED:
            value, default = "the chart's", f"`{MOUNTED[path]}`"
        rows.append(
            f"| {value} | `{setting.variable}` | {setting.kind} | {default} | {_escaped(setting.description)} |"
        )
    return "\n".join(rows)


def _cell(value: object) -> str:
    """A default; of lists and maps that fill a line, none: values.yaml shows them."""
    text = json.dumps(value, ensure_ascii=False)
    if value in (None, "", [], {}):
        return ""
    return f"`{_escaped(text)}`" if len(text) <= 80 else "see values.yaml"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
