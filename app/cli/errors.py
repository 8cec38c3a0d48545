"""How a command ends: done, or with one sentence on standard error and an exit status; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
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
    "Exit status: 0 done; 1 what was asked for failed, or standard output was closed; 2 the command line is wrong; "
    "130 interrupted by Ctrl-C. Errors are one sentence on standard error."
)

_FORESEEN = (
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
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}  # wherever they come from, no bug
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
    except (*_FORESEEN, OSError) as error:
        lines = _sentences(error)
        if lines is None:
            raise
        for line in lines:
            fail(line)
        return FAILED


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have what goes wrong with a file name it: what fails when it is written does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _fail_usage(error: typer.TyperException) -> None:
    """Print what is wrong with the command line, or the help of a group that was given no command."""
    context = getattr(error, "ctx", None)
    text = error.format_message()
    if context is not None and text == context.get_help():
        errors.print(text, soft_wrap=True)
    else:
        text = text.replace("Value error, ", "")  # pydantic's, which typer leaves
        fail(f"{text.rstrip('.')}. Try `{context.command_path} --help`." if context else text)


def _sentences(error: Exception) -> list[str] | None:
    """What to tell of an error; None where it is a bug of ours."""
    match error:
        case ValidationError() if error.title == Settings.__name__:
            return [_setting(item) for item in error.errors(include_url=False, include_input=False)]
        case ValidationError():
            return None
        case SettingsError():  # lists and objects are JSON
            return [f"{error}: it is not JSON"]
        case KeysUnavailable():
            return [error.reason]
        case OSError():
            return _system(error)
    return [str(error)]


def _setting(item: ErrorDetails) -> str:
    where = "QRERANK_" + "__".join(str(part) for part in item["loc"]).upper() if item["loc"] else "settings"
    return f"{where}: {item['msg'].removeprefix('Value error, ')}"


def _system(error: OSError) -> list[str] | None:
    """Which file or folder is at fault, and what to do; None where that is no matter of the user's."""
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
    if error.errno in _FULL:
        return "make room, or give another path"
    for name, folder in _folders().items():
        if path.is_relative_to(folder) or folder.is_relative_to(path):
            return f"set {name} to a folder that can be read and written"
    return "check the path, and whether it may be read and written"


def _folders() -> dict[str, Path]:
    """What sets where our files are."""
    cache = {"XDG_CACHE_HOME": user_cache_path(_CACHE)}
    try:
        settings = Settings()
    except (ValidationError, SettingsError):
        return cache
    return {"QRERANK_DATA_DIR": settings.data_dir, "QRERANK_MODEL_DIR": settings.model_dir} | cache
