"""Arguments and options: valid values, and errors before the command starts."""

import os

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from app.cli.options import not_blank, readable, utf8, writable


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_text_is_taken_as_it_is_also_where_the_locale_is_ascii(text):
    assert utf8(text) == text
    assert utf8(text.encode().decode("ascii", "surrogateescape")) == text


@pytest.mark.parametrize("value", [b"caf\xe9", b"\xff", b"\xed\xa0\x80"])
def test_bytes_that_are_not_utf8_are_refused(value):
    for take in (utf8, not_blank):
        with pytest.raises(typer.BadParameter, match="it is not UTF-8"):
            take(os.fsdecode(value))


@pytest.mark.parametrize("value", ["", " ", "\t\n", "\u3000", "\x1c", "\u200b", " \u2060\ufeff"])
def test_a_text_that_is_blank_is_refused(value):
    assert utf8(value) == value
    with pytest.raises(typer.BadParameter, match="it is empty"):
        not_blank(value)


def test_files_that_can_be_used_are_taken(tmp_path):
    file = tmp_path / "out.json"
    assert writable(file) == file
    assert not file.exists()
    file.write_text("old")
    assert writable(file) == readable(file) == file
    assert file.read_text() == "old"
    assert readable(tmp_path.__class__("-")) == tmp_path.__class__("-")
    assert writable(tmp_path.__class__("/dev/null")) == tmp_path.__class__("/dev/null")
    assert writable(None) is readable(None) is None


@pytest.mark.parametrize(
    ("take", "path", "message"),
    [
        (writable, "none/out.json", "none/out.json: No such file or directory"),
        (writable, "file/out.json", "file/out.json: Not a directory"),
        (writable, ".", "is a folder"),
        (writable, "x" * 300, "File name too long"),
        (writable, "/proc/new", "No such file"),
        (readable, "none.txt", "none.txt: No such file or directory"),
        (readable, ".", "is a folder"),
        (readable, "file/x", "Not a directory"),
        (readable, "x" * 300, "File name too long"),
    ],
)
def test_files_that_cannot_are_refused(tmp_path, take, path, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(typer.BadParameter, match=message):
        take(tmp_path / path)
