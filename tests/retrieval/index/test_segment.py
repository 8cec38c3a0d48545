import json
from pathlib import Path

import numpy as np
import pytest

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError
from retrieval.index.exact import ExactIndex
from retrieval.index.passage_index import check_encoder
from retrieval.index.segment import Segment, build
from retrieval.index.token_rows import pack, unpack
from retrieval.text.passages import Passage

WORDS = ["owl", "dusk", "river", "stone", "song", "market", "cloud", "lamp"]
# More than one block of passages with different lengths, some equal, one empty.
PASSAGES = [
    Passage(f"p{i}", f"title {i}" if i % 3 else "", " ".join(WORDS[(i * j) % 8] for j in range(i % 7)))
    for i in range(300)
]


def quiet(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collections") / "birds"
    build(folder, PASSAGES, HashEncoder(), quiet)
    return folder


def test_passages_come_back_as_they_were(folder):
    collection = Segment(folder)
    positions = np.array([299, 0, 17, 0])
    assert collection.passages(positions) == [PASSAGES[i] for i in positions]
    assert len(collection) == len(PASSAGES)
    assert collection.name == "birds"


def test_stored_states_are_those_of_fresh_encoding_with_two_bits_an_entry(folder):
    positions = np.array([5, 250, 3])
    stored = Segment(folder).states(positions)
    fresh = HashEncoder().encode([PASSAGES[i].content for i in positions])
    for field in ("pooled", "offsets", "lengths", "unknown"):
        np.testing.assert_array_equal(getattr(stored, field), getattr(fresh, field))
    np.testing.assert_array_equal(stored.tokens, unpack(pack(fresh.tokens), fresh.tokens.shape[1]))


def test_search_finds_what_an_exact_search_finds(folder):
    encoder = HashEncoder()
    query = encoder.encode(["an owl sings by the river"]).pooled
    exact, _ = ExactIndex(encoder.encode([p.content for p in PASSAGES]).pooled).search(query, 20)
    np.testing.assert_array_equal(Segment(folder).nearest(query[0], 20), exact[0])


def test_a_search_for_more_than_there_is_gives_all(folder):
    ids = Segment(folder).nearest(HashEncoder().encode(["owl"]).pooled[0], 10_000)
    assert sorted(ids) == list(range(len(PASSAGES)))


def test_progress_ends_at_the_whole(tmp_path):
    reports = []
    build(tmp_path / "c", PASSAGES, HashEncoder(), lambda done, total: reports.append((done, total)))
    assert reports[0] == (0, 300)
    assert reports[-1] == (300, 300)


def test_building_again_replaces(tmp_path):
    build(tmp_path / "c", PASSAGES, HashEncoder(), quiet)
    build(tmp_path / "c", PASSAGES[:2], HashEncoder(), quiet)
    assert len(Segment(tmp_path / "c")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_failing_encoder_leaves_the_old_collection(tmp_path):
    class Failing(HashEncoder):
        def encode(self, *_):
            raise MemoryError

    build(tmp_path / "c", PASSAGES[:2], HashEncoder(), quiet)
    with pytest.raises(MemoryError):
        build(tmp_path / "c", PASSAGES, Failing(), quiet)
    assert len(Segment(tmp_path / "c")) == 2


def test_no_passages_make_no_collection(tmp_path):
    with pytest.raises(CollectionError, match="no passages"):
        build(tmp_path / "c", [], HashEncoder(), quiet)


def test_a_missing_segment_is_named(tmp_path):
    with pytest.raises(CollectionError, match="segment none is missing"):
        Segment(tmp_path / "none")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("spec.json", "{"),
        ("spec.json", '{"format": "v1"}'),
        ("tokens.bin", ""),
        ("offsets.npy", "junk"),
        ("pooled.npy", "junk"),
        ("traits.npy", "junk"),
    ],
)
def test_damage_is_an_error_that_says_what_to_do(tmp_path, file, content):
    build(tmp_path / "c", PASSAGES[:3], HashEncoder(), quiet)
    (tmp_path / "c" / file).write_text(content)
    with pytest.raises(CollectionError, match=r"segment c is damaged|segment c has format"):
        Segment(tmp_path / "c")


def test_another_format_is_refused(tmp_path):
    build(tmp_path / "c", PASSAGES[:3], HashEncoder(), quiet)
    spec = tmp_path / "c" / "spec.json"
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"format": "v0"}))
    with pytest.raises(CollectionError, match="format v0"):
        Segment(tmp_path / "c")


def test_states_of_another_model_are_not_compared(folder):
    class Other(HashEncoder):
        digest = "other"

    check_encoder(Segment(folder), HashEncoder())
    with pytest.raises(CollectionError, match=r"another version of the model .hash., not with this: read it anew"):
        check_encoder(Segment(folder), Other())
