"""The command line: what it prints, and how it fails."""

import io
import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from app.cli import index, main
from app.settings import Settings
from retrieval.text.passages import Passage
from scripts.trial import free_port
from tests.conftest import serving

CORPUS = [
    {"_id": "a", "title": "Owls", "text": "an owl song at dusk"},
    {"_id": "b", "title": "", "text": "market prices"},
    {"_id": "c", "title": "", "text": "river stone"},
]


@pytest.fixture
def here(qrerank, monkeypatch):
    """Runs the command line in this process, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    return qrerank


@pytest.fixture
def typed(here, monkeypatch):
    """The same with text on standard input; what a process of its own does is in test_main_entry.py."""

    def run(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        return subprocess.CompletedProcess(words, *here(*words, **variables))

    return run


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "birds"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, CORPUS)))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "1", "text": "owl song"}))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
    return folder


def test_the_version_is_the_packages(typed):
    run = typed("--version")
    assert (run.returncode, run.stdout, run.stderr) == (0, f"quantum-rerank {version('quantum-rerank')}\n", "")


def test_prepare_says_where_each_model_is_and_how_it_is_computed(typed, tmp_path):
    run = typed("prepare", QRERANK_MODEL_DIR=str(tmp_path / "models"))
    assert (run.returncode, run.stdout) == (0, f"hash is ready in {tmp_path / 'models'}: numpy-f32, encoder\n")


def test_prepare_fails_with_a_model_that_is_nowhere(typed):
    run = typed("prepare", QRERANK_MODEL="no-such-model", HF_HUB_OFFLINE="1")
    assert (run.returncode, run.stdout) == (1, "")
    assert "no-such-model is no folder, and could not be had from the Hugging Face hub" in run.stderr


def test_rerank_reads_objects_of_json_lines_with_their_titles_and_whatever_ids(here, tmp_path):
    lines = ['{"text": "market prices"}', '{"_id": "7", "title": "An owl", "text": "sings"}', '{"text": "\\u200b"}']
    for name in ("birds.jsonl", "birds.ndjson", "BIRDS.JSONL"):
        (tmp_path / name).write_text("\n".join(lines))
        status, printed, said = here("rerank", "owl song", name, "--json")
        assert (status, said) == (0, "")
        found = [(each["index"], each["document"]) for each in json.loads(printed)["results"]]
        assert found == [(1, {"title": "An owl", "text": "sings"}), (0, {"text": "market prices"})]
    repeated = ['{"_id": "7", "text": "market"}', '{"_id": "7", "text": "an owl song"}', '{"id": 1.5, "text": "a"}']
    (tmp_path / "birds.jsonl").write_text("\n".join(repeated))
    assert json.loads(here("rerank", "owl song", "birds.jsonl", "--json")[1])["results"][0]["index"] == 1
    (tmp_path / "birds.jsonl").write_text('{"text": "an owl"}\nan owl')
    status, printed, said = here("rerank", "owl song", "birds.jsonl")
    assert (status, printed) == (1, "")
    assert "birds.jsonl:2: " in said


@pytest.mark.parametrize(
    ("name", "content"),
    [("birds.json", '[\n{"text": "an owl"},\n{"text": "a lark"}\n]'), ("birds.csv", "id,text\n1,an owl\n")],
)
def test_rerank_refuses_files_whose_lines_are_no_documents(here, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    status, printed, said = here("rerank", "owl song", name)
    assert (status, printed) == (2, "")
    assert "write one object per line into a .jsonl file" in said


def test_rerank_reads_lines(typed):
    run = typed("rerank", "owl song", "-", "--top-n", "2", stdin="market prices\nan owl song\n\nriver\n")
    assert run.returncode == 0, run.stderr
    shown = [line for line in run.stdout.splitlines() if "owl" in line or "market" in line or "river" in line]
    assert len(shown) == 2
    assert "an owl song" in shown[0]


def test_a_collection_is_built_shown_and_searched(typed, beir):
    built = typed("index", "build", "birds", str(beir / "corpus.jsonl"))
    assert built.returncode == 0, built.stderr
    assert "passages" in typed("index", "stats", "birds").stdout
    run = typed("search", "owl", "--collection", "birds", "--top-n", "1")
    assert "Owls: an owl song" in run.stdout
    again = typed("index", "build", "birds", str(beir / "corpus.jsonl"))
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert typed("index", "build", "birds", str(beir / "corpus.jsonl"), "--force").returncode == 0


def test_evaluate_prints_a_table_and_writes_json(typed, beir, tmp_path):
    exclusions = tmp_path / "exclude.jsonl"
    exclusions.write_text(json.dumps({"_id": "1", "text": "owl", "exclude": ["market"]}))
    for extra in ([], ["--encode-limit", "1"], ["--exclude-file", str(exclusions)]):
        run = typed("evaluate", str(beir), "--json", str(tmp_path / "out.json"), *extra)
        assert run.returncode == 0, run.stderr
        assert "nDCG@10" in run.stdout
        assert json.loads((tmp_path / "out.json").read_text())["methods"]["hybrid"]["ndcg@10"] == 1.0


@pytest.mark.parametrize("name", [pytest.param("angle", marks=pytest.mark.soak), "entangled"])
def test_circuit_draws(typed, tmp_path, name):
    text = typed("circuit", "--map", name, "--qubits", "3")
    assert "q_0" in text.stdout
    assert "3 qubits, depth" in text.stdout
    assert typed("circuit", "--map", name, "--svg", str(tmp_path / "c.svg")).returncode == 0
    assert "<svg" in (tmp_path / "c.svg").read_text()


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["search", "owl", "--collection", "none"], {}, "qrerank index build none SOURCE"),
        (["evaluate", "."], {}, "corpus.jsonl"),
        (["evaluate", ".", "--methods", "magic"], {}, "classical,quantum,hybrid"),
        (["circuit", "--map", "magic"], {}, "angle"),
        (["circuit"], {"QRERANK_CIRCUIT__QUBITS": "9"}, "QRERANK_CIRCUIT__QUBITS"),
        (["circuit"], {"QRERANK_TYPO": "9"}, "QRERANK_TYPO is not a setting"),
        (["circuit"], {"QRERANK_ENGINE__TYPO": "9"}, "QRERANK_ENGINE__TYPO is not a setting; docs/configuration.md"),
        (["rerank", "owl", "-"], {"QRERANK_MODEL": "no-such-model"}, "the Hugging Face hub"),
        (["index", "build", "b", __file__], {"QRERANK_MODEL": "no-such-model"}, "convert this one"),
    ],
)
def test_errors_are_one_message_and_no_traceback(typed, words, variables, message):
    run = typed(*words, stdin="text", **variables)
    assert run.returncode in {1, 2}
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert run.stdout == ""


BAD_NAMES = ["../x", "", "[/x]", "a b", "x" * 65, "x" * 300, "a\n", "/", "\x1b[31m", "\udce9"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("words", [["search", "owl", "--collection"], ["index", "stats"], ["index", "build"]])
def test_a_name_that_is_no_collections_is_a_usage_error(here, beir, words, name):
    rest = [str(beir / "corpus.jsonl")] if words[-1] == "build" else []
    status, printed, said = here(*words, name, *rest)
    assert (status, printed) == (2, "")
    assert "a collection's name is up to 64 letters" in said
    assert len(said.splitlines()) == 1


def test_a_file_in_place_of_a_folder_is_named(here, tmp_path, beir):
    for words in (["index", "stats", "x"], ["search", "owl"], ["index", "build", "x", str(beir / "corpus.jsonl")]):
        (tmp_path / "file").write_text("")
        status, printed, said = here(*words, QRERANK_DATA_DIR=str(tmp_path / "file"))
        assert (status, printed) == (1, "")
        assert said.startswith(f"{tmp_path / 'file'}")
        assert "set QRERANK_DATA_DIR" in said
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["rerank", "", "ok.txt"], 2, "'query': it is empty"),
        (["rerank", " ", "ok.txt"], 2, "'query': it is empty"),
        (["search", "\u3000"], 2, "'query': it is empty"),
        (["rerank", "owl", "ok.txt", "--exclude", "fox", "--exclude", ""], 2, "'--exclude': it is empty"),
        (["rerank", "\u200b", "ok.txt"], 2, "'query': it is empty"),
        (["search", "\u200b"], 2, "'query': it is empty"),
        (["circuit", "run", "\u200b", "an owl"], 2, "'query': it is empty"),
        (["rerank", "owl", "ok.txt", "--exclude", "\u200b"], 2, "'--exclude': it is empty"),
        (["rerank", "owl", "ok.txt", "--exclude", "\udce9"], 2, "'--exclude': it is not UTF-8"),
        (["rerank", "owl", "ok.txt", "--exclude", "owl"], 1, "parallel to the query"),
        (["rerank", "owl", "ok.txt", "--method", "hybrid+cross"], 2, "set QRERANK_CROSS_ENCODER__MODEL"),
        (["search", "owl", "--method", "hybrid+cross"], 2, "set QRERANK_CROSS_ENCODER__MODEL"),
        (["rerank", "owl", "latin1.txt"], 1, "latin1.txt: not UTF-8 at byte 3; save it as UTF-8"),
        (["rerank", "owl", "blank.txt"], 2, "the file contains no text"),
        (["rerank", "owl", "[/x].txt"], 2, "[/x].txt: No such file or directory"),
        (["rerank", "owl", "."], 2, "is a folder"),
        (["rerank", "owl", "x" * 300], 2, "File name too long"),
        (["index", "build", "x", "latin1.txt"], 1, "latin1.txt: not UTF-8 at byte 3; save it as UTF-8"),
        (["index", "build", "x", "blank.txt"], 1, "no passages"),
        (["circuit", "--svg", "none/x.svg"], 2, "none/x.svg: No such file or directory"),
        (["circuit", "--svg", "."], 2, "is a folder"),
        (["circuit", "--map", "nosuch"], 2, "'--map': 'nosuch' is not one of 'angle'"),
        (["circuit", "check", "--map", "nosuch"], 2, "'--map': 'nosuch' is not one of 'angle'"),
        (["circuit", "[/x]:smile:\x1b"], 2, "[/x]:smile:"),
        (["[/x]"], 2, "No such command '[/x]'"),
    ],
)
def test_mistakes_are_one_sentence(here, tmp_path, words, status, message):
    (tmp_path / "ok.txt").write_text("an owl")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "latin1.txt").write_bytes("caf\u00e9".encode("latin-1"))
    ended, printed, said = here(*words)
    assert (ended, printed) == (status, "")
    assert message in said
    assert len(said.splitlines()) == 1
    assert "\x1b" not in said


DOCUMENTS = [
    "Die Katzen singen nachts",
    "Die Katzen singen nachts",
    "Nachts singen Vögel",
    f"{'Von Häusern und Straßen ist die Rede. ' * 200} Die Katze singt.",
    "Börsenkurse",
]


@pytest.mark.parametrize(
    ("name", "value"),
    [("LANGUAGE", "none"), ("DIVERSITY", "0.7"), ("LIMITS__CHUNKS_PER_DOCUMENT", "1"), ("MIN_SCORE", "0.5")],
)
def test_rerank_ranks_as_the_service_does(here, monkeypatch, tmp_path, name, value):
    (tmp_path / "documents.txt").write_text("\n".join(DOCUMENTS))
    words = ("rerank", "Katze singt", "documents.txt", "--json")
    usual = json.loads(here(*words)[1])["results"]
    monkeypatch.setenv(f"QRERANK_{name}", value)
    status, said, errors = here(*words)
    assert status == 0, errors
    body = {"query": "Katze singt", "documents": DOCUMENTS, "deadline_ms": 0}
    with serving(Settings()) as client:
        served = client.post("/rerank", json=body).json()["results"]
    found = [(each["index"], each["relevance_score"]) for each in json.loads(said)["results"]]
    assert found == [(each["index"], pytest.approx(each["relevance_score"])) for each in served]
    assert found != [(each["index"], each["relevance_score"]) for each in usual]


def test_search_takes_the_diversity_of_the_settings_unless_the_command_says_another(here, tmp_path):
    lines = [json.dumps({"_id": str(at), "text": text}) for at, text in enumerate(DOCUMENTS)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    assert here("index", "build", "cats", "corpus.jsonl")[0] == 0
    words = ("search", "Katze singt", "--collection", "cats", "--json")
    usual, chosen = here(*words)[1], here(*words, "--diversity", "0.7")[1]
    assert usual != chosen
    assert here(*words, QRERANK_DIVERSITY="0.7")[1] == chosen
    assert here(*words, "--diversity", "0", QRERANK_DIVERSITY="0.7")[1] == usual


@pytest.fixture
def shop(here, tmp_path):
    """Runs the command line beside a collection `shop`, built of the documents with a colour."""
    lines = [json.dumps({"_id": c, "text": f"a {c} owl", "metadata": {"colour": c}}) for c in ("red", "blue")]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    assert here("index", "build", "shop", "corpus.jsonl")[0] == 0
    return here


def test_search_takes_the_default_collection_of_the_settings(shop):
    found = json.loads(shop("search", "owl", "--json", QRERANK_DEFAULT_COLLECTION="shop")[1])["results"]
    assert len(found) == 2
    for words in (("search", "owl"), ("search", "owl", "--collection", "demo")):
        status, _, said = shop(*words, **({} if len(words) == 2 else {"QRERANK_DEFAULT_COLLECTION": "shop"}))
        assert (status, "collections/demo" in said) == (1, True), said


def test_a_search_that_finds_nothing_says_why(shop, tmp_path):
    words = ("search", "owl", "--collection", "shop")
    green = ("--filter", '{"eq": {"colour": "green"}}')
    assert shop(*words, *green)[:2] == (0, "there is no passage of shop that matches the filter\n")
    assert json.loads(shop(*words, *green, "--json")[1])["results"] == []
    by_words = {"QRERANK_FIRST_STAGE__DENSE": "0"}
    assert shop("search", "zebra", *words[2:], **by_words)[1] == "no passage of shop has a word of the query\n"
    told = "no passage of shop reaches the score of QRERANK_MIN_SCORE\n"
    assert shop(*words, QRERANK_MIN_SCORE="1")[1] == told
    (tmp_path / "lines.txt").write_text("an owl\n")
    told = "no document reaches the score of QRERANK_MIN_SCORE\n"
    assert shop("rerank", "market", "lines.txt", QRERANK_MIN_SCORE="1")[1] == told
    assert shop("index", "delete", "shop", "red", "blue")[0] == 0
    assert shop(*words)[:2] == (0, "shop holds no passage that can be searched\n")


@pytest.mark.parametrize(("before", "after"), [(None, "demo"), ("shop", "shop"), ("demo", "demo")])
def test_the_demo_leaves_a_default_collection_that_is_set(monkeypatch, tmp_path, caplog, before, after):
    monkeypatch.setattr(index, "demo_passages", lambda: [Passage("a", "", "an owl")])
    monkeypatch.setenv("QRERANK_DEFAULT_COLLECTION", before or "")
    if before is None:
        monkeypatch.delenv("QRERANK_DEFAULT_COLLECTION")
    main._prepare_app(Settings(model="hash", data_dir=tmp_path, default_collection=before), 1, True)
    assert os.environ["QRERANK_DEFAULT_COLLECTION"] == after
    assert ("shop is searched by default, as QRERANK_DEFAULT_COLLECTION says" in caplog.text) == (before == "shop")
    assert (tmp_path / "collections" / "demo").is_dir()


def test_help_tells_of_exit_statuses_and_keeps_brackets(here):
    status, printed, _ = here("--help")
    assert status == 0
    assert "Exit status: 0 done" in printed
    assert '{"_id", "text", "exclude": [...]}' in here("evaluate", "--help")[1]
    assert here()[::2] == (2, printed)


@pytest.mark.slow
def test_an_unusable_address_is_reported_before_a_model_is_opened(tmp_path):
    """In a process of its own, of which `serve` sets limits and logs."""
    own = str(free_port())
    environment = os.environ | {"QRERANK_MODEL": "no-such-model", "QRERANK_DATA_DIR": str(tmp_path)}
    environment |= {"QRERANK_OPERATIONS__METRICS_PORT": own, "QRERANK_LOGS__LEVEL": "warning"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for words, message in [
            (["--port", port, "--workers", "2"], f"http://127.0.0.1:{port} cannot be served: Address already in use;"),
            (["--port", own], f"http://127.0.0.1:{own} cannot be served: Address already in use;"),  # the metrics'
            (["--host", "x" * 300], "is not an address to listen on"),
        ]:
            command = [Path(sys.executable).parent / "qrerank", "serve", *words]
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
            assert run.returncode == 1
            assert message in run.stderr
            assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.slow)])
def test_a_stop_while_models_are_prepared_ends_serve(name):
    """Process 1 of a container gets no SIGTERM that it does not handle. A closed terminal sends SIGHUP."""
    script = (
        "import os, signal\n"
        "from app.cli import main\n"
        f"main._prepare_app = lambda *_: os.kill(os.getpid(), signal.{name})\n"
        "main.main()\n"
    )
    command = [sys.executable, "-c", script, "serve", "--port", "0"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    assert (run.returncode, run.stderr) == (0, "")
