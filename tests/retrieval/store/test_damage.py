"""Whatever happens to any file that is derived: it is noticed, never searched, and derived again from the documents."""

import errno
import os
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from app.errors import DamagedCollection
from app.service.collections import OpenCollections
from retrieval.atomic_dir import whole_folder
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError
from retrieval.index.checksums import BLOCK, check_blocks, read_checksums, write_checksums
from retrieval.index.first_stage import BOTH
from retrieval.index.held_files import HeldFiles
from retrieval.index.passage_index import Model
from retrieval.index.segment import build
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.compaction import damaged, merge, misplaced, repair
from retrieval.store.indexer import index_all, index_waiting
from retrieval.store.rows import Document
from retrieval.text.bm25 import QueryTerms
from retrieval.text.passages import Passage

ENCODER = HashEncoder()
MODEL = Model(ENCODER.name, ENCODER.digest, ENCODER.arithmetic, ENCODER.max_tokens)
CHANCE = random.Random(5)  # noqa: S311 - the same in every run


def quiet(*_) -> None:
    pass


def found(index, query: str = "owl number 2") -> list[tuple[str, str]]:
    positions = BOTH.search(index, ENCODER.encode([query]).pooled[0], index.words(QueryTerms.of(query)), 20)
    return [(passage.id, passage.text) for passage in index.passages(positions)]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Three segments of four documents."""
    folder = tmp_path_factory.mktemp("whole") / "birds"
    Collection.create(folder, CollectionSettings(MODEL))
    collection = Collection(folder)
    for at in range(0, 12, 4):
        collection.put(Document(str(i), f"owl number {i} of {at}") for i in range(at, at + 4))
        index_waiting(collection, ENCODER, quiet)
    collection.close()
    return folder


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def torn(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def grown(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(CHANCE.randbytes(100))


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def removed(file: Path) -> None:
    file.unlink()


def garbage(file: Path) -> None:
    file.write_bytes(CHANCE.randbytes(file.stat().st_size))


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


DAMAGES = [cut, torn, grown, emptied, removed, garbage, zeroed, flipped]
USUAL = (cut, flipped, removed)  # make soak tries the others on every file, too
BY_SOAK = [each if each in USUAL else pytest.param(each, marks=pytest.mark.soak) for each in DAMAGES]


@pytest.mark.parametrize("damage", BY_SOAK)
def test_damage_of_any_derived_file_is_noticed_and_the_rest_is_searched(built, tmp_path, damage):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    opened = OpenCollections(tmp_path)
    whole = found(opened.get("birds"))
    rest = sorted(row for row in whole if row[0] not in {"4", "5", "6", "7"})
    for file in sorted((folder / "segments" / "2").iterdir()):
        content = file.read_bytes()
        damage(file)
        closed = OpenCollections(tmp_path)
        assert list(closed.get("birds").faults) == [2], file.name
        assert closed.damaged("birds") == {2}
        assert sorted(found(closed.get("birds"))) == rest
        if damage is removed:
            assert found(opened.get("birds")) == whole, "what is open stays readable"
            opened = OpenCollections(tmp_path)
        else:
            opened.verify()
            assert list(opened.get("birds").faults) == [2], file.name
            assert sorted(found(opened.get("birds"))) == rest
        file.write_bytes(content)
        assert found(opened.get("birds")) == whole, "it was mended"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_segment_is_derived_again_from_its_documents(built, tmp_path, damage):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    whole = found(Collection(built).snapshot())
    files = sorted((folder / "segments" / "2").iterdir())
    damage(files[DAMAGES.index(damage) % len(files)])
    collections = OpenCollections(tmp_path)
    collection = collections.store("birds")
    assert list(damaged(collection)) == list(repair(collection, [2])) == [2]
    assert collections.get("birds").is_repairing, "its documents wait, and are not found"
    index_all(collection, ENCODER, quiet)
    assert collections.get("birds").is_whole
    assert sorted(found(collections.get("birds"))) == sorted(whole)
    assert damaged(collection) == {}


def test_a_segment_that_is_damaged_is_not_merged_into_another(built, tmp_path):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    collection = Collection(folder)
    whole = found(collection.snapshot())
    flipped(folder / "segments" / "2" / "passages.jsonl")
    assert merge(collection, all_of_it=True), "it is forgotten instead"
    index_all(collection, ENCODER, quiet)
    merge(collection, all_of_it=True)
    assert sorted(found(collection.snapshot())) == sorted(whole)
    assert len(collection.snapshot().parts) == 1


def test_segments_that_are_merged_while_they_are_looked_at_are_not_damaged(built, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    collection, writer = Collection(folder), Collection(folder)
    read = collection.segments.all

    def then_merged():
        rows = read()
        merge(writer, all_of_it=True)
        return rows

    monkeypatch.setattr(collection.segments, "all", then_merged)
    assert damaged(collection) == {}
    monkeypatch.undo()
    removed(next((folder / "segments").iterdir()) / "pooled.npy")
    assert len(damaged(collection)) == 1


def test_the_size_is_told_while_folders_come_and_go(built, tmp_path):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    collection, is_over = Collection(folder), threading.Event()
    size = collection.bytes()

    def write_and_remove():
        while not is_over.is_set():
            with suppress(RuntimeError), whole_folder(folder / "segments" / "9") as partial:
                for at in range(20):
                    (partial / str(at)).touch()
                raise RuntimeError

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write_and_remove)
        try:
            assert {collection.bytes() for _ in range(200)} == {size}
        finally:
            is_over.set()
        writer.result()


def swap(folder: Path) -> None:
    """Exchange two segments of a collection, as a restore or a move by hand may do."""
    one, other = folder / "segments" / "1", folder / "segments" / "2"
    one.rename(folder / "segments" / ".aside")
    other.rename(one)
    (folder / "segments" / ".aside").rename(other)


def test_segments_that_were_exchanged_are_derived_again_and_bring_no_deleted_document_back(built, tmp_path):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    collection = Collection(folder)
    collection.delete(["2"])
    whole = found(collection.snapshot())
    swap(folder)
    told = "segment {} holds passages of other documents than the database says"
    assert misplaced(Collection(folder)) == {1: told.format(1), 2: told.format(2)}
    assert misplaced(Collection(folder), [2]) == {2: told.format(2)}
    collection = Collection(folder)
    assert list(repair(collection)) == [1, 2]
    index_all(collection, ENCODER, quiet)
    assert sorted(found(collection.snapshot())) == sorted(whole)
    assert misplaced(collection) == damaged(collection) == {}


def test_segments_that_were_exchanged_are_not_merged_into_another(built, tmp_path):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    collection = Collection(folder)
    collection.delete(["2"])
    whole = found(collection.snapshot())
    swap(folder)
    collection = Collection(folder)
    assert merge(collection, all_of_it=True), "they are forgotten instead"
    index_all(collection, ENCODER, quiet)
    assert sorted(found(collection.snapshot())) == sorted(whole)


class Other(HashEncoder):
    name, digest = "other", "other"


@pytest.mark.parametrize(
    ("count", "encoder", "told"),
    [
        (5, ENCODER, "segment 2 has 5 passages, and the database says 4"),
        (4, Other(), "segment 2 was made with another model than the database says"),
    ],
)
def test_a_segment_of_another_collection_is_not_searched_and_derived_again(built, tmp_path, count, encoder, told):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    passages = [Passage(str(at), "", f"owl number {at} of 4") for at in range(4, 4 + count)]
    build(folder / "segments" / "2", passages, encoder, quiet)
    collections = OpenCollections(tmp_path)
    assert told in collections.get("birds").faults[2]
    assert collections.damaged("birds") == {2}
    collection = collections.store("birds")
    assert misplaced(collection) == {2: told}
    assert list(repair(collection, [2])) == [2]
    index_all(collection, ENCODER, quiet)
    assert misplaced(collection) == damaged(collection) == {}
    assert sorted(found(collection.snapshot())) == sorted(found(Collection(built).snapshot()))


def test_one_of_which_all_is_damaged_is_refused(built, tmp_path):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    collections = OpenCollections(tmp_path)
    shutil.rmtree(folder / "segments")
    with pytest.raises(DamagedCollection, match="segment 1 is missing"):
        collections.get("birds")
    collection = collections.store("birds")
    assert len(repair(collection)) == 3
    with pytest.raises(DamagedCollection, match="are being indexed again"):
        collections.get("birds")
    index_all(collection, ENCODER, quiet)
    assert len(found(collections.get("birds"))) == 12


def test_a_segment_that_cannot_be_opened_for_now_is_not_forgotten(built, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(built, tmp_path / "birds"))
    collection = Collection(folder)

    def too_many(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("retrieval.index.segment.HeldFiles", too_many)
        assert len(collection.snapshot().faults) == 3
        told = "segment 1 cannot be read: Too many open files; raise the limit of open files"
        with pytest.raises(CollectionError, match=f"^{told}$"):
            repair(collection)
        with pytest.raises(CollectionError, match=f"^collection birds cannot be searched whole: {told}$"):
            collection.snapshot().check_whole()
        with pytest.raises(DamagedCollection, match=f"{told}$"):
            OpenCollections(tmp_path).get("birds")
    assert collection.snapshot().is_whole
    assert collection.counts().waiting == 0


@pytest.mark.parametrize("damage", [cut, torn, grown, emptied, garbage, removed])
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_damaged_log_loses_nothing_that_was_in_the_database_and_grows_no_document(tmp_path, damage, suffix):
    """Documents that were acknowledged before the tail that is damaged are there; SQLite's checksums end at it."""
    folder = tmp_path / "birds"
    Collection.create(folder, CollectionSettings(MODEL))
    collection = Collection(folder)
    sizes = []
    for at in range(20):
        collection.put([Document(str(at), f"owl {at}")])
        sizes.append((folder / "documents.sqlite-wal").stat().st_size)
    crashed = tmp_path / "crashed"
    shutil.copytree(folder, crashed)
    damage(crashed / f"documents.sqlite{suffix}")
    after = Collection(crashed)
    texts = [document.text for _, document in after.page(0, 100)]
    assert texts == [f"owl {at}" for at in range(len(texts))], "the first ones, as they were"
    if suffix == "-shm" or damage is grown:
        assert len(texts) == 20
    elif damage is cut:
        assert len(texts) == 19
    after.put([Document("new", "lamp")])
    assert Collection(crashed).counts().documents == len(texts) + 1


CHANGES = {
    "a letter of a text": "text = replace(text, 'n', 'm')",
    "a letter of a title": "title = replace(title, 'n', 'm')",
    "a bit of a text, which is no UTF-8 any more": "text = CAST(x'ff' || substr(text, 2) AS TEXT)",
}


@pytest.fixture
def notes(tmp_path) -> Collection:
    """So many documents that they are read in several pages."""
    Collection.create(tmp_path / "notes", CollectionSettings(MODEL))
    collection = Collection(tmp_path / "notes")
    collection.put(Document(f"number {at}", f"an owl {at}\0" * 300, f"title n{at}\0") for at in range(1500))
    return collection


def test_documents_that_are_as_they_were_written_have_no_fault(notes):
    assert notes.fault() is None
    notes.put([Document("number 7", "an owl at night", metadata={"a": float("nan")}), Document("ä", "ö\0", "鳥")])
    notes.delete(["number 8"])
    assert notes.fault() is None


@pytest.mark.parametrize("change", [*CHANGES])
def test_a_change_of_a_document_on_the_disk_is_noticed(notes, change):
    other = apsw.Connection(str(notes.folder / "documents.sqlite"))
    other.execute(f"UPDATE documents SET {CHANGES[change]} WHERE number = 1234")  # noqa: S608
    told = notes.fault()
    assert told is not None
    assert "number 1233" in told
    assert "restore its folder from a backup" in told
    assert "owl" not in told, "it quotes no text"


def test_a_letter_of_an_id_that_changed_in_its_row_or_its_index_is_noticed(notes):
    notes.shrink()
    notes.close()
    file = notes.folder / "documents.sqlite"
    content = file.read_bytes()
    places = [at for at in range(len(content)) if content.startswith(b"number 1234", at)]
    assert len(places) == 2
    for at in places:
        file.write_bytes(content[:at] + b"m" + content[at + 1 :])
        assert "is damaged" in str(Collection(notes.folder).fault())


@pytest.mark.parametrize("pages", [slice(5, 205), slice(-3, None)])
def test_pages_of_the_database_that_are_lost_are_noticed(notes, pages):
    notes.shrink()
    notes.close()
    file = notes.folder / "documents.sqlite"
    content = bytearray(file.read_bytes())
    lost = range(len(content) // 4096)[pages]
    content[lost[0] * 4096 : (lost[-1] + 1) * 4096] = bytes(len(lost) * 4096)
    file.write_bytes(content)
    told = Collection(notes.folder).fault()
    assert told is not None
    assert told.startswith("collection notes is damaged: ")
    assert told.endswith("; restore its folder from a backup")


def test_a_part_of_a_large_file_is_checked_and_its_end_always(tmp_path):
    size = 5 * BLOCK + 7
    (tmp_path / "large").write_bytes(bytes(size))
    write_checksums(tmp_path)
    files = HeldFiles(tmp_path, ["large"])
    sums = read_checksums(files)
    for most in (None, 0, 2):
        check_blocks(files, sums, "large", most)
    with (tmp_path / "large").open("r+b") as file:
        file.seek(2 * BLOCK)
        file.write(b"x")
    with pytest.raises(CollectionError, match="large holds other bytes"):
        check_blocks(files, sums, "large")
    noticed = 0
    for _ in range(40):
        with suppress(CollectionError):
            check_blocks(files, sums, "large", 3)
            noticed -= 1
        noticed += 1
    assert noticed > 0
    (tmp_path / "large").write_bytes(bytes(size - 1))
    with pytest.raises(CollectionError, match="large"):
        check_blocks(HeldFiles(tmp_path, []), sums, "large", 0)
