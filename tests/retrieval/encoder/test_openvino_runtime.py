import subprocess
import sys

import pytest

from app.settings import Settings
from retrieval.encoder.openvino_runtime import ARITHMETICS, forward, resolve_precision
from retrieval.errors import ModelError
from tests.waiting import PATIENT_S

FORMS = {"model.xml", "int8.xml"}


@pytest.fixture
def prepared(tmp_path):
    """A function that creates the folder of a prepared model with these files."""

    def make(forms=FORMS):
        folder = tmp_path / "prepared"
        folder.mkdir()
        for form in forms:
            (folder / form).touch()
        return folder

    return make


def without_byte_flags(folder):
    cpuinfo = folder / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags : fpu sse4_2 aes\n")
    return cpuinfo


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni", "amx_int8"])
def test_auto_is_int8_where_the_processor_multiplies_bytes(tmp_path, prepared, flag):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : fpu sse4_2 {flag} aes\n")
    assert resolve_precision("auto", prepared(), cpuinfo) == "int8"


def test_auto_is_floating_point_elsewhere(tmp_path, prepared):
    folder = prepared()
    assert resolve_precision("auto", folder, tmp_path / "none") in {"bf16", "f32"}
    assert resolve_precision("auto", folder, without_byte_flags(tmp_path)) in {"bf16", "f32"}


def test_auto_is_what_there_is(tmp_path, prepared):
    assert resolve_precision("auto", prepared({"int8.xml"}), without_byte_flags(tmp_path)) == "int8"


def test_auto_is_no_int8_where_there_is_none(tmp_path, prepared):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : amx_int8\n")
    assert resolve_precision("auto", prepared({"model.xml"}), cpuinfo) == "f32"


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_what_runs_everywhere_is_taken_at_its_word(precision, prepared, tmp_path):
    assert resolve_precision(precision, prepared(), tmp_path / "none") == precision


@pytest.mark.parametrize(
    ("precision", "forms", "message"),
    [
        ("f32", {"int8.xml"}, "for int8, not for f32; set QRERANK_ENCODER__PRECISION=auto"),
        ("int8", {"model.xml"}, "for f32, bf16, not for int8"),
        ("auto", set(), "for no precision, not for"),
    ],
)
def test_a_precision_that_was_not_prepared_is_refused_by_name(precision, forms, message, prepared):
    with pytest.raises(ModelError, match=message):
        resolve_precision(precision, prepared(forms))


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_a_damaged_model_is_an_error_that_says_what_to_do(tmp_path, arithmetic):
    for name in ("model.xml", "int8.xml"):
        (tmp_path / name).write_text("<net")
    with pytest.raises(ModelError, match="delete its folder"):
        forward(tmp_path, arithmetic, streams=1)


def test_the_settings_know_every_arithmetic():
    for arithmetic in ARITHMETICS:
        assert Settings(encoder={"precision": arithmetic}).encoder.precision == arithmetic


FIRST_PASSES = """
import sys
from pathlib import Path
from threading import Barrier, Thread
import numpy as np
import openvino
from openvino import opset13 as op
from retrieval.encoder.openvino_runtime import FULL, forward

inputs = [op.parameter([-1, -1], np.int64) for _ in range(2)]
model = openvino.Model([op.convert(each, "f32") for each in inputs], inputs)
openvino.save_model(model, Path(sys.argv[1]) / FULL)
run, start = forward(Path(sys.argv[1]), "f32", 8), Barrier(8)

def first_pass():
    start.wait()
    run(np.ones((1, 2), np.int64), np.ones((1, 2), np.int64))

sys.setswitchinterval(1e-9)  # as on a busy machine: a thread may lose the GIL anywhere
threads = [Thread(target=first_pass) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_first_passes_that_begin_together_end(tmp_path):
    for number in range(4):  # without the table of types, three of four runs hang
        folder = tmp_path / str(number)
        folder.mkdir()
        subprocess.run([sys.executable, "-c", FIRST_PASSES, str(folder)], check=True, timeout=PATIENT_S)  # noqa: S603 - ours
