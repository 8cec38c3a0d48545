import errno
import json
import os
import shutil

import pytest
import typer

from app.cli import collection_reports
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.passage_index import Model
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.indexer import build, indexing
from retrieval.store.jobs import Writing
from retrieval.store.rows import Document
from retrieval.text.bm25 import QueryTerms
from retrieval.text.passages import Passage


def test_stats_show_the_integrity_of_a_collection(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QRERANK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "collections" / "birds"
    build(folder, [Passage("p", "", "an owl"), Passage("q", "", "a lamp")], HashEncoder(), lambda *_: None)
    collection_reports.stats("birds")
    printed = capsys.readouterr().out
    assert "holds" in printed
    assert "write-ahead log" in printed
    with (folder / "segments" / "1" / "tokens.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(typer.Exit) as ended:
        collection_reports.stats("birds")
    assert ended.value.exit_code == 1
    assert "should hold 64" in capsys.readouterr().out


def test_a_collection_keeps_its_language(tmp_path, qrerank):
    (tmp_path / "birds.txt").write_text("Die Nachtigallen singen.")
    assert qrerank("index", "build", "birds", "birds.txt", "--language", "de")[0] == 0
    collection = Collection(tmp_path / "data" / "collections" / "birds").snapshot()
    assert (collection.language, collection.parts[0].segment.spec.languages) == ("de", {"de": 1})
    status, _, errors = qrerank("index", "build", "birds", "birds.txt", "--force", "--language", "xx")
    assert status == 2
    assert "--language" in errors
    assert "auto, none or the code of a known language" in errors
    assert Collection(tmp_path / "data" / "collections" / "birds").settings.language == "de"


def lines(*records: dict) -> str:
    return "\n".join(map(json.dumps, records))


@pytest.fixture
def birds(tmp_path, qrerank):
    """`qrerank index` with a collection of two documents."""
    (tmp_path / "birds.jsonl").write_text(lines({"_id": "a", "text": "an owl"}, {"_id": "b", "text": "a lamp"}))
    assert qrerank("index", "build", "birds", "birds.jsonl")[0] == 0
    return lambda *words: qrerank("index", *words)


def found(tmp_path, query: str) -> list[str]:
    snapshot = Collection(tmp_path / "data" / "collections" / "birds").snapshot()
    return [passage.id for passage in snapshot.passages(snapshot.words(QueryTerms.of(query)).best(9))]


def test_documents_are_added_replaced_and_deleted(tmp_path, birds):
    (tmp_path / "more.jsonl").write_text(
        lines({"_id": "a", "text": "an owl"}, {"_id": "b", "text": "a river"}, {"_id": "c", "text": "an owl again"})
    )
    assert "2 documents are new or changed; birds holds 3" in birds("add", "birds", "more.jsonl")[1]
    assert "0 documents are new or changed; birds holds 3" in birds("add", "birds", "more.jsonl")[1]
    (tmp_path / "more.jsonl").write_text(lines({"id": "a", "text": "an owl", "url": "a.org", "lang": "en"}))
    assert "not kept: lang, url; move into `metadata`" in birds("add", "birds", "more.jsonl")[2]
    assert (found(tmp_path, "owl"), found(tmp_path, "lamp"), found(tmp_path, "river")) == (["a", "c"], [], ["b"])
    assert "deleted 1 of 2 documents" in birds("delete", "birds", "a", "none")[1]
    assert found(tmp_path, "owl") == ["c"]
    assert "MiB now" in birds("compact", "birds")[1]
    assert sorted(found(tmp_path, "owl river")) == ["b", "c"]


def test_a_collection_is_brought_up_to_date_without_encoding_what_is_unchanged(tmp_path, birds, monkeypatch):
    encoded = []

    class Counting(HashEncoder):
        def forward(self, batch):
            encoded.append(len(batch))
            return super().forward(batch)

    monkeypatch.setattr("app.engine.loader.load_encoder", lambda *_, **__: Counting())
    file = tmp_path / "birds.jsonl"
    file.write_text(lines({"_id": "a", "text": "an owl"}, {"_id": "c", "text": "an owl again"}))
    assert birds("build", "birds", "birds.jsonl")[0] == 2
    assert birds("build", "birds", "birds.jsonl", "--update")[0] == 0
    assert (found(tmp_path, "owl"), found(tmp_path, "lamp"), encoded) == (["a", "c"], [], [1])
    assert birds("build", "birds", "birds.jsonl", "--update")[0] == 0
    assert birds("build", "birds", "birds.jsonl", "--update", "--chunk-size", "511")[0] == 0
    assert encoded == [1], "the size that it has without one"
    assert birds("build", "birds", "birds.jsonl", "--update", "--chunks", "token")[0] == 0
    assert encoded == [1, 2], "chunked in another way, it is another collection"
    file.write_text("")
    assert birds("build", "birds", "birds.jsonl", "--update", "--chunks", "token")[0] == 1
    assert found(tmp_path, "owl") == ["a", "c"]
    assert birds("build", "new", "more.txt", "--update")[0] == 2
    file.write_text(lines({"_id": "a", "text": "an owl"}))
    assert birds("build", "new", "birds.jsonl", "--update")[0] == 0


def test_a_collection_that_is_made_while_one_is_built_is_replaced_by_force_alone(tmp_path, qrerank, monkeypatch):
    folder = tmp_path / "data" / "collections" / "birds"
    (tmp_path / "birds.txt").write_text("an owl")

    class Slow(HashEncoder):
        def encode_tokens(self, tokens):
            if not folder.exists():
                Collection.create(folder, CollectionSettings(Model.of(HashEncoder())))
                Collection(folder).put([Document("acknowledged", "a lamp")])
            return super().encode_tokens(tokens)

    monkeypatch.setattr("app.engine.loader.load_encoder", lambda *_, **__: Slow())
    status, _, errors = qrerank("index", "build", "birds", "birds.txt")
    assert (status, "birds was made meanwhile; --force replaces it" in errors) == (1, True), errors
    assert Collection(folder).get(["acknowledged"])
    assert qrerank("index", "build", "birds", "birds.txt", "--force")[0] == 0
    assert not Collection(folder).get(["acknowledged"])


def test_an_export_is_what_add_reads(tmp_path, birds, monkeypatch):
    status, printed, _ = birds("export", "birds")
    assert status == 0
    assert [json.loads(line) for line in printed.splitlines()] == [
        {"_id": "a", "title": "", "text": "an owl"},
        {"_id": "b", "title": "", "text": "a lamp"},
    ]
    (tmp_path / "again.jsonl").write_text(printed)
    assert "0 documents are new or changed" in birds("add", "birds", "again.jsonl")[1]
    page = Collection.page

    def changed_after(self, after, limit, wanted=None):
        found = page(self, after, limit, wanted)
        if not after:
            self.put([Document("a", "an eagle")])
        return found

    monkeypatch.setattr(Collection, "page", changed_after)
    assert birds("export", "birds")[1] == printed, "what changes meanwhile comes once, or it could not be added"


def test_a_build_on_a_full_disk_names_the_collection(tmp_path, birds, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("retrieval.store.compaction.write", full)
    for words in (("build", "bees", "birds.jsonl"), ("build", "birds", "birds.jsonl", "--force")):
        status, _, errors = birds(*words)
        assert status == 1
        assert f"collection {words[1]} cannot be written: No space left on device; make room on its disk" in errors


def test_verify_names_segments_that_were_exchanged_and_mends_them(tmp_path, birds):
    (tmp_path / "more.jsonl").write_text(lines({"_id": "c", "text": "a song"}, {"_id": "d", "text": "a stone"}))
    assert birds("add", "birds", "more.jsonl")[0] == 0
    one, other = sorted((tmp_path / "data" / "collections" / "birds" / "segments").iterdir())
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    status, printed, _ = birds("verify", "birds")
    assert status == 1
    assert "segment 1 holds passages of other documents than the database says" in " ".join(printed.split())
    assert birds("verify", "birds", "--repair")[0] == 0
    assert birds("verify", "birds")[0] == 0


def test_collections_are_listed_and_deleted_and_what_is_none_is_named(tmp_path, birds):
    (tmp_path / "data" / "collections" / "strange").mkdir()
    printed = birds("list")[1]
    assert "birds" in printed
    assert "holds no collection of this version" in " ".join(printed.replace("│", " ").split())
    status, _, errors = birds("delete", "strange", "--all")
    assert status == 1
    assert "holds no collection of this version" in errors
    assert birds("delete", "birds")[0] == birds("delete", "birds", "a", "--all")[0] == 2
    assert birds("build", "bees", "birds.jsonl")[0] == 0
    (tmp_path / "data" / "collections" / "bees" / "documents.sqlite").write_bytes(b"not a database" * 400)
    for name in ("birds", "bees"):
        assert birds("delete", name, "--all")[0] == 0
        assert name not in birds("list")[1]
    assert birds("stats", "birds")[0] == 1


def test_a_damaged_collection_is_mended_from_its_documents(tmp_path, birds):
    (tmp_path / "data" / "collections" / "birds" / "segments" / "1" / "tokens.bin").write_bytes(b"")
    status, printed, _ = birds("verify", "birds")
    assert status == 1
    assert "tokens.bin" in printed
    assert "`qrerank index verify birds --repair` mends it" in printed
    assert birds("stats", "birds")[0] == 1
    status, printed, errors = birds("verify", "birds", "--repair")
    assert (status, printed.strip()) == (0, "birds: holds"), errors
    assert found(tmp_path, "owl") == ["a"]
    assert birds("stats", "birds")[0] == 0


def test_documents_that_are_damaged_are_not_mended_but_restored(tmp_path, birds):
    database = tmp_path / "data" / "collections" / "birds" / "documents.sqlite"
    Collection(database.parent).shrink()
    content = database.read_bytes()
    assert content.count(b"an owl") == 1
    assert birds("verify", "birds")[0] == 0
    database.write_bytes(content.replace(b"an owl", b"an awl"))
    for words in ((), ("--repair",)):
        status, printed, errors = birds("verify", "birds", *words)
        told = " ".join(printed.split())
        assert status == 1, errors
        assert "1 documents not as they were written, the first one 'a'; restore its folder from a backup" in told
        assert "--repair cannot mend its documents" in told
        assert "mends it" not in told
    _, printed, _ = birds("verify", "birds", "--json")
    answer = json.loads(printed)
    assert (answer["whole"], len(answer["faults"])) == (False, 1)
    assert found(tmp_path, "owl") == ["a"], "nothing is derived from what is damaged"


def test_two_do_not_write_at_once(tmp_path, birds):
    with indexing(Collection(tmp_path / "data" / "collections" / "birds")):
        for words in (("add", "birds", "birds.jsonl"), ("compact", "birds")):
            status, _, errors = birds(*words)
            assert status == 1
            assert "another process writes to the collection birds" in errors


def test_an_alias_leads_to_a_collection_and_is_listed_beside_it(tmp_path, birds):
    assert birds("alias", "books", "birds")[0] == 0
    assert birds("alias", "books", "birds")[0] == 0, "it may be set again"
    lines = [line.split() for line in birds("list")[1].splitlines()]
    assert [(line[0], line[-1]) for line in lines if line[0] in {"birds", "books"}] == [("birds", "books")]
    assert "a" in birds("export", "books")[1]
    for words, message in (
        (("alias", "birds", "birds"), "birds is a collection"),
        (("alias", "more", "books"), "books is an alias"),
        (("alias", "more", "none"), "there is no collection at"),
        (("alias", "more"), "name the collection"),
        (("delete", "books", "--all"), "books is an alias"),
        (("delete", "birds", "--all"), "an alias leads to the collection birds"),
        (("build", "books", "birds.jsonl"), "books is an alias"),
        (("build", "books", "birds.jsonl", "--force"), "books is an alias"),
        (("alias", "none", "--delete"), "there is no alias none"),
    ):
        status, _, errors = birds(*words)
        assert status != 0
        assert message in " ".join(errors.replace("│", " ").split())
    assert birds("alias", "books", "--delete")[0] == 0
    assert birds("delete", "birds", "--all")[0] == 0


def test_a_link_that_leads_out_of_the_folder_or_to_another_is_followed_nowhere(tmp_path, birds):
    folder = tmp_path / "data" / "collections"
    shutil.copytree(folder / "birds", tmp_path / "elsewhere")
    (folder / "out").symlink_to(tmp_path / "elsewhere")
    (folder / "books").symlink_to("birds")
    (folder / "twice").symlink_to("books")
    os.mkfifo(folder / "pipe")
    for words in (("stats",), ("jobs",), ("export",), ("verify",)):
        for name, message in (
            ("out", "leads to no collection"),
            ("twice", "leads to no collection"),
            ("pipe", "Not a"),
        ):
            status, _, errors = birds(*words, name)
            assert (status, message in errors) == (1, True), errors
        assert birds(*words, "books")[0] == 0
    assert "birds" in birds("list")[1]


def test_jobs_are_shown(tmp_path, birds):
    collection = Collection(tmp_path / "data" / "collections" / "birds")
    collection.put([Document("c", "a stone")], Writing("0123", rejected=2))
    shown = " ".join(birds("jobs", "birds")[1].replace("│", " ").split())
    assert "birds.0123 documents running 0 of 1 2" in shown


def test_documents_are_built_exported_searched_and_deleted_by_a_filter(tmp_path, qrerank):
    records = [
        {"_id": str(at), "title": "", "text": f"an owl {at}", "metadata": {"lang": "de" if at % 2 else "en"}}
        for at in range(4)
    ]
    (tmp_path / "owls.jsonl").write_text(lines(*records))
    assert qrerank("index", "build", "owls", "owls.jsonl")[0] == 0
    wanted = ("--filter", '{"eq": {"lang": "de"}}')
    exported = qrerank("index", "export", "owls", *wanted)[1]
    assert [json.loads(line) for line in exported.splitlines()] == records[1::2]
    (tmp_path / "german.jsonl").write_text(exported)
    assert qrerank("index", "add", "owls", "german.jsonl")[0] == 0
    assert qrerank("index", "export", "owls", *wanted)[1] == exported, "metadata is kept"
    _, found, _ = qrerank("search", "owl", "--collection", "owls", *wanted)
    assert [text in found for text in ("owl 0", "owl 1", "owl 2", "owl 3")] == [False, True, False, True]
    assert "deleted 2 documents" in qrerank("index", "delete", "owls", *wanted)[1]
    assert [json.loads(line)["_id"] for line in qrerank("index", "export", "owls")[1].splitlines()] == ["0", "2"]
    for words in (("--filter", "{"), ("--filter", '{"lang": "de"}'), ("0", *wanted), ("--all", *wanted)):
        assert qrerank("index", "delete", "owls", *words)[0] == 2


class New(HashEncoder):
    name, digest = "new", "new"


@pytest.fixture
def new_model(monkeypatch):
    monkeypatch.setattr(
        "app.engine.loader.load_encoder", lambda name, *_, **__: New() if name == "new" else HashEncoder()
    )


def test_a_collection_is_encoded_with_another_model(tmp_path, birds, new_model):
    assert birds("encode", "birds")[0] == 2
    assert "nothing to cancel" in birds("encode", "birds", "--cancel")[1]
    status, printed, errors = birds("encode", "birds", "--model", "new")
    assert (status, printed.strip()) == (0, "birds is searched with new"), errors
    assert found(tmp_path, "owl") == ["a"]
    assert "new" in birds("stats", "birds")[1]
    assert Collection(tmp_path / "data" / "collections" / "birds").snapshot().model.digest == "new"


def test_an_encoding_with_a_model_that_the_service_does_not_serve_warns(birds, new_model, monkeypatch):
    status, _, errors = birds("encode", "birds", "--model", "new")
    assert status == 0
    assert "does not serve new" in errors
    assert "add the model to QRERANK_MODELS" in errors
    monkeypatch.setenv("QRERANK_MODELS", '["birds/new"]')
    assert "does not serve" not in birds("encode", "birds", "--model", "new")[2]
    assert "does not serve" not in birds("encode", "birds", "--model", "hash")[2]


def test_an_encoding_that_is_cancelled_meanwhile_is_an_error(tmp_path, birds, new_model, monkeypatch):
    client = Collection(tmp_path / "data" / "collections" / "birds")

    def cancelled(self, tokens):
        client.next.cancel()
        return HashEncoder().encode_tokens(tokens)

    monkeypatch.setattr(New, "encode_tokens", cancelled)
    status, printed, errors = birds("encode", "birds", "--model", "new")
    assert (status, printed) == (1, "")
    assert "birds is not encoded with new: it was cancelled" in errors
    assert found(tmp_path, "owl") == ["a"]
