"""What a wheel is built from."""

import zipfile

import pytest

from app.settings import Settings
from retrieval.encoder.prepare import prepare
from scripts.wheel.build import PACKAGES, build, copy_sources, modules, strays


def test_sources_are_copied_without_leftovers(tmp_path):
    copy_sources(tmp_path / "sources")
    names = {path.name for path in (tmp_path / "sources").iterdir()}
    assert names == {*PACKAGES, "pyproject.toml", "README.md", "LICENSE"}
    copied = [path.relative_to(tmp_path / "sources").as_posix() for path in (tmp_path / "sources").rglob("*")]
    assert not [name for name in copied if "__pycache__" in name or "shipped/all" in name]
    assert modules() <= set(copied)


@pytest.mark.parametrize(
    ("name", "stray"),
    [
        ("app/cli/main.py", False),
        ("quantum_rerank-0.1.0.dist-info/METADATA", False),
        ("tests/conftest.py", True),
        ("retrieval/shipped/model/int8.bin", False),
        ("shipped/model/int8.bin", True),
    ],
)
def test_strays_are_what_is_not_ours(name, stray):
    assert bool(strays([name])) is stray


def test_a_wheel_brings_the_model_in_int8_and_every_module(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's word for: yes, without; setuptools is here
    wheel = build(tmp_path / "work", tmp_path / "dist")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    model = f"retrieval/shipped/{prepare('all-MiniLM-L6-v2', Settings().model_dir, lambda *_: None).name}"
    shipped = {f"{model}/{name}" for name in ("int8.xml", "int8.bin", "tokenizer.json", "spec.json")}
    assert {name for name in names if "/shipped/all" in name} == shipped
    assert modules() <= names
    assert not strays(names)
    assert wheel.parent == tmp_path / "dist"
