"""The command line as a person runs it: a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CORPUS = [
    {"_id": "a", "title": "Owls", "text": "an owl song at dusk"},
    {"_id": "b", "title": "", "text": "market prices"},
    {"_id": "c", "title": "", "text": "river stone"},
]


@pytest.fixture
def qrerank(tmp_path: Path):
    def run(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "QRERANK_MODEL": "hash",
            "QRERANK_DATA_DIR": str(tmp_path),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "COLUMNS": "200",
        }
        return subprocess.run(  # noqa: S603 - our own command
            [Path(sys.executable).parent / "qrerank", *words],
            input=stdin,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "birds"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, CORPUS)))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "1", "text": "owl song"}))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
    return folder


def test_prepare_says_where_each_model_is_and_how_it_is_computed(qrerank, tmp_path):
    run = qrerank("prepare", QRERANK_MODEL_DIR=str(tmp_path / "models"))
    assert (run.returncode, run.stdout) == (0, f"hash is ready in {tmp_path / 'models'}: numpy-f32\n")


def test_prepare_fails_with_a_model_that_is_nowhere(qrerank):
    run = qrerank("prepare", QRERANK_MODEL="no-such-model", HF_HUB_OFFLINE="1")
    assert (run.returncode, run.stdout) == (1, "")
    assert "'no-such-model' is neither a folder nor installed" in run.stderr


def test_rerank_reads_lines(qrerank):
    run = qrerank("rerank", "owl song", "-", "--top-n", "2", stdin="market prices\nan owl song\n\nriver\n")
    assert run.returncode == 0, run.stderr
    shown = [line for line in run.stdout.splitlines() if "owl" in line or "market" in line or "river" in line]
    assert len(shown) == 2
    assert "an owl song" in shown[0]


def test_a_collection_is_built_shown_and_searched(qrerank, beir):
    built = qrerank("index", "build", "birds", str(beir / "corpus.jsonl"))
    assert built.returncode == 0, built.stderr
    assert "passages" in qrerank("index", "stats", "birds").stdout
    found = qrerank("search", "owl", "--collection", "birds", "--top-n", "1")
    assert "Owls: an owl song" in found.stdout
    again = qrerank("index", "build", "birds", str(beir / "corpus.jsonl"))
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert qrerank("index", "build", "birds", str(beir / "corpus.jsonl"), "--force").returncode == 0


def test_evaluate_prints_a_table_and_writes_json(qrerank, beir, tmp_path):
    exclusions = tmp_path / "exclude.jsonl"
    exclusions.write_text(json.dumps({"_id": "1", "text": "owl", "exclude": ["market"]}))
    for extra in ([], ["--encode-limit", "1"], ["--exclude-file", str(exclusions)]):
        run = qrerank("evaluate", str(beir), "--json", str(tmp_path / "out.json"), *extra)
        assert run.returncode == 0, run.stderr
        assert "nDCG@10" in run.stdout
        assert json.loads((tmp_path / "out.json").read_text())["methods"]["hybrid"]["ndcg@10"] == 1.0


@pytest.mark.parametrize("name", ["angle", "entangled"])
def test_circuit_draws(qrerank, tmp_path, name):
    text = qrerank("circuit", "--map", name, "--qubits", "3")
    assert "q_0" in text.stdout
    assert "3 qubits, depth" in text.stdout
    assert qrerank("circuit", "--map", name, "--svg", str(tmp_path / "c.svg")).returncode == 0
    assert "<svg" in (tmp_path / "c.svg").read_text()


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["search", "owl", "--collection", "none"], {}, "qrerank index build"),
        (["search", "owl", "--collection", "../x"], {}, "collection's name"),
        (["evaluate", "."], {}, "corpus.jsonl"),
        (["evaluate", ".", "--methods", "magic"], {}, "classical,quantum,hybrid"),
        (["circuit", "--map", "magic"], {}, "angle"),
        (["circuit"], {"QRERANK_CIRCUIT__QUBITS": "9"}, "QRERANK_CIRCUIT__QUBITS"),
        (["circuit"], {"QRERANK_TYPO": "9"}, "QRERANK_TYPO is not a setting"),
        (["rerank", "owl", "-"], {"QRERANK_MODEL": "no-such-model"}, "neither a folder nor installed"),
    ],
)
def test_errors_are_one_message_and_no_traceback(qrerank, words, variables, message):
    run = qrerank(*words, stdin="text", **variables)
    assert run.returncode in {1, 2}
    assert message in " ".join(run.stderr.replace("│", " ").split())
    assert "Traceback" not in run.stderr
