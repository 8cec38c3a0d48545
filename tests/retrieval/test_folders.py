import os
import time

import pytest

from retrieval.folders import whole_folder


def test_a_folder_appears_whole(tmp_path):
    final = tmp_path / "deep" / "final"
    with whole_folder(final) as partial:
        (partial / "a").write_text("1")
        assert not final.exists()
    assert (final / "a").read_text() == "1"
    assert [path.name for path in final.parent.iterdir()] == ["final"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "final") as partial:
        (partial / "a").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_old_folder(tmp_path):
    with whole_folder(tmp_path / "final") as partial:
        (partial / "a").write_text("old")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "final", replace=True):
        raise RuntimeError
    assert (tmp_path / "final" / "a").read_text() == "old"


def test_the_first_to_finish_wins_unless_replacing(tmp_path):
    for text, replace, expected in [("one", False, "one"), ("two", False, "one"), ("three", True, "three")]:
        with whole_folder(tmp_path / "final", replace=replace) as partial:
            (partial / "a").write_text(text)
        assert (tmp_path / "final" / "a").read_text() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_only_abandoned_leftovers_are_swept(tmp_path):
    for name, age in ((".partial-old", 7200), (".partial-young", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with whole_folder(tmp_path / "final"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-young", "final"]
