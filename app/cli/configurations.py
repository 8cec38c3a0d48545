"""Configurations that `qrerank evaluate` compares: the settings, with a few of them changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import typer
from pydantic import ValidationError

from app.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_PREFIX = "qrerank_"
# Settings that can change what `evaluate` prints; the others are of the service.
_EFFECTIVE = frozenset(
    "cache calibration candidates chunking circuit cross_encoder data_dir diversity encoder engine first_stage fusion "
    "language model model_dir parameters".split()
)


@dataclass(frozen=True)
class Configuration:
    """The settings of one series of rankings."""

    name: str  # "" for the settings as they are
    settings: Settings


def configurations(texts: Sequence[str], overridden: Mapping[str, str] = MappingProxyType({})) -> list[Configuration]:
    """The settings as they are, and each "NAME:key=value,…"; a usage error for a name or setting that cannot be.

    overridden: settings, or groups of them, that options of the command line take the place of, and each one's option.
    """
    found = [Configuration("", Settings())]
    for text in texts:
        name, _, changes = text.partition(":")
        if not _NAME.fullmatch(name) or not changes:
            raise _usage(f"{text!r} is not NAME:key=value,…, such as words:first_stage.lexical=1")
        if any(name == other.name for other in found):
            raise _usage(f"{name!r} is given twice; give each a name of its own")
        found.append(Configuration(name, _changed(name, changes, overridden)))
    return found


def _changed(name: str, changes: str, overridden: Mapping[str, str]) -> Settings:
    values: dict[str, Any] = {}
    for change in changes.split(","):
        key, equals, value = change.partition("=")
        path = key.strip().lower().removeprefix(_PREFIX).replace("__", ".")
        *groups, last = path.split(".")
        if not equals or not all((*groups, last)):
            raise _usage(f"{name}: {change!r} is not key=value, such as encoder.precision=f32")
        for setting, option in overridden.items():
            if f"{path}.".startswith(f"{setting}."):
                raise _usage(f"{name}: {path} has no effect beside {option}; leave one of them out")
        group = values
        for each in groups:
            group = group.setdefault(each, {})
            if not isinstance(group, dict):
                raise _usage(f"{name}: {each!r} is a setting and not a group of them")
        group[last] = value.strip()
    return _settings(name, values)


def _settings(name: str, values: dict[str, Any]) -> Settings:
    """The settings with these values in place of their own."""
    try:
        changed = Settings(**values)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, item["loc"]))
        raise _usage(
            f"{name}: {where}: {item['msg'].removeprefix('Value error, ')}; docs/configuration.md lists the settings"
        ) from None
    if idle := sorted(values.keys() - _EFFECTIVE):
        raise _usage(f"{name}: {idle[0]} changes no ranking here; what does is {', '.join(sorted(_EFFECTIVE))}")
    return changed


def _usage(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="'--config'")
