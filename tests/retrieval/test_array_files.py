"""Many threads that open NumPy's files at once, and disks that are full."""

import errno
import gc
import resource
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from retrieval.array_files import load_array, load_arrays, save_array
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.segment import build
from retrieval.text.passages import Passage

RECORDS = np.zeros(3, np.dtype([("characters", "<i8"), ("symbols", "<f8"), ("digest", "<u8")]))


@pytest.fixture
def collecting_often():
    """Collects garbage every few objects, also while a header is parsed, and lets another thread go on meanwhile."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(10, 10**6, 10**6)
    sys.setswitchinterval(1e-6)
    gc.callbacks.append(lambda *_: sum(range(10)))
    yield
    gc.callbacks.pop()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def test_threads_that_open_files_at_once_do_not_disturb_each_other(tmp_path, collecting_often):
    np.save(tmp_path / "one.npy", RECORDS)
    np.savez(tmp_path / "some.npz", first=RECORDS, second=np.arange(3))

    def load(at: int) -> bool:
        if at % 2:
            return bool((load_array(tmp_path / "one.npy") == RECORDS).all())
        some = load_arrays(tmp_path / "some.npz")
        return bool((some["first"] == RECORDS).all() and (some["second"] == np.arange(3)).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(load, range(200)))


def test_what_is_no_array_is_an_error(tmp_path):
    (tmp_path / "junk.npy").write_bytes(b"junk")
    with pytest.raises(ValueError, match="magic"):
        load_array(tmp_path / "junk.npy")
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ValueError, match="EOF"):
        load_array(tmp_path / "empty.npy")


@pytest.mark.parametrize("header", [b"{'descr': (", b"{'descr': '<i8' '", b"]"])
def test_a_damaged_header_is_an_error(tmp_path, header):
    path = tmp_path / "one.npy"
    np.save(path, np.arange(3))
    content = path.read_bytes()
    path.write_bytes(content[:10] + header.ljust(len(content) - 34) + content[-24:])
    with pytest.raises(ValueError, match=r"header"):
        load_array(path)


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="Object arrays"):
        load_array(tmp_path / "objects.npy")


@contextmanager
def full() -> Iterator[None]:
    """A disk on which a file ends in the middle of an array."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_in_the_middle_of_an_array_is_told(tmp_path):
    with full(), pytest.raises(OSError, match="File too large") as told:
        save_array(tmp_path / "a.npy", np.zeros(10_000))
    assert told.value.errno == errno.EFBIG
    folder = tmp_path / "birds"
    with full(), pytest.raises(OSError, match="File too large") as told:
        build(folder, [Passage(str(at), "", f"owl {at}") for at in range(300)], HashEncoder(), lambda *_: None)
    assert told.value.errno == errno.EFBIG
    assert not list(tmp_path.glob("[!a]*"))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
        np.zeros((0, 4), np.int8),
        np.array([(1, 2)], dtype=[("passage", "<i4"), ("count", "<u2")]),
    ],
)
def test_an_array_comes_back_as_numpy_would_have_kept_it(tmp_path, array):
    save_array(tmp_path / "ours.npy", array)
    np.save(tmp_path / "numpys.npy", np.ascontiguousarray(array))
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()
    assert np.array_equal(load_array(tmp_path / "ours.npy"), array)
