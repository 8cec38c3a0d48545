"""Errors of commands: one sentence on standard error and an exit status. Only a bug shows a traceback."""

from __future__ import annotations

import errno
import os
import re
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from platformdirs import user_cache_path
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

import app
import quantum
import retrieval
from app.cli.terminal import OutputFailed, errors, fail
from app.errors import KeysUnavailable, ServiceError
from app.server.startup_checks import Exposed
from app.settings import Settings
from app.telemetry.metrics_port import PortTaken
from quantum.errors import QuantumError
from retrieval.errors import RetrievalError

FAILED = 1
STATUSES = (
    "Exit status: 0 done; 1 the command failed, or standard output was closed; 2 the command line is wrong; 3 `serve` "
    "could not go on; 130 interrupted by Ctrl-C. Errors are one sentence on standard error."
)

EXPECTED = (
    ValidationError,
    SettingsError,
    RetrievalError,
    QuantumError,
    ServiceError,
    Exposed,
    PortTaken,
    OutputFailed,
)
_CACHE = "quantum-rerank"
_FIELD = re.compile(r'field "(\w+)"')  # in pydantic-settings' message
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}  # never a bug of ours
_INSTALLED = [
    *(Path(str(package.__file__)).parent for package in (app, quantum, retrieval)),
    Path(sysconfig.get_path("purelib")),
]


def run(command: Callable[[], Any]) -> int:
    """Run a Typer application that is not in standalone mode, and return its exit status."""
    try:
        return int(command() or 0)
    except typer.TyperException as error:
        _fail_usage(error)
        return error.exit_code
    except (*EXPECTED, OSError) as error:
        lines = sentences(error)
        if lines is None:
            raise
        for line in lines:
            fail(line)
        return FAILED


def check_data_dir(settings: Settings) -> None:
    """FileNotFoundError if there is no data folder: a command that only reads must not make one of a mistyped name."""
    if not settings.data_dir.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder, so nothing is stored yet", settings.data_dir)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Set the file name of an OSError in the block: errors of `write` have none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _fail_usage(error: typer.TyperException) -> None:
    """Print the usage error, or the help of a group that was called without a command."""
    context = getattr(error, "ctx", None)
    text = error.format_message()
    if context is not None and text == context.get_help():
        errors.print(text, soft_wrap=True)
    else:
        text = text.replace("Value error, ", "")  # a prefix of pydantic
        sentence = text if text.endswith("?") else f"{text.rstrip('.')}."
        fail(f"{sentence} Try `{context.command_path} --help`." if context else text)


def sentences(error: Exception) -> list[str] | None:
    """The messages for an error; None if it is a bug."""
    match error:
        case ValidationError() if error.title == Settings.__name__:
            return [_setting(item) for item in error.errors(include_url=False, include_input=False)]
        case ValidationError():
            return None
        case SettingsError():  # lists and objects are JSON
            return [f"{_not_json(error)}: it is not JSON"]
        case KeysUnavailable():
            return [error.reason]
        case OSError():
            return _system(error)
    return [str(error)]


def _not_json(error: SettingsError) -> str:
    """The variable that is not JSON: pydantic-settings names its group alone, and its cause has the value."""
    field = _FIELD.search(str(error))
    if field is None:
        return str(error)
    group, value = _variable(field[1]), getattr(error.__cause__, "doc", None)
    names = (name for name, text in os.environ.items() if text == value and name.upper().startswith(group))
    return next(names, group)


def _variable(*path: object) -> str:
    return "QRERANK_" + "__".join(map(str, path)).upper()


def _setting(item: ErrorDetails) -> str:
    variable = _variable(*item["loc"]) if item["loc"] else "settings"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"{variable} is not a setting; docs/configuration.md lists all"
    if item.get("ctx", {}).get("field_type") == "Value":  # a secret: pydantic takes its characters for items
        message = message.replace(" items after validation", " characters")
    return f"{variable}: {message}"


def _system(error: OSError) -> list[str] | None:
    """The message for a file or folder that the user can correct; None if the error is a bug."""
    if isinstance(error.filename, str | bytes | Path):
        path = Path(os.fsdecode(error.filename))
        if any(path.is_relative_to(folder) for folder in _INSTALLED):
            return None
        return [f"{path}: {error.strerror}; {_remedy(path, error)}"]
    if error.errno in _FULL:
        return [
            f"a file cannot be written: {error.strerror}; make room, or set {', '.join(_folders())} to other folders"
        ]
    return None


def _remedy(path: Path, error: OSError) -> str:
    ours = _folders().items()
    own = next((name for name, folder in ours if path.is_relative_to(folder) or folder.is_relative_to(path)), None)
    if error.errno in _FULL:
        room = "" if error.errno == errno.EROFS else "make room, or "
        return room + (f"set {own} to another folder" if own else "give another path")
    return f"set {own} to a folder that can be read and written" if own else "check the path and its permissions"


def _folders() -> dict[str, Path]:
    """The folders of our files by the variable that sets each."""
    cache = {"XDG_CACHE_HOME": user_cache_path(_CACHE)}
    try:
        settings = Settings()
    except (ValidationError, SettingsError):
        return cache
    return {"QRERANK_DATA_DIR": settings.data_dir, "QRERANK_MODEL_DIR": settings.model_dir} | cache
