import orjson

from loadtests.mix import DOCUMENTS, KINDS
from loadtests.pool import PASSAGES, QUERIES, Topic, open_traffic, traffic


def collection(folder, name, passages):
    place = folder / name
    (place / "qrels").mkdir(parents=True)
    rows = [
        {"_id": f"d{at}", "text": f"passage {at} about {'owls' if at == passages - 1 else 'stones'}"}
        for at in range(passages)
    ]
    (place / "corpus.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    (place / "queries.jsonl").write_bytes(b'{"_id":"q","text":"owls"}\n{"_id":"unjudged","text":"cats"}')
    (place / "qrels" / "test.tsv").write_text(f"q\td{passages - 1}\t1\n")


def test_collections_are_cut_to_a_pool_that_holds_what_is_relevant(tmp_path):
    collection(tmp_path, "birds", PASSAGES + 50)
    collection(tmp_path, "few", 99)  # too few to rank a hundred of
    found = open_traffic(tmp_path)
    assert (found.source, found.queries, len(found.passages)) == ("birds", ["owls"], PASSAGES)
    assert found.passages[0] == f"passage {PASSAGES + 49} about owls"


def test_without_collections_the_demo_is_sent(tmp_path):
    found = open_traffic(tmp_path)
    assert found.source == "demo"
    assert len(found.passages) == len(set(found.passages)) == PASSAGES
    assert 0 < len(found.queries) <= QUERIES


def test_a_request_holds_as_many_documents_as_its_kind_says_which_a_search_would_find():
    passages = [f"text {at} of {'owls' if at % 2 else 'mice'}" for at in range(120)]
    sent = traffic([Topic("made up", passages, ["do owls hunt", "where are mice"])])
    assert set(sent.bodies) == set(KINDS)
    for kind, count in DOCUMENTS.items():
        bodies = [orjson.loads(body) for body in sent.bodies[kind]]
        assert [body["query"] for body in bodies] == ["do owls hunt", "where are mice"]
        assert all(len(body["documents"]) == len(set(body["documents"])) == count for body in bodies)
    first, second = (orjson.loads(body)["documents"] for body in sent.bodies["medium"])
    assert all("owls" in text for text in first) and all("mice" in text for text in second)
