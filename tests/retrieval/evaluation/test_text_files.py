"""User files, and the errors for files that cannot be read."""

import gzip
import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import DataError
from retrieval.evaluation.text_files import read_lines, read_records, read_text


@pytest.fixture
def file(tmp_path):
    return tmp_path / "birds.txt"


@given(text=st.text())
def test_what_was_written_is_read(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "any.txt"
    path.write_bytes(text.encode())
    assert read_text(path) == text.removeprefix("\ufeff")
    path.write_text(json.dumps({"text": text}), encoding="utf-8")
    assert [record for _, record in read_records(path)] == [{"text": text}]


def test_a_byte_order_mark_blank_lines_and_carriage_returns_are_no_text(file):
    file.write_bytes(b"\xef\xbb\xbfone\r\n\r\n  \ntwo")
    assert list(read_lines(file)) == [(f"{file}:1", "one"), (f"{file}:4", "two")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("café".encode("latin-1"), "not UTF-8 at byte 3; save it as UTF-8"),
        ("café".encode("utf-16"), "not UTF-8 at byte 0"),
        ("日本".encode("shift-jis"), "not UTF-8 at byte 0"),
        (b"cut \xc3", "not UTF-8 at byte 4"),
        (gzip.compress(b"owl", mtime=0), "compressed by gzip; unpack it with gunzip"),
    ],
)
def test_other_encodings_are_named(file, content, message):
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"birds.txt: {message}"):
        read_text(file)


def test_the_line_is_named_that_is_of_another_encoding(file):
    file.write_bytes(b"one\ntw\xf6")
    with pytest.raises(DataError, match=r"birds.txt:2: not UTF-8 at byte 2 of the line"):
        list(read_lines(file))


def test_a_record_of_another_encoding_is_no_fault_of_its_json(file):
    file.write_bytes(b'{"_id": "a"}\n{"_id": "caf\xe9"}')
    with pytest.raises(DataError, match=r"birds.txt:2: not UTF-8 at byte 12 of the line"):
        list(read_records(file))


@pytest.mark.parametrize("name", ["none.txt", ".", "x" * 300, "birds.txt/x"])
def test_what_cannot_be_opened_is_named(tmp_path, file, name):
    file.write_text("")
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path / name)


def test_a_dash_is_standard_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é".encode()), encoding="ascii"))
    (tmp_path / "-").write_text("a file")
    assert read_text(tmp_path.__class__("-")) == "é"
