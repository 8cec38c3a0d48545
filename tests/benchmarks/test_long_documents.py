from benchmarks.long_documents import main
from retrieval.evaluation.beir import load


def test_a_joined_document_is_as_relevant_as_its_most_relevant_part(tmp_path):
    source = tmp_path / "source"
    (source / "qrels").mkdir(parents=True)
    texts = [f"text {at} of an owl" for at in range(10)]
    lines = [f'{{"_id": "{at}", "title": "T{at}", "text": "{text}"}}\n' for at, text in enumerate(texts)]
    (source / "corpus.jsonl").write_text("".join(lines), encoding="utf-8")
    (source / "queries.jsonl").write_text('{"_id": "q", "text": "owl"}\n', encoding="utf-8")
    (source / "qrels" / "test.tsv").write_text("q\t3\t1\nq\t4\t2\n", encoding="utf-8")
    [main(source, tmp_path / "long", parts) for parts in (3, 4)]  # the second time replaces what is there
    joined = load(tmp_path / "long")
    assert len(joined.documents) == 3
    for text in texts:
        [at] = [at for at, document in enumerate(joined.documents) if text in document]
        grade = 2 if texts[4] in joined.documents[at] else int(texts[3] in joined.documents[at])
        assert joined.qrels["q"].get(joined.document_ids[at], 0) == grade
