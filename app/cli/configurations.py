"""Configurations that `qrerank evaluate` compares: the settings, with a few of them changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer
from pydantic import ValidationError

from app.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_PREFIX = "qrerank_"


@dataclass(frozen=True)
class Configuration:
    """The settings of one series of rankings."""

    name: str  # "" for the settings as they are
    settings: Settings


def configurations(texts: Sequence[str]) -> list[Configuration]:
    """The settings as they are, and each "NAME:key=value,…"; a usage error for a name or setting that cannot be."""
    found = [Configuration("", Settings())]
    for text in texts:
        name, _, changes = text.partition(":")
        if not _NAME.fullmatch(name) or not changes:
            raise _usage(f"{text!r} is not NAME:key=value,…, such as words:first_stage.lexical=1")
        if any(name == other.name for other in found):
            raise _usage(f"{name!r} is given twice; give each a name of its own")
        found.append(Configuration(name, _changed(name, changes)))
    return found


def _changed(name: str, changes: str) -> Settings:
    values: dict[str, Any] = {}
    for change in changes.split(","):
        key, equals, value = change.partition("=")
        *groups, last = key.strip().lower().removeprefix(_PREFIX).replace("__", ".").split(".")
        if not equals or not all((*groups, last)):
            raise _usage(f"{name}: {change!r} is not key=value, such as encoder.precision=f32")
        group = values
        for each in groups:
            group = group.setdefault(each, {})
            if not isinstance(group, dict):
                raise _usage(f"{name}: {each!r} is a setting and not a group of them")
        group[last] = value.strip()
    try:
        return Settings(**values)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, item["loc"]))
        raise _usage(
            f"{name}: {where}: {item['msg'].removeprefix('Value error, ')}; docs/configuration.md lists the settings"
        ) from None


def _usage(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="'--config'")
