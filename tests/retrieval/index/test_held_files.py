"""Truncating an open file causes an error and never kills the process."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError
from retrieval.index.held_files import HeldFiles, Lines
from retrieval.index.segment import Segment, build
from retrieval.text.passages import Passage

PASSAGES = [Passage(f"p{at}", "", f"passage {at} of an owl at dusk by the river") for at in range(300)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "letters").write_bytes(bytes(range(100)))
    return tmp_path


@pytest.fixture
def files(folder):
    return HeldFiles(folder, ["letters"])


def test_what_is_read_is_what_is_there(files):
    assert files.read("letters", 90, 10) == bytes(range(90, 100))
    assert files.read("letters", 100, 0) == b""


@pytest.mark.parametrize(("start", "count"), [(91, 10), (100, 1), (10**6, 1), (2**63, 1), (0, 101)])
def test_a_read_that_comes_up_short_is_an_error(files, start, count):
    with pytest.raises(CollectionError, match=r"letters (was cut short|cannot be read)"):
        files.read("letters", start, count)


@pytest.mark.parametrize(("start", "count"), [(-1, 10), (10, -1)])
def test_places_that_no_file_has_are_an_error(files, start, count):
    with pytest.raises(CollectionError, match="letters cannot be read"):
        files.read("letters", start, count)


def test_a_disk_that_fails_is_an_error_that_names_no_folder(tmp_path):
    (tmp_path / "broken").symlink_to("/proc/self/mem")  # its first bytes are unreadable
    files = HeldFiles(tmp_path, ["broken"])
    with pytest.raises(CollectionError, match=r"^broken cannot be read: Input/output error$"):
        files.read("broken", 0, 1)


def test_a_disk_that_is_gone_is_a_change(files):
    number = files._files["letters"].fileno()
    kept = os.dup(number)
    os.close(number)
    try:
        assert files.changed() == "letters cannot be read: Bad file descriptor"
    finally:
        os.dup2(kept, number)
        os.close(kept)
    assert files.changed() is None


def test_a_file_that_is_not_there_is_missing(folder):
    with pytest.raises(ValueError, match="other is missing"):
        HeldFiles(folder, ["letters", "other"])


def test_lines_are_read_by_number(tmp_path):
    (tmp_path / "lines").write_bytes(b"one\ntwo\nthree\n")
    lines = Lines(HeldFiles(tmp_path, []), "lines", np.array([0, 4, 8, 14]))
    assert lines.at(np.array([2, 0])) == [b"three\n", b"one\n"]
    os.truncate(tmp_path / "lines", 10)
    assert lines.at(np.array([0])) == [b"one\n"]
    with pytest.raises(CollectionError, match="lines was cut short"):
        lines.at(np.array([0, 2]))


PROGRAM = """
import os, sys, threading
from pathlib import Path
import numpy as np
from retrieval.index.integrity import verify
from retrieval.index.segment import Segment
from retrieval.errors import CollectionError

folder, reader, read = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "read"
collection = Segment(folder)
everything = np.arange(len(collection))
turned, whole, refused, stop = threading.Condition(), [0] * 4, [0] * 4, threading.Event()

def search(me):
    while not stop.is_set():
        collection.nearest(collection.index.rows[me], 10)
        verify(collection)
        try:
            getattr(collection, reader)(everything)
            counts = whole
        except CollectionError:
            counts = refused
        with turned:
            counts[me] += 1
            turned.notify_all()

threads = [threading.Thread(target=search, args=[me]) for me in range(4)]
for thread in threads:
    thread.start()
with turned:
    assert turned.wait_for(lambda: min(whole) > 2, 60)
assert not any(refused)
os.truncate(folder / sys.argv[4], 0)
before = list(whole)
with turned:
    assert turned.wait_for(lambda: min(refused) > 2 if read else min(np.subtract(whole, before)) > 2, 60)
stop.set()
for thread in threads:
    thread.join()
assert read or not any(refused)
print("alive")
"""


@pytest.mark.parametrize(
    ("reader", "read", "name"),
    [
        ("states", "read", "tokens.bin"),
        ("passages", "read", "passages.jsonl"),
        ("terms", "read", "terms.bin"),
        ("states", "not read", "pooled.npy"),
    ],
)
def test_a_file_that_is_cut_short_under_searches_ends_no_process(tmp_path, reader, read, name):
    build(tmp_path / "birds", PASSAGES, HashEncoder(), lambda *_: None)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "birds"), reader, read, name]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - our own
    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr


def test_threads_read_what_one_reads(tmp_path):
    build(tmp_path / "birds", PASSAGES, HashEncoder(), lambda *_: None)
    collection = Segment(tmp_path / "birds")
    requests = [np.random.default_rng(seed).permutation(300)[:50] for seed in range(16)]

    def states(positions):
        encoded = collection.states(positions)
        arrays = encoded.pooled.tobytes(), encoded.tokens.tobytes()
        return [*arrays, encoded.offsets.tolist(), encoded.lengths.tolist()]

    alone = [states(positions) for positions in requests]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(states, requests)) == alone


def test_no_states_of_no_passages(tmp_path):
    build(tmp_path / "birds", PASSAGES[:3], HashEncoder(), lambda *_: None)
    none = Segment(tmp_path / "birds").states(np.zeros(0, dtype=np.int64))
    assert (len(none), none.tokens.shape, none.offsets.tolist()) == (0, (0, 64), [0])
