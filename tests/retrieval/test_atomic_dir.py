import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.atomic_dir import remove_folder, whole_folder


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


def write(final, text):
    with whole_folder(final, replace=True) as partial:
        (partial / "a").write_text(text)


@pytest.fixture(params=["at once", "one after the other"])
def places(request, monkeypatch):
    """Run with and without support for exchanging folders atomically."""
    if request.param == "one after the other":
        monkeypatch.setattr("retrieval.atomic_dir._exchange", lambda *_: False)


@pytest.mark.parametrize("neighbour", ["final.old", "final.partial", "final-replaced", "finals", "partial-final"])
def test_replacing_a_folder_touches_no_other(tmp_path, places, neighbour):
    write(tmp_path / neighbour, "theirs")
    for text in ("one", "two", "three"):
        write(tmp_path / "final", text)
        assert (tmp_path / "final" / "a").read_text() == text
    assert (tmp_path / neighbour / "a").read_text() == "theirs"
    assert {path.name for path in tmp_path.iterdir()} == {"final", neighbour}


def test_a_folder_that_is_replaced_is_never_missing(tmp_path):
    write(tmp_path / "final", "0")
    done = threading.Event()
    missed = []

    def look():
        while not done.is_set():
            try:
                (tmp_path / "final" / "a").read_text()
            except OSError as error:
                missed.append(error)

    with ThreadPoolExecutor(1) as beside:
        looking = beside.submit(look)
        for number in range(200):
            write(tmp_path / "final", str(number))
        done.set()
        looking.result()
    assert missed == []


def test_a_folder_has_its_name_before_it_is_whole(tmp_path):
    with whole_folder(tmp_path / "final") as partial:
        assert partial.name == "final", "what fails meanwhile names it"
        assert not (tmp_path / "final").exists()


def test_two_that_finish_at_once_leave_one_whole_folder(tmp_path):
    barrier = threading.Barrier(8)

    def make(number):
        with whole_folder(tmp_path / "final") as partial:
            (partial / "a").write_text(number)
            barrier.wait()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, "01234567"))
    assert (tmp_path / "final" / "a").read_text() in set("01234567")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_only_abandoned_leftovers_are_swept(tmp_path):
    for name, age in ((".partial-old", 7200), (".partial-young", 60), (".partial-long", 7200)):
        (tmp_path / name / "segments").mkdir(parents=True)
        (tmp_path / name / "segments" / "1").write_text("")
        for path in (tmp_path / name, *(tmp_path / name).rglob("*")):
            os.utime(path, (time.time() - age,) * 2)
    (tmp_path / ".partial-long" / "segments" / "1").write_text("a build that began long ago goes on")
    with whole_folder(tmp_path / "final"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-long", ".partial-young", "final"]


def test_a_folder_whose_removal_was_killed_is_swept(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    write(tmp_path / "old", "one")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", killed)
        remove_folder(tmp_path / "old")
    assert not (tmp_path / "old").exists(), "it is gone at once"
    write(tmp_path / "new", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
