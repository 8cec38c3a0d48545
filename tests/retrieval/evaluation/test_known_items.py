"""Known items: queries of a corpus without judgements."""

import json

import pytest

from retrieval.errors import DataError
from retrieval.evaluation.known_items import known_items

CORPUS = [
    ("a", "Owls of the north", "Owls hunt mice at dusk. They nest in old barns."),
    ("b", "Prices on the market", "Prices rose in June. Apples cost most."),
    ("c", "prices on  the Market", "Prices fell in July. Pears cost less."),
    ("d", "Owls", "One sentence alone."),
    ("e", "A title without a text", ""),
    ("f", "Rivers and their stones", "Prices rose in June. The river is deep."),
    ("g", "Towers of the south", "The towers of  the South are red. Nobody lives in towers of the south."),
]


@pytest.fixture
def folder(tmp_path):
    lines = [json.dumps({"_id": name, "title": title, "text": text}) for name, title, text in CORPUS]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_titles_are_taken_from_all_documents(folder):
    """Titles of two documents, of fewer than three words, and of documents without a text make no queries."""
    dataset = known_items(folder, "title")
    assert dict(zip(dataset.query_ids, dataset.queries, strict=True)) == {"a": CORPUS[0][1], "f": CORPUS[5][1]}
    assert dataset.qrels == {"a": {"a": 1.0}, "f": {"f": 1.0}}
    assert dataset.documents == [text for _, _, text in CORPUS]
    assert dataset.document_ids == [name for name, _, _ in CORPUS]
    assert dataset.notes[1] == (
        "5 of 7 documents make no query: 2 with a title that another has, too, 1 without a title of at least 3 words, "
        "1 without more text besides, 1 with a title that its text repeats"
    )


def test_first_sentences_are_taken_from_all_documents_with_a_second_one(folder):
    dataset = known_items(folder, "sentence")
    assert dataset.queries == ["Owls hunt mice at dusk.", "Prices fell in July.", "The towers of  the South are red."]
    assert dataset.documents[0] == "Owls of the north They nest in old barns."
    assert dataset.documents[1] == "Prices on the market Apples cost most."
    assert dataset.documents[3] == "Owls One sentence alone."


def test_a_seed_chooses_the_same_queries(folder, tmp_path):
    lines = [json.dumps({"_id": str(i), "title": f"the title number {i}", "text": "text"}) for i in range(50)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    chosen = [known_items(folder, "title", 10, seed).query_ids for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 10
    assert chosen[0] == sorted(chosen[0], key=int)
    assert len(known_items(folder, "title", 51).query_ids) == 50


@pytest.mark.parametrize("number", [{}, {"id": 1}])
def test_no_judgement_needs_ids_and_lines_are_numbered_as_index_build_does(folder, number):
    (folder / "corpus.jsonl").write_text(json.dumps({"title": "owls of the north", "text": "They hunt."} | number))
    assert known_items(folder, "title").query_ids == ["1"]


def test_a_folder_of_texts_needs_no_corpus(tmp_path):
    (tmp_path / "owls.md").write_text("Owls of the north hunt. They sleep by day.")
    assert known_items(tmp_path, "sentence").queries == ["Owls of the north hunt."]


def test_a_corpus_without_usable_texts_is_an_error(folder):
    (folder / "corpus.jsonl").write_text('{"_id": "1", "text": "no title here"}')
    with pytest.raises(DataError, match=r"no document has a title of its own .* try --known-item sentence"):
        known_items(folder, "title")
    with pytest.raises(DataError, match=r"no document has a first sentence .* try --known-item title"):
        known_items(folder, "sentence")
