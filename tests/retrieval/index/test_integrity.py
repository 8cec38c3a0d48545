"""The integrity check of a collection: intact collections pass, and damage is reported."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError
from retrieval.index.checksums import write_checksums
from retrieval.index.exact import ExactIndex
from retrieval.index.integrity import verify
from retrieval.index.segment import Segment, build
from retrieval.text.passages import Passage

WORDS = ["owl", "dusk", "river", "stone", "song", "market", "cloud", "lamp"]
# Passages with different lengths, some equal: their order among the hits is undefined.
PASSAGES = [Passage(f"p{i}", "", " ".join(WORDS[(i * j) % 8] for j in range(1 + i % 7))) for i in range(300)]


def quiet(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collections") / "birds"
    build(folder, PASSAGES, HashEncoder(), quiet)
    return folder


@pytest.fixture
def folder(built, tmp_path):
    return Path(shutil.copytree(built, tmp_path / "birds"))


def test_what_was_built_holds(built):
    integrity = verify(Segment(built))
    assert (integrity.fault, integrity.recall, integrity.sampled) == (None, 1.0, 10)
    assert integrity.seconds > 0


def test_a_collection_of_one_passage_holds(tmp_path):
    build(tmp_path / "one", PASSAGES[:1], HashEncoder(), quiet)
    integrity = verify(Segment(tmp_path / "one"))
    assert (integrity.fault, integrity.sampled, integrity.recall) == (None, 1, 1.0)


def test_a_folder_that_was_replaced_does_no_harm(folder):
    collection = Segment(folder)
    build(folder, PASSAGES[:5], HashEncoder(), quiet)
    assert verify(collection).fault is None
    assert collection.files.changed() is None
    assert verify(Segment(folder)).fault is None


@pytest.mark.parametrize("name", ["tokens.bin", "pooled.npy", "passages.jsonl", "terms.bin", "postings.bin"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_file_cut_short_or_added_to_while_it_is_open_is_named(folder, name, by):
    collection = Segment(folder)
    size = (folder / name).stat().st_size
    os.truncate(folder / name, 0 if by < 0 else size + by)
    assert verify(collection).fault == f"{name} has {max(0, by) and size + by} bytes, and had {size} when it was opened"
    os.truncate(folder / name, size)


def overwrite(file: Path, offset: int, written: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(written)


@pytest.mark.parametrize(
    ("name", "offset", "written", "fault"),
    [
        ("pooled.npy", -256, bytes(256), "not of length 1"),
        ("pooled.npy", -256, b"\xff" * 256, "not of length 1"),  # NaN
        ("passages.jsonl", 0, bytes(100_000), "cannot be read"),
        ("tokens.bin", 0, bytes(1_000_000), "tokens.bin holds other bytes than were written"),
    ],
)
def test_damage_that_leaves_the_size_is_found_while_it_is_open(folder, name, offset, written, fault):
    size = (folder / name).stat().st_size
    collection = Segment(folder)
    overwrite(folder / name, offset % size, written[:size])
    assert fault in verify(collection).fault


def saved(folder: Path, name: str, change) -> None:
    rows = np.load(folder / name)
    np.save(folder / name, change(rows))


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("offsets.npy", lambda rows: rows[::-1], "offsets.npy does not rise"),
        ("offsets.npy", lambda rows: rows[:-1], "offsets.npy holds"),
        ("lengths.npy", lambda rows: rows[:-1], "lengths.npy holds"),
        ("traits.npy", lambda rows: rows[:-1], "traits.npy holds"),
        ("passages.npy", lambda rows: rows + 1, "passages.npy does not rise from 0"),
        ("terms.npy", lambda rows: rows * 0, "terms.npy does not rise"),
    ],
)
def test_files_that_do_not_belong_together_are_found(folder, name, change, fault):
    saved(folder, name, change)
    write_checksums(folder)
    assert fault in verify(Segment(folder)).fault


def test_vectors_of_another_collection_are_found(folder):
    np.save(folder / "pooled.npy", HashEncoder().encode(["an owl"]).pooled)
    write_checksums(folder)
    assert "pooled.npy holds" in verify(Segment(folder)).fault


def test_vectors_that_are_exchanged_while_they_are_in_use_are_found(folder):
    collection = Segment(folder)
    header = (folder / "pooled.npy").stat().st_size - collection.index.rows.nbytes
    overwrite(folder / "pooled.npy", header, collection.index.rows[::-1].tobytes())
    assert verify(collection).fault == "pooled.npy holds other vectors than were opened"


def test_a_spec_of_another_collection_is_found(folder):
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"tokens": spec["tokens"] - 1}))
    write_checksums(folder)
    assert "tokens.bin holds" in verify(Segment(folder)).fault


class Astray(ExactIndex):
    """An index that holds all rows and searches only some of them."""

    def __init__(self, rows, searched_rows) -> None:
        super().__init__(rows[:searched_rows])
        self.rows = rows.copy()


@pytest.mark.parametrize("searched_rows", [300, 30, 1])
def test_an_index_that_misses_passages_is_found(built, searched_rows):
    collection = Segment(built)
    collection.index = Astray(collection.index.rows, searched_rows)
    integrity = verify(collection, sample=300)
    assert (integrity.fault is None) == (searched_rows == 300), integrity


def test_an_empty_file_is_an_error_that_says_what_to_do(folder):
    os.truncate(folder / "offsets.npy", 0)
    with pytest.raises(CollectionError, match=r"offsets\.npy has 0 bytes"):
        Segment(folder)
