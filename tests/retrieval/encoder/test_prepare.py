"""Models are prepared once, in a process of its own, and found again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.prepare import ENCODER, load_encoder, prepare
from retrieval.errors import ModelError
from tests.waiting import eventually

TEXTS = ["An owl hunts at night.", "", "The quick brown fox " * 30, "Prices fell."]


def quiet(step: str, done: int, total: int) -> None:
    pass


def test_a_second_call_finds_what_the_first_prepared():
    reports = []
    load_encoder("all-MiniLM-L6-v2", Settings().model_dir, quiet)
    load_encoder("all-MiniLM-L6-v2", Settings().model_dir, lambda *report: reports.append(report))
    assert reports == []


def put(model: str, place: Path, digest: str = "0123") -> Path:
    """Create a folder that looks like a prepared model."""
    spec = {"name": model, "digest": "d", "max_tokens": 8, "pooled_dimension": 4, "token_dimension": 4, "prompts": {}}
    folder = place / f"{model.replace('/', '-')}-{ENCODER.format}-{digest}"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder


def test_a_prepared_model_needs_no_weights(tmp_path):
    folder = put("far/model", tmp_path)
    assert prepare("far/model", tmp_path, quiet) == folder


def test_two_prepared_models_of_one_name_need_weights_that_tell_which(tmp_path):
    put("far/model", tmp_path, "0123"), put("far/model", tmp_path, "4567")
    with pytest.raises(ModelError, match="2 prepared copies of it; delete all but one"):
        prepare("far/model", tmp_path, quiet)


@pytest.fixture(scope="module")
def whole():
    """The folder of the default model, prepared on this machine."""
    return prepare("all-MiniLM-L6-v2", Settings().model_dir, quiet)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The folder of the default model in a wheel that ships it, on a machine without weights."""
    monkeypatch.setattr("retrieval.encoder.prepare._SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    return put("all-MiniLM-L6-v2", tmp_path / "shipped")


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_without_weights_the_wheels_model_is_taken(shipped, tmp_path, name):
    assert prepare(name, tmp_path / "none", quiet) == shipped


def test_what_was_prepared_here_comes_before_what_the_wheel_brings(shipped, tmp_path):
    ours = put("all-MiniLM-L6-v2", tmp_path / "models")
    assert prepare("all-MiniLM-L6-v2", tmp_path / "models", quiet) == ours


def test_the_wheel_brings_no_other_model(shipped, tmp_path):
    with pytest.raises(ModelError, match="holds no prepared copy of it; pip install"):
        prepare("other", tmp_path, quiet)


def test_a_wheels_model_ranks_in_the_one_precision_it_has(whole, shipped, tmp_path):
    for name in ("int8.xml", "int8.bin", "tokenizer.json", "spec.json"):
        shutil.copy(whole / name, shipped / name)
    encoder = load_encoder("all-MiniLM-L6-v2", tmp_path, quiet)
    assert encoder.arithmetic == "openvino-int8-g64"
    pooled = encoder.encode(["an owl", "a barn owl", "prices"]).pooled
    assert pooled[0] @ pooled[1] > pooled[0] @ pooled[2]
    with pytest.raises(ModelError, match="for int8, not for f32"):
        load_encoder("all-MiniLM-L6-v2", tmp_path, quiet, precision="f32")


@pytest.mark.parametrize("file", ["spec.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["", "{", "{}", "\xff"])
def test_a_prepared_model_that_is_damaged_says_so(whole, tmp_path, file, content):
    folder = tmp_path / whole.name
    folder.mkdir()
    for part in whole.iterdir():
        if part.name == file:
            (folder / file).write_text(content)
        else:
            (folder / part.name).symlink_to(part)
    with pytest.raises(ModelError, match=f"{folder.name} is damaged .*delete it"):
        load_encoder("all-MiniLM-L6-v2", tmp_path, quiet)


@pytest.mark.parametrize("folder", ["file", "file/x", "/dev/null/x", "/proc/x", os.fsdecode(b"caf\xe9")])
def test_a_folder_that_cannot_hold_models_is_named_before_any_work(tmp_path, folder):
    (tmp_path / "file").write_text("")
    reports = []
    with pytest.raises(ModelError, match=f"{folder} cannot hold prepared models .*QRERANK_MODEL_DIR"):
        prepare("all-MiniLM-L6-v2", tmp_path / folder, lambda *report: reports.append(report))
    assert reports == []


def test_a_model_that_is_nowhere_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"Hugging Face hub .*holds no prepared copy of it; run `qrerank prepare` on"):
        prepare("no-such-model", tmp_path, quiet)


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no weights"):
        prepare(str(tmp_path), tmp_path, quiet)


def test_hash_needs_nothing(tmp_path):
    assert isinstance(load_encoder("hash", tmp_path / "none", quiet), HashEncoder)
    assert not (tmp_path / "none").exists()


def works(group: int) -> bool:
    """Whether a process of a group still runs: one that is killed ends a little later."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, its_group, *_ = stat.read_text().rpartition(")")[2].split()
            if int(its_group) == group and state != "Z":
                return True
    return False


@pytest.mark.soak  # it prepares the model twice
def test_a_killed_preparation_leaves_nothing_that_looks_like_a_model(tmp_path):
    script = (
        "import os, sys, pathlib, signal\n"
        "from retrieval.encoder.prepare import prepare\n"
        "def report(step, done, total):\n"
        "    if done == 3: os.killpg(0, signal.SIGKILL)\n"  # kills this process and the conversion
        "prepare('all-MiniLM-L6-v2', pathlib.Path(sys.argv[1]), report)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, start_new_session=True) as run:  # noqa: S603 - our own script
        assert run.wait() == -signal.SIGKILL
    eventually(lambda: not works(run.pid))
    assert not list(tmp_path.glob("all-MiniLM*"))
    partial = next(tmp_path.glob(".partial-*"))
    for path in (partial, *partial.rglob("*")):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert torch_modules_after_serving(tmp_path) == "[]"  # prepares it again in a separate process
    folder = prepare("all-MiniLM-L6-v2", tmp_path, quiet)
    assert {path.name for path in folder.iterdir()} == {
        *("model.xml", "model.bin", "int8.xml", "int8.bin", "tokenizer.json", "spec.json")
    }
    assert not list(tmp_path.glob(".partial-*"))


def test_a_preparation_that_is_stopped_stops_its_conversion(tmp_path, monkeypatch):
    conversion, finished = tmp_path / "conversion", tmp_path / "finished"
    conversion.write_text(f"#!/bin/sh\necho '[\"converting\", 2, 4]'\nsleep 5\ntouch {finished}\n")
    conversion.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(conversion))

    def stop(_: str, done: int, __: int) -> None:
        if done == 2:
            sys.exit(0)  # as SIGTERM does

    with pytest.raises(SystemExit):
        prepare("all-MiniLM-L6-v2", tmp_path / "models", stop)
    assert not finished.exists()


def torch_modules_after_serving(model_dir: Path) -> str:
    """Return the loaded modules that only preparation needs, in a process that has served a request."""
    script = (
        "import sys\n"
        "from app.engine.loader import open_reranker\n"
        "from app.settings import Settings\n"
        "open_reranker(Settings(), lambda *_: None).rerank('owl', ['an owl', 'a cat'])\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))\n"
    )
    environment = os.environ | {"QRERANK_MODEL_DIR": str(model_dir)}
    run = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment
    )
    return run.stdout.strip()


def test_the_process_that_serves_imports_neither_torch_nor_transformers():
    load_encoder("all-MiniLM-L6-v2", Settings().model_dir, quiet)
    assert torch_modules_after_serving(Settings().model_dir) == "[]"


def test_int8_states_are_close_to_full_ones():
    full, int8 = (
        load_encoder("all-MiniLM-L6-v2", Settings().model_dir, quiet, precision=precision).encode(TEXTS)
        for precision in ("f32", "int8")
    )
    assert (full.pooled * int8.pooled).sum(axis=1).min() > 0.99
    cosines = (full.token_rows() * int8.token_rows()).sum(axis=1)
    assert cosines.mean() > 0.999


@pytest.mark.slow
def test_a_model_that_cannot_be_converted_says_why(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"failed: .*holds no sentence-transformers model"):
        prepare(str(tmp_path / "model"), tmp_path / "prepared", quiet)


def test_what_preparing_needs_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("retrieval.encoder.prepare._REQUIRED_MODULES", ("torch", "no_such_module"))
    with pytest.raises(ModelError, match=r"needs no_such_module; pip install"):
        prepare("all-MiniLM-L6-v2", tmp_path, quiet)


def test_hash_reads_no_prompts(tmp_path):
    with pytest.raises(ModelError, match="reads no prompts"):
        load_encoder("hash", tmp_path, quiet, prompts={"query": "query: ", "document": "passage: "})
