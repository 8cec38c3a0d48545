"""The sources of a wheel."""

from retrieval.encoder import prepare
from scripts.wheel import PACKAGES, ROOT, SHIPPED, copy_sources, modules, strays


def test_sources_are_copied_without_leftovers(tmp_path):
    copy_sources(tmp_path / "sources")
    names = {path.name for path in (tmp_path / "sources").iterdir()}
    assert names == {*PACKAGES, "pyproject.toml", "README.md", "LICENSE"}
    copied = [path.relative_to(tmp_path / "sources").as_posix() for path in (tmp_path / "sources").rglob("*")]
    assert not [name for name in copied if "__pycache__" in name or "shipped/all" in name]
    assert modules() <= set(copied)


def test_strays_are_what_is_not_ours_and_the_model_goes_where_it_is_looked_for():
    ours = ["app/cli/main.py", "quantum_rerank-0.1.0.dist-info/METADATA", "retrieval/encoder/shipped/model/int8.bin"]
    foreign = {"tests/conftest.py", "shipped/model/int8.bin"}
    assert strays([*ours, *foreign]) == foreign
    assert ROOT / SHIPPED == prepare._SHIPPED
