"""The sources of a wheel."""

from retrieval.encoder import prepare
from scripts.wheel import PACKAGES, ROOT, SHIPPED, copy_sources, modules


def test_sources_are_copied_without_leftovers(tmp_path):
    copy_sources(tmp_path / "sources")
    names = {path.name for path in (tmp_path / "sources").iterdir()}
    assert names == {*PACKAGES, "pyproject.toml", "README.md", "LICENSE"}
    copied = [path.relative_to(tmp_path / "sources").as_posix() for path in (tmp_path / "sources").rglob("*")]
    assert not [name for name in copied if "__pycache__" in name or "shipped/all" in name]
    assert modules() <= set(copied)
    assert ROOT / SHIPPED == prepare._SHIPPED, "the model goes where it is looked for"
