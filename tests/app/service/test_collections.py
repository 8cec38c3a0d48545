"""Collections that are opened, damaged and repaired while in use."""

import errno
import gc
import os
import resource
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import numpy as np
import pytest

from app.errors import DamagedCollection, UnknownCollection
from app.ranking.reranker import Reranker
from app.service.collection_check import checked
from app.service.collections import OpenCollections
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError, SegmentDamaged
from retrieval.store.collection import remove
from retrieval.store.filters import In
from retrieval.store.indexer import build
from retrieval.text.passages import Passage
from tests.waiting import eventually

PASSAGES = [Passage(f"p{i}", "", f"passage {i} of an owl") for i in range(20)]


def quiet(done, total):
    pass


SEGMENT = Path("segments", "1")


def make(folder, count=20):
    build(folder, PASSAGES[:count], HashEncoder(), quiet, replace=True)


@pytest.fixture
def collections(tmp_path):
    make(tmp_path / "birds")
    return OpenCollections(tmp_path)


def test_a_collection_is_opened_once_and_counted(collections, tmp_path):
    assert collections.counts() == {}
    assert collections.get("birds") is collections.get("birds")
    counts = collections.counts()["birds"]
    assert (counts.passages, counts.certified, counts.integrity.recall) == (20, True, 1.0)
    assert counts.bytes >= sum(file.stat().st_size for file in (tmp_path / "birds" / SEGMENT).iterdir())


def test_who_asks_first_is_not_charged_for_opening(collections, monkeypatch):
    """Admission learns what requests cost from the processor time of their threads."""
    threads = []

    def opened(*arguments):
        threads.append(threading.current_thread())
        return checked(*arguments)

    monkeypatch.setattr("app.service.collections.checked", opened)
    assert len(collections.get("birds")) == 20
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def in_use(folder):
    """Files below a folder that this process has open or in its memory, deleted ones included."""
    opened = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.append(str(link.readlink()))
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return [line for line in (*opened, *mapped) if f"{folder}/" in line]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="nothing tells what is open")
@pytest.mark.parametrize("use", ["stored", "searched", "filtered"])
def test_nothing_of_a_removed_collection_stays_open(collections, tmp_path, use):
    """The space of its files and their descriptors are free at once, without Python's search for cycles."""
    make(tmp_path / "owls")
    gc.disable()
    try:
        for name in ("birds", "owls"):
            collections.store(name).counts()
            if use != "stored":
                Reranker(HashEncoder()).search("owl", collections.get(name))
            if use == "filtered":
                collections.select(name, In(("a",), (1,)))
        assert in_use(tmp_path / "birds")
        remove(tmp_path / "birds")
        assert collections.forget_removed() == ["birds"]
        assert collections.forget_removed() == []
        eventually(lambda: not in_use(tmp_path / "birds"))  # the thread of filters ends
        assert in_use(tmp_path / "owls")
    finally:
        gc.enable()


def test_a_collection_in_the_place_of_a_removed_one_is_another(collections, tmp_path):
    collections.get("birds")
    remove(tmp_path / "birds")
    make(tmp_path / "birds", 7)
    assert collections.forget_removed() == ["birds"]
    assert len(collections.get("birds")) == 7


def test_a_collection_that_is_not_there_is_not_counted(collections):
    with pytest.raises(UnknownCollection, match=r"`qrerank index build [a-z]+ SOURCE`"):
        collections.get("bees")
    assert collections.counts() == {}


@pytest.mark.parametrize("name", ["tokens.bin", "pooled.npy"])
def test_one_that_is_cut_short_is_refused_at_once_and_mends(collections, tmp_path, name, caplog):
    collections.get("birds")
    file = tmp_path / "birds" / SEGMENT / name
    whole = file.read_bytes()
    os.truncate(file, 40)
    for _ in range(3):
        with pytest.raises(DamagedCollection, match=r"'birds' is damaged: .*verify birds --repair` mends it"):
            collections.get("birds")
    assert not collections.counts()["birds"].certified
    assert str(tmp_path) not in collections.counts()["birds"].fault.text
    file.write_bytes(whole)
    assert len(collections.get("birds")) == 20
    assert collections.counts()["birds"].certified
    logged = [record.message for record in caplog.records if "birds" in record.message]
    assert len(logged) == 2, "it is told once, and once that it is over"


def test_one_that_rots_is_found_by_the_next_check_and_mends_when_it_is_built_again(collections, tmp_path):
    collections.get("birds")
    with (tmp_path / "birds" / SEGMENT / "pooled.npy").open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(bytes(100))
    assert collections.counts()["birds"].certified, "nobody has looked yet"
    collections.verify()
    counts = collections.counts()["birds"]
    assert not counts.certified
    with pytest.raises(DamagedCollection, match=r"not of length 1; .*--repair` mends it"):
        collections.get("birds")
    assert collections.counts()["birds"].fault.at == counts.fault.at, "since when is what counts"
    make(tmp_path / "birds", 10)
    collections.verify()
    assert collections.counts()["birds"].certified
    assert len(collections.get("birds")) == 10


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("spec.json", b'{"passages": "many"}'),
        ("spec.json", b"[]"),
        ("spec.json", b"\xff"),
        ("offsets.npy", b"PK\x03\x04"),  # the magic number of a ZIP archive, which numpy would open
        ("lengths.npy", b"\x93NUMPY\x01\x00"),
        ("pooled.npy", b"\x93NUMPY\x09\x00" + bytes(200)),
        ("pooled.npy", b""),
    ],
)
def test_whatever_its_files_hold_it_is_damaged_and_the_others_are_checked(collections, tmp_path, name, written):
    make(tmp_path / "owls")
    make(tmp_path / "a")
    (tmp_path / "birds" / SEGMENT / name).write_bytes(written)
    for each in ("birds", "owls", "a"):
        with suppress(DamagedCollection):
            collections.get(each)
    checked = collections.counts()["owls"].integrity
    collections.verify()
    assert collections.counts()["owls"].integrity is not checked
    with pytest.raises(DamagedCollection, match="--repair` mends it") as refused:
        collections.get("birds")
    assert str(tmp_path) not in str(refused.value)


def test_a_damaged_database_is_to_be_restored_for_nothing_else_mends_it(collections, tmp_path):
    (tmp_path / "birds" / "documents.sqlite").write_bytes(b"not a database" * 400)
    for find in (collections.get, collections.store):
        with pytest.raises(DamagedCollection, match=r"not a database; restore its folder from a backup$"):
            find("birds")


def test_what_its_documents_do_not_mend_names_no_repair(collections, tmp_path, monkeypatch):
    make(tmp_path / "of_another_version")
    with apsw.Connection(str(tmp_path / "of_another_version" / "documents.sqlite")) as database:
        database.execute("PRAGMA user_version = 1")
    with pytest.raises(DamagedCollection, match=r"has format 1, not \d+; get its documents by `qrerank index export "):
        collections.get("of_another_version")

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "documents.sqlite")

    monkeypatch.setattr("retrieval.store.connection._check_readable", refused)
    with pytest.raises(DamagedCollection, match=r"cannot be read: Permission denied$"):
        collections.get("birds")
    with pytest.raises(DamagedCollection, match=r"is being merged; try again$"):
        raise collections.failed("birds", CollectionError("it is being merged; try again"))
    with pytest.raises(DamagedCollection, match=r"was cut short; `qrerank index verify birds --repair` mends it$"):
        raise collections.failed("birds", SegmentDamaged("tokens.bin was cut short"))


def test_a_check_that_fails_in_a_way_nobody_thought_of_is_a_fault(collections, tmp_path, caplog):
    make(tmp_path / "owls")
    collections.get("birds").parts[0].segment.offsets = None
    collections.get("owls")
    collections.verify()
    assert collections.counts()["birds"].fault.text.startswith("it cannot be checked (")
    assert collections.counts()["owls"].certified
    assert "the segment 1 cannot be checked" in caplog.messages


def test_one_that_was_damaged_before_it_was_opened_is_known(collections, tmp_path):
    os.truncate(tmp_path / "birds" / SEGMENT / "spec.json", 3)
    with pytest.raises(DamagedCollection, match="of another version"):
        collections.get("birds")
    counts = collections.counts()["birds"]
    assert (counts.passages, counts.certified) == (0, False)
    assert counts.integrity.fault
    assert counts.bytes > 0


def test_one_that_was_removed_is_gone_once_it_is_lost(collections, tmp_path):
    collections.get("birds")
    os.truncate(tmp_path / "birds" / SEGMENT / "tokens.bin", 0)
    (tmp_path / "birds").rename(tmp_path / "elsewhere")
    with pytest.raises(UnknownCollection):
        collections.get("birds")
    collections.verify()
    assert collections.counts() == {}


def test_one_that_is_built_again_is_the_new_one_at_once(collections, tmp_path):
    before = collections.get("birds")
    for count in (10, 20, 5):
        make(tmp_path / "birds", count)
        assert len(collections.get("birds")) == count
    assert len(before.passages(np.arange(20))) == 20, "whoever searches the old one goes on"


def test_one_whose_files_are_replaced_one_by_one_is_the_new_one(collections, tmp_path):
    collections.get("birds")
    make(tmp_path / "new" / "birds", 10)
    new = tmp_path / "new" / "birds"
    for file in filter(Path.is_file, new.rglob("*")):  # as rsync does
        file.replace(tmp_path / "birds" / file.relative_to(new))
    assert len(collections.get("birds")) == 10


def test_one_that_is_removed_is_gone_at_once_and_back_when_it_is_back(collections, tmp_path):
    collections.get("birds")
    for _ in range(2):
        (tmp_path / "birds").rename(tmp_path / "elsewhere")
        with pytest.raises(UnknownCollection):
            collections.get("birds")
        assert collections.counts() == {}
        (tmp_path / "elsewhere").rename(tmp_path / "birds")
        assert len(collections.get("birds")) == 20


def test_one_whose_files_did_not_change_is_not_opened_again(collections, tmp_path):
    opened = collections.get("birds")
    (tmp_path / "birds" / "note").write_text("")
    (tmp_path / "birds" / "note").unlink()
    assert collections.get("birds") is opened


@pytest.mark.parametrize("name", ["鳥" * 64, "é" * 64 + "鳥" * 64, "x" * 256])
def test_a_name_that_no_folder_can_have_is_unknown(collections, name):
    with pytest.raises(UnknownCollection):
        collections.get(name)


def test_one_without_its_description_is_damaged(collections, tmp_path):
    (tmp_path / "birds" / SEGMENT / "spec.json").unlink()
    for _ in range(2):
        with pytest.raises(DamagedCollection):
            collections.get("birds")


def test_what_is_wrong_is_what_is_wrong_now(collections, tmp_path):
    tokens, vectors = tmp_path / "birds" / SEGMENT / "tokens.bin", tmp_path / "birds" / SEGMENT / "pooled.npy"
    whole = tokens.read_bytes()
    os.truncate(tokens, 40)
    with pytest.raises(DamagedCollection, match=r"tokens\.bin has 40 bytes"):
        collections.get("birds")
    since = collections.counts()["birds"].fault.at
    tokens.write_bytes(whole)
    os.truncate(vectors, 40)
    with pytest.raises(DamagedCollection, match=r"pooled\.npy"):
        collections.get("birds")
    assert collections.counts()["birds"].fault.at == since


@contextmanager
def files_left(count):
    """Within the block, this process may open only this many more files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest, spare = max(int(file.name) for file in Path("/proc/self/fd").iterdir()), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, limits[1]))
    try:
        with suppress(OSError):
            while True:  # lower descriptors may be free, too
                spare.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(count):
            os.close(spare.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for file in spare:
            os.close(file)


@pytest.mark.parametrize("left", [0, 5])
def test_one_that_could_not_be_opened_for_want_of_files_is_opened_by_the_next_check(collections, tmp_path, left):
    with files_left(left), pytest.raises(DamagedCollection, match="Too many open files") as refused:
        collections.get("birds")
    assert str(tmp_path) not in str(refused.value)
    collections.verify()
    assert len(collections.get("birds")) == 20
