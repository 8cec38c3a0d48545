import numpy as np
import pytest
import typer

from app.cli import index as cli_index
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.collection import Collection, build
from retrieval.text.passages import Passage


def test_stats_show_the_integrity_of_a_collection(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QRERANK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "collections" / "birds"
    build(folder, [Passage("p", "", "an owl"), Passage("q", "", "a lamp")], HashEncoder(), lambda *_: None)
    cli_index.stats("birds")
    assert "holds: recall@10 1.000 of 2 passages" in capsys.readouterr().out
    with (folder / "tokens.i8").open("ab") as file:
        file.write(b"x")
    with pytest.raises(typer.Exit) as ended:
        cli_index.stats("birds")
    assert ended.value.exit_code == 1
    assert "should hold 256; build it" in capsys.readouterr().out


def test_a_collection_keeps_its_language(tmp_path, qrerank):
    (tmp_path / "birds.txt").write_text("Die Nachtigallen singen.")
    assert qrerank("index", "build", "birds", "birds.txt", "--language", "de")[0] == 0
    collection = Collection(tmp_path / "data" / "collections" / "birds")
    (terms,) = collection.terms(np.arange(1))
    assert (collection.spec.language, terms.language) == ("de", "de")
    status, _, errors = qrerank("index", "build", "birds", "birds.txt", "--force", "--language", "xx")
    assert status == 2
    assert "--language" in errors
    assert "auto, none or the code of a known language" in errors
    assert Collection(tmp_path / "data" / "collections" / "birds").spec.language == "de"
