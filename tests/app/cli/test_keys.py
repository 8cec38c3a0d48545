"""`qrerank keys`."""

import json
import logging
import re
import sys
import time
from typing import NamedTuple

import pytest

from app.auth.store import Counts, day_of
from app.auth.stores import open_records
from app.cli import main as cli
from app.cli.terminal import out
from app.settings import Settings
from app.telemetry.printable import escaped

UNPRINTABLE = [*"\x00\x07\t\n\r\x1b\x7f\x80\x9b\u061c\u200e\u200f\u2028\u202a\u202e\u2066\u2069"]
KEY = r"qr_[a-z0-9]{8}_[\w-]{43}"


class Run(NamedTuple):
    """The result of a command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QRERANK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(out, "_width", 200)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def keys(folder, monkeypatch, capsys):
    def run(*words: str, **variables: str) -> Run:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["qrerank", "keys", *words])
            for name, value in variables.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                cli.main()
        return Run(int(ended.value.code or 0), *capsys.readouterr())

    yield run
    logging.getLogger("app.auth").setLevel(logging.NOTSET)


def in_one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def done(run: Run) -> str:
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_key_is_made_listed_rotated_and_revoked(keys, folder):
    made = json.loads(done(keys("create", "--name", "search", "--tier", "premium", "--expires-days", "1.5", "--json")))
    assert re.fullmatch(KEY, made["key"])
    assert made["key"].startswith(made["prefix"])
    assert (made["name"], made["role"], made["tier"], made["status"]) == ("search", "user", "premium", "active")
    assert made["expires"] > made["created"]

    rotated = json.loads(done(keys("rotate", made["id"], "--overlap-hours", "2", "--json")))
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert [old["prefix"] for old in rotated["replaced"]] == [made["prefix"]]

    assert "revoked" in done(keys("revoke", made["prefix"]))
    listed = json.loads(done(keys("list", "--json")))["data"]
    assert [(key["id"], key["status"]) for key in listed] == [(made["id"], "revoked")]
    table = done(keys("list"))
    assert made["id"] in table
    assert rotated["prefix"] in table
    kept = b"".join(file.read_bytes() for file in folder.iterdir())
    for key in (made["key"], rotated["key"]):
        assert key.encode() not in kept
        assert key not in table


def test_a_key_is_limited_to_collections_and_to_reading(keys):
    run = keys("create", "--collections", "team-a-*", "--collections", "birds", "--read-only")
    assert "sees team-a-*, birds, reads only, expires never" in in_one_line(run.stderr)
    done(keys("create"))
    listed = json.loads(done(keys("list", "--json")))["data"]
    assert [(key["collections"], key["read_only"]) for key in listed] == [(["team-a-*", "birds"], True), (None, False)]
    rows = [in_one_line(line) for line in done(keys("list")).splitlines()]
    assert "user standard team-a-*, birds yes active" in rows[2]
    assert "user standard all no active" in rows[3]


def test_a_key_is_all_that_a_script_reads(keys):
    run = keys("create", "--role", "admin")
    assert re.fullmatch(KEY, done(run).strip())
    assert "not shown again" in in_one_line(run.stderr)
    assert "QRERANK_AUTH__ENABLED" in run.stderr
    assert "ENABLED" not in keys("create", QRERANK_AUTH__ENABLED="true").stderr


def test_each_event_is_a_line_of_the_audit_log(keys, tmp_path):
    audit = tmp_path / "logs" / "audit.jsonl"
    made = json.loads(done(keys("create", "--json", QRERANK_AUTH__AUDIT_FILE=str(audit))))
    done(keys("revoke", made["id"], QRERANK_AUTH__AUDIT_FILE=str(audit)))
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["event"], line["key"], line["result"]) for line in lines] == [
        ("key.created", made["prefix"], "done"),
        ("key.revoked", made["prefix"], "done"),
    ]
    assert all(line["by"].startswith("cli:") and line["from"] and line["time"] for line in lines)
    assert made["key"] not in audit.read_text()
    assert '"event":"key.created"' in keys("create").stderr


@pytest.mark.parametrize("name", ["[/x]", ":smile:", "[bold]x", "café 日本", "می\u200cخواهم"])
def test_a_key_may_be_called_anything_and_is_listed_and_revoked(keys, name):
    made = json.loads(done(keys("create", "--name", f" {name} ", "--json")))
    assert made["name"] == name
    assert name in done(keys("list"))
    assert "is revoked" in done(keys("revoke", made["id"]))


@pytest.mark.parametrize("bad", UNPRINTABLE)
def test_a_name_that_would_command_the_terminal_is_refused(keys, bad):
    run = keys("create", "--name", f"a{bad}b")
    assert (run.returncode, run.stdout) == (2, "")
    assert "--name: a name is one line, without control characters" in run.stderr
    assert bad not in run.stderr.rstrip("\n")


@pytest.mark.parametrize("bad", UNPRINTABLE)
def test_a_name_that_is_there_already_is_shown_escaped(keys, folder, bad):
    settings = Settings()
    records = open_records(settings.auth, settings.data_dir)
    key, _ = records.keys.create(f"[/x]a{bad}b", "user", "public")
    records.database.close()
    table = done(keys("list"))
    assert bad == "\n" or bad not in table
    assert f"[/x]a{escaped(bad)}b" in table
    listed = done(keys("list", "--json"))
    assert bad not in listed.rstrip("\n")
    assert json.loads(listed)["data"][0]["name"] == f"[/x]a{bad}b"
    assert "is revoked" in done(keys("revoke", key.prefix))


SQLITES_OWN = {"auth.sqlite3-wal", "auth.sqlite3-shm"}  # as long as a process has the database open, or a while longer


def test_without_the_pepper_of_the_keys_nothing_is_made(keys, folder):
    done(keys("create", "--name", "a", QRERANK_AUTH__PEPPER="p" * 32))
    assert {path.name for path in folder.iterdir()} - SQLITES_OWN == {"auth.sqlite3"}
    for words in (["create", "--name", "b"], ["list"], ["usage"]):
        run = keys(*words)
        assert (run.returncode, run.stdout) == (1, "")
        assert "set QRERANK_AUTH__PEPPER to that one" in run.stderr
        assert {path.name for path in folder.iterdir()} - SQLITES_OWN == {"auth.sqlite3"}
    assert [key["name"] for key in json.loads(done(keys("list", "--json", QRERANK_AUTH__PEPPER="p" * 32)))["data"]] == [
        "a"
    ]


def test_usage_of_nobody_is_an_empty_table(keys):
    assert json.loads(done(keys("usage", "--json"))) == {"object": "list", "data": []}
    assert "requests" in done(keys("usage", "--days", "3"))


def test_usage_is_found_by_prefix_and_by_name_and_of_no_key_it_is_an_error(keys):
    """An empty table says that a key was not used, and may be revoked."""
    made = json.loads(done(keys("create", "--json")))
    settings = Settings()
    records = open_records(settings.auth, settings.data_dir)
    today = day_of(time.time())
    records.usage.add({(today, made["id"]): Counts(requests=7), (today, "token:ada"): Counts(requests=3)}, {})
    records.database.close()
    for who, requests in ((made["id"], 7), (made["prefix"], 7), ("token:ada", 3)):
        [day] = json.loads(done(keys("usage", who, "--json")))["data"]
        assert day["requests"] == requests
    run = keys("usage", "key_0")
    assert (run.returncode, run.stdout) == (1, "")
    assert "no key has this id" in run.stderr


@pytest.mark.parametrize(
    "words",
    [
        "keys list",
        "keys usage",
        "keys revoke key_0",
        "keys rotate key_0",
        "feedback list",
        "feedback forget",
        "index list",
    ],
)
def test_a_mistyped_data_folder_is_named_and_not_made(folder, monkeypatch, capsys, words):
    folder.rmdir()
    monkeypatch.setattr(sys, "argv", ["qrerank", *words.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = f"{folder}: there is no such folder, so nothing is stored yet; set QRERANK_DATA_DIR to "
    assert (ended.value.code, *capsys.readouterr()) == (1, "", told + "a folder that can be read and written\n")
    assert not folder.exists()


def test_the_first_key_makes_the_data_folder(keys, folder):
    folder.rmdir()
    assert re.fullmatch(KEY, done(keys("create")).strip())
    assert json.loads(done(keys("list", "--json")))["data"]


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["revoke", "key_0"], {}, "no key has this id"),
        (["create", "--tier", "gold"], {}, "premium"),
        (["create", "--role", "root"], {}, "read-only"),
        (["create", "--collections", "a*b"], {}, "--collections: must be a collection's name"),
        (["create", "--role", "admin", "--read-only"], {}, "--read-only: a key with the role admin cannot be limited"),
        (["create", "--expires-days", "0"], {}, "--expires-days: Input should be greater than 0"),
        (["create", "--expires-days", "nan"], {}, "--expires-days: Input should be a finite number"),
        (["create", "--expires-days", "1e9"], {}, "--expires-days: Input should be less than"),
        (["create", "--name", "x" * 129], {}, "--name: String should have at most 128"),
        (["create", "--name", "\udce9"], {}, "'--name': it is not UTF-8"),
        (["revoke", "\udce9"], {}, "'ID': it is not UTF-8"),
        (["rotate", "[/x]\x1b"], {}, "no key has this id"),
        (["usage", "\udce9"], {}, "'ID': it is not UTF-8"),
        (["list"], {"QRERANK_AUTH__PEPPER": "too-short-a-secret"}, "QRERANK_AUTH__PEPPER"),
        (["list"], {"QRERANK_AUTH__KEYS": "a-secret-that-is-not-json"}, "not JSON"),
        (["list"], {"QRERANK_AUTH__DATABASE_URL": "mysql://u:a-secret@h/d"}, "postgresql://"),
        (["list"], {"QRERANK_AUTH__DATABASE_URL": "postgresql://u:a-secret@127.0.0.1:1/d"}, "refused"),
        (["list"], {"QRERANK_AUTH__DATABASE_URL": "postgresql://u:p@h:a-secret/d"}, "%"),
        (["list"], {"QRERANK_DATA_DIR": "/dev/null"}, "QRERANK_DATA_DIR"),
        (["list"], {"QRERANK_AUTH__AUDIT_FILE": "/dev/null/audit"}, "audit log"),
    ],
)
def test_errors_are_one_message_without_secrets(keys, words, variables, message):
    run = keys(*words, **variables)
    assert run.returncode in {1, 2}
    assert message in in_one_line(run.stderr)
    assert len(run.stderr.splitlines()) == 1
    assert "a-secret" not in run.stderr
