import pytest

from app.settings import Settings
from retrieval.errors import ModelError
from retrieval.openvino_runtime import ARITHMETICS, forward, resolve_precision


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni", "amx_int8"])
def test_auto_is_int8_where_the_processor_multiplies_bytes(tmp_path, flag):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : fpu sse4_2 {flag} aes\n")
    assert resolve_precision("auto", cpuinfo) == "int8"


def test_auto_is_floating_point_elsewhere(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    assert resolve_precision("auto", cpuinfo) in {"bf16", "f32"}
    cpuinfo.write_text("processor : 0\nflags : fpu sse4_2 aes\n")
    assert resolve_precision("auto", cpuinfo) in {"bf16", "f32"}


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_what_runs_everywhere_is_taken_at_its_word(precision, tmp_path):
    assert resolve_precision(precision, tmp_path / "none") == precision


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_a_damaged_model_is_an_error_that_says_what_to_do(tmp_path, arithmetic):
    for name in ("model.xml", "int8.xml"):
        (tmp_path / name).write_text("<net")
    with pytest.raises(ModelError, match="delete its folder"):
        forward(tmp_path, arithmetic, streams=1)


def test_the_settings_know_every_arithmetic():
    for arithmetic in ARITHMETICS:
        assert Settings(encoder={"precision": arithmetic}).encoder.precision == arithmetic
