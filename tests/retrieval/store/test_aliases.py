"""Aliases lead to a collection beside them, and nowhere else."""

import errno
import os

import pytest

from retrieval.errors import CollectionError
from retrieval.index.passage_index import Model
from retrieval.store.aliases import aliases, drop, point, target
from retrieval.store.collection import Collection, CollectionSettings, remove

SETTINGS = CollectionSettings(Model("hash", "digest", "f32", 10))


@pytest.fixture
def folder(tmp_path):
    for name in ("old", "new"):
        Collection.create(tmp_path / name, SETTINGS)
    return tmp_path


def test_an_alias_leads_to_one_collection_and_then_to_another(folder):
    for name in ("old", "new"):
        point(folder, "books", name)
        assert (target(folder, "books"), aliases(folder)) == (name, {"books": name})
    assert target(folder, "new") == "new"
    assert target(folder, "none") == "none"
    assert drop(folder, "books")
    assert not drop(folder, "books")
    assert not drop(folder, "new"), "a collection is no alias"
    assert sorted(path.name for path in folder.iterdir()) == ["new", "old"]


@pytest.mark.parametrize(
    ("alias", "name", "message"),
    [
        ("new", "old", "new is a collection"),
        ("books", "none", "there is no collection none"),
        ("books", "other", "other is an alias"),
        ("other", "other", "other is an alias"),
    ],
)
def test_what_is_no_alias_is_refused_and_changes_nothing(folder, alias, name, message):
    point(folder, "other", "old")
    with pytest.raises(CollectionError, match=message):
        point(folder, alias, name)
    assert aliases(folder) == {"other": "old"}
    assert sorted(path.name for path in folder.iterdir()) == ["new", "old", "other"]


def test_a_folder_that_takes_no_alias_is_named(folder, monkeypatch):
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "old", None, ".alias-5")

    monkeypatch.setattr(os, "symlink", read_only)
    with pytest.raises(OSError, match="Read-only") as told:
        point(folder, "books", "old")
    assert told.value.filename == str(folder / "books")


@pytest.mark.parametrize("to", ["../old", "/etc", "..", ".", "old/segments", "other", "astray", ".hidden"])
def test_a_link_never_leads_out_of_the_folder_nor_on(folder, to):
    point(folder, "other", "old")
    (folder / ".hidden").mkdir()
    (folder / "astray").symlink_to(to)
    with pytest.raises(CollectionError, match="leads to no collection"):
        target(folder, "astray")
    assert aliases(folder) == {"other": "old"}


def test_a_collection_that_an_alias_leads_to_is_not_deleted(folder):
    point(folder, "books", "old")
    with pytest.raises(CollectionError, match="an alias leads to the collection old"):
        remove(folder / "old")
    with pytest.raises(CollectionError, match="books is an alias; delete the collection old"):
        remove(folder / "books")
    point(folder, "books", "new")
    remove(folder / "old")
    assert target(folder, "books") == "new"
