"""`qrerank doctor` finds what is wrong and says how to mend it; where nothing is wrong it says so."""

import errno
import json
import socket
from importlib.resources import files
from pathlib import Path

import pytest

from app.cli.doctor import machine, services
from app.telemetry.metrics_port import metrics_served
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.store.collection import Collection
from retrieval.store.indexer import build
from retrieval.text.passages import Passage
from scripts.trial import free_port
from tests.redis_server import RedisServer

AUTH = {"AUTH__ENABLED": "true"}
SHIPPED_CALIBRATION = files("app.ranking") / "calibration.json"  # of the default model


@pytest.fixture
def doctor(qrerank, monkeypatch, tmp_path):
    """A function that runs it: exit status, and findings by check, of several the last."""
    monkeypatch.setenv("QRERANK_MODEL_DIR", str(tmp_path / "models"))

    def run(*words, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"QRERANK_{name}", str(value))
        status, output, _ = qrerank("doctor", "--json", "--port", free_port(), *words)
        report = json.loads(output)
        assert (report["status"] == "error") == (status == 1)
        found = {finding["check"]: finding for finding in report["checks"]}
        wrong = [finding for finding in found.values() if finding["status"] in {"warning", "error"}]
        assert all(" " in finding["remedy"] for finding in wrong)  # what to do, and not a name alone
        return status, found

    return run


def test_a_machine_without_faults_has_none(doctor, tmp_path):
    status, found = doctor(CACHE__MAX_BYTES=0, ENGINE__REQUESTS=1)
    assert status == 0
    assert not [finding for finding in found.values() if finding["status"] == "error"]
    assert found["settings"]["status"] == found["port"]["status"] == "ok"
    assert {found[name]["status"] for name in ("keys", "Redis of states", "Milvus", "collection")} == {"off"}
    assert not (tmp_path / "data").exists()  # nothing is made


def test_the_table_names_errors_and_counts_them(qrerank, monkeypatch):
    monkeypatch.setenv("QRERANK_DEFAULT_COLLECTION", "birds")
    status, output, _ = qrerank("doctor", "--port", free_port())
    assert status == 1
    assert "1 errors" in output
    shown = " ".join(output.split())  # however it is wrapped
    assert "error │ collection" in shown


def test_settings_that_are_wrong_are_named_each(doctor):
    status, found = doctor(LIMITS__DOCUMENTS="0")
    assert status == 1
    assert list(found) == ["settings"]
    assert found["settings"]["found"].startswith("QRERANK_LIMITS__DOCUMENTS: ")


@pytest.mark.parametrize(
    ("variables", "check", "says"),
    [
        ({"MODEL": "nobody/has-it"}, "model", "is not prepared in"),
        ({"DEFAULT_COLLECTION": "birds"}, "collection", "birds, the default collection, is not there"),
        ({"CACHE__REDIS_URL": "redis://127.0.0.1:1"}, "Redis of states", "127.0.0.1:1 does not answer"),
        ({"QUOTAS__REDIS_URL": "nonsense"}, "Redis of quotas", "cannot be parsed"),
        ({"AUTH__DATABASE_URL": "postgresql://u:a-secret@127.0.0.1:1/db"}, "keys", "PostgreSQL"),
        ({"INDEX__URL": "milvus://127.0.0.1:1"}, "Milvus", "127.0.0.1:1"),
        ({"TRACING__ENDPOINT": "http://127.0.0.1:1"}, "QRERANK_TRACING__ENDPOINT", "127.0.0.1:1 cannot be reached"),
        ({"OPERATIONS__ACCESS": "admin"}, "access", "authentication is disabled"),
        ({"CALIBRATION": "none.json"}, "access", "none.json"),
        ({"CALIBRATION": SHIPPED_CALIBRATION}, "ranking", "which is not served"),
        ({"CIRCUIT__BANDWIDTH": 0.1}, "ranking", "saturates"),
        ({"CROSS_ENCODER__MODEL": "/no/folder"}, "cross-encoder", "/no/folder is no folder"),
        ({"AUTH__AUDIT_FILE": "/tmp"}, "QRERANK_AUTH__AUDIT_FILE", "cannot be written"),  # noqa: S108 - a folder
        ({"AUTH__AUDIT_FILE": "/dev/null/x"}, "QRERANK_AUTH__AUDIT_FILE", "cannot be written"),
        (AUTH | {"AUTH__JWT__JWKS_FILE": "/no/file"}, "QRERANK_AUTH__JWT__JWKS_FILE", "No such file"),
        (AUTH | {"AUTH__JWT__JWKS_FILE": SHIPPED_CALIBRATION}, "QRERANK_AUTH__JWT__JWKS_FILE", "no list `keys`"),
    ],
)
def test_what_is_wrong_is_an_error(doctor, variables, check, says):
    status, found = doctor(**variables)
    assert status == 1
    assert found[check]["status"] == "error"
    assert says in found[check]["found"]
    assert "a-secret" not in json.dumps(found)


def test_a_collection_whose_model_is_not_served_is_an_error_where_it_is_the_default_one(doctor, tmp_path):
    passages = [Passage("a", "", "an owl song")]
    build(tmp_path / "data" / "collections" / "birds", passages, HashEncoder(), lambda *_: None)
    assert doctor()[0] == 0
    for default, expected in (({}, "warning"), ({"DEFAULT_COLLECTION": "birds"}, "error")):
        _, found = doctor(MODEL="nobody/has-it", **default)
        assert found["collection"]["status"] == expected
        assert "made with hash, which is not served" in found["collection"]["found"]
        assert "QRERANK_MODELS" in found["collection"]["remedy"]


def test_documents_that_are_damaged_are_an_error(doctor, tmp_path):
    folder = tmp_path / "data" / "collections" / "birds"
    build(folder, [Passage("a", "", "an owl song")], HashEncoder(), lambda *_: None)
    Collection(folder).shrink()
    database = folder / "documents.sqlite"
    database.write_bytes(database.read_bytes().replace(b"an owl song", b"an owl sung"))
    status, found = doctor()
    assert (status, found["collection"]["status"]) == (1, "error")
    assert "documents not as they were written" in found["collection"]["found"]


def test_a_public_address_needs_keys(doctor):
    assert doctor("--host", "0.0.0.0")[1]["access"]["remedy"].startswith("set QRERANK_AUTH__ENABLED=true")  # noqa: S104


def test_no_key_yet_is_a_warning(doctor):
    status, found = doctor(AUTH__ENABLED="true")
    assert (status, found["keys"]["status"]) == (0, "warning")


def test_a_redis_that_answers_is_well(doctor):
    with RedisServer() as server:
        assert doctor(CACHE__REDIS_URL=server.url)[1]["Redis of states"]["status"] == "ok"


def test_a_port_that_others_have_is_an_error(doctor, monkeypatch):
    monkeypatch.setattr(services, "_PATIENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)  # it never answers
        found = doctor("--port", other.getsockname()[1])[1]["port"]
    assert (found["status"], found["remedy"][:16]) == ("error", "stop the process")


def test_beside_the_service_its_metrics_port_is_well(doctor):
    port = free_port()
    with metrics_served(1, "127.0.0.1", port):
        found = doctor(OPERATIONS__METRICS_PORT=port)[1]["metrics port"]
    assert (found["status"], found["found"]) == ("ok", f"{port}: quantum-rerank serves there")


def test_the_services_own_port_is_none_for_its_metrics(doctor):
    port = free_port()
    found = doctor("--port", port, OPERATIONS__METRICS_PORT=port)[1]["metrics port"]
    assert (found["status"], found["found"]) == ("error", f"{port} is the service's own")


def forbidden(*_):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_collection_whose_database_cannot_be_read_leaves_the_others_to_be_seen(
    doctor, qrerank, tmp_path, monkeypatch
):
    (tmp_path / "birds.txt").write_text("owls hunt at night\n")
    for name in ("birds", "cats"):
        assert qrerank("index", "build", name, "birds.txt")[0] == 0

    def of_another(folder):
        if folder.name == "birds":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr("retrieval.store.connection._check_readable", of_another)
    status, printed, _ = qrerank("index", "list", "--json")
    birds, cats = json.loads(printed)["data"]
    assert (status, birds["error"], cats["documents"]) == (0, "it cannot be read: Permission denied", 1)
    status, printed, _ = qrerank("doctor", "--json", "--port", free_port())
    birds, cats = (each for each in json.loads(printed)["checks"] if each["check"] == "collection")
    assert (status, birds["status"], cats["status"]) == (1, "error", "ok")
    assert birds["remedy"] == "let the user of this process read its files"


def test_collections_are_checked_byte_by_byte(doctor, qrerank, tmp_path, monkeypatch):
    (tmp_path / "birds.txt").write_text("owls hunt at night\n\nlarks sing at dawn\n")
    assert qrerank("index", "build", "birds", "birds.txt")[0] == 0
    status, found = doctor()
    assert (status, found["collection"]["status"]) == (0, "ok")
    with monkeypatch.context() as patch:
        patch.setattr("retrieval.index.segment.HeldFiles", forbidden)
        status, found = doctor()
    assert (status, found["collection"]["remedy"]) == (1, "let the user of this process read its files")
    segment = next(Path(tmp_path, "data", "collections", "birds").rglob("token*"))
    segment.write_bytes(segment.read_bytes()[:-1])
    status, found = doctor()
    assert (status, found["collection"]["remedy"]) == (1, "`qrerank index verify birds --repair`")


def test_a_collection_whose_model_is_not_served_says_both_ways_out(doctor, qrerank, tmp_path):
    (tmp_path / "birds.txt").write_text("owls hunt at night\n")
    assert qrerank("index", "build", "birds", "birds.txt")[0] == 0
    _, found = doctor(MODEL="another")
    assert found["collection"]["status"] == "warning"
    assert found["collection"]["remedy"] == (
        "add hash to QRERANK_MODELS, or encode the collection with a model that is served: "
        "`qrerank index encode birds --model another`"
    )


def test_a_cross_encoder_that_is_not_there_is_a_warning(doctor, tmp_path):
    status, found = doctor(CROSS_ENCODER__MODEL="somebody/cross")
    assert (status, found["cross-encoder"]["status"]) == (0, "warning")
    assert doctor(CROSS_ENCODER__MODEL=tmp_path / "cross")[1]["cross-encoder"]["status"] == "error"
    (tmp_path / "cross").mkdir()
    (tmp_path / "cross" / "model.onnx").touch()
    assert doctor()[1]["cross-encoder"]["status"] == "ok"
    for name in ("a", "b"):
        (tmp_path / "cross" / f"{name}.onnx").touch()
    (tmp_path / "cross" / "model.onnx").unlink()
    status, found = doctor()
    assert (status, found["cross-encoder"]["status"]) == (1, "error")


def test_folders_must_be_writable(doctor, tmp_path):
    (tmp_path / "file").touch()
    status, found = doctor(DATA_DIR=tmp_path / "file" / "data")
    assert (status, found["QRERANK_DATA_DIR"]["status"]) == (1, "error")


def test_more_processors_than_there_are_and_too_little_memory_are_warnings(doctor, monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: 2**29)
    status, found = doctor(ENGINE__PROCESSORS="1024", LIMITS__CONNECTIONS="1000000")
    assert {found[name]["status"] for name in ("cores", "memory", "open files")} == {"warning"}
    assert status == 0


@pytest.mark.parametrize(
    ("flags", "architecture", "has", "lacks"),
    [
        ({"avx2", "avx512f", "avx512_vnni"}, "x86_64", ["AVX2", "AVX-512", "VNNI"], ["bf16", "AMX"]),
        ({"avx2", "avx_vnni"}, "x86_64", ["AVX2", "VNNI"], ["AVX-512", "bf16", "AMX"]),
        ({"asimd", "asimddp"}, "aarch64", ["NEON", "dot product"], ["bf16", "i8mm", "SVE"]),
        (set(), "x86_64", [], []),
    ],
)
def test_instructions_are_told_by_flags(flags, architecture, has, lacks):
    assert machine.instructions(flags, architecture) == (has, lacks)
