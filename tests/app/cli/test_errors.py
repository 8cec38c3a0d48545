"""User errors are one sentence; bugs are a traceback."""

import errno
import os

import pydantic
import pytest
import typer
from pydantic_settings import SettingsError

import app
from app.cli.errors import naming, run
from app.cli.terminal import OutputFailed
from app.errors import KeysUnavailable
from app.settings import Settings
from retrieval.errors import DataError


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for name, folder in {"QRERANK_DATA_DIR": "data", "QRERANK_MODEL_DIR": "models", "XDG_CACHE_HOME": "cache"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))


def raising(error):
    def command():
        raise error

    return command


def test_a_status_is_passed_on(capsys):
    assert [run(lambda: None), run(lambda: 0), run(lambda: 130)] == [0, 0, 130]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (DataError("file:1: [/x] is wrong"), 1, "file:1: [/x] is wrong"),
        (KeysUnavailable("why"), 1, "why"),
        (OutputFailed("full"), 1, "full"),
        (SettingsError('error parsing value for field "models" from source "E"'), 1, "QRERANK_MODELS: it is not JSON"),
        (typer.BadParameter("it is\nwrong [/x]"), 2, "Invalid value: it is wrong [/x]"),
    ],
)
def test_expected_errors_are_one_sentence(capsys, error, status, sentence):
    assert run(raising(error)) == status
    assert capsys.readouterr() == ("", sentence + "\n")


@pytest.mark.parametrize("variable", ["QRERANK_MODELS", "QRERANK_CORS__ORIGINS", "QRERANK_AUTH__JWT__ALGORITHMS"])
def test_a_setting_that_is_no_json_is_named_and_not_its_group(capsys, monkeypatch, variable):
    monkeypatch.setenv(variable, "RS256")
    assert run(Settings) == 1
    assert capsys.readouterr().err == f"{variable}: it is not JSON\n"


@pytest.mark.parametrize("kind", [PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError, OSError])
@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("data/collections/x", "set QRERANK_DATA_DIR to"),
        ("data", "set QRERANK_DATA_DIR to"),
        ("models/m-v2-0/spec.json", "set QRERANK_MODEL_DIR to"),
        ("cache/quantum-rerank/evaluated", "set XDG_CACHE_HOME to"),
        ("elsewhere", "check the path"),
    ],
)
def test_a_file_that_fails_is_named_with_what_sets_where_it_is(capsys, tmp_path, kind, path, remedy):
    error = kind(errno.EACCES, "Permission denied", str(tmp_path / path))
    assert run(raising(error)) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path / path}: Permission denied; {remedy}")


@pytest.mark.parametrize(
    ("number", "path", "remedy"),
    [
        (errno.EROFS, "data/collections/x", "set QRERANK_DATA_DIR to another folder"),
        (errno.ENOSPC, "data/collections/x", "make room, or set QRERANK_DATA_DIR to another folder"),
        (errno.EROFS, "elsewhere", "give another path"),
    ],
)
def test_a_disk_that_takes_nothing_is_named_with_what_helps(capsys, tmp_path, number, path, remedy):
    assert run(raising(OSError(number, "why", str(tmp_path / path)))) == 1
    assert capsys.readouterr().err == f"{tmp_path / path}: why; {remedy}\n"


def test_a_full_disk_is_reported_without_a_file_name(capsys):
    assert run(raising(OSError(errno.ENOSPC, "No space left on device"))) == 1
    assert "No space left on device; make room, or set QRERANK_DATA_DIR" in capsys.readouterr().err


def test_what_fails_while_a_file_is_written_is_named(capsys, tmp_path):
    def command():
        with naming(tmp_path / "out.json"):
            raise OSError(errno.ENOSPC, "No space left on device")

    assert run(command) == 1
    assert (
        capsys.readouterr().err
        == f"{tmp_path / 'out.json'}: No space left on device; make room, or give another path\n"
    )


def test_settings_are_named_and_not_repeated(capsys):
    assert run(lambda: Settings(model="", limits={"documents": "a-secret"})) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["QRERANK_MODEL", "QRERANK_LIMITS__DOCUMENTS"]
    assert "a-secret" not in "".join(lines)


def test_a_secret_has_characters(capsys):
    assert run(lambda: Settings(auth={"pepper": "a-secret", "keys": ["short"]})) == 1
    told = capsys.readouterr().err
    assert "QRERANK_AUTH__PEPPER: Value should have at least 32 characters, not 8\n" in told
    assert "QRERANK_AUTH__KEYS__0: Value should have at least 16 characters, not 5\n" in told
    assert "a-secret" not in told


class Other(pydantic.BaseModel):
    """A model that is not `Settings`."""

    field: int


@pytest.mark.parametrize(
    "command",
    [
        raising(ValueError("a bug")),
        raising(KeyError("a bug")),
        raising(OSError("without a file")),
        raising(TimeoutError(errno.ETIMEDOUT, "somebody else's")),
        raising(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{app.__path__[0]}/gone.json")),
        raising(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a bug")),
        lambda: Other(field="x"),
    ],
)
def test_a_bug_is_raised(capsys, command):
    with pytest.raises((ValueError, LookupError, OSError)):
        run(command)
    assert capsys.readouterr() == ("", "")
