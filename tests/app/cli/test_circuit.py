"""`qrerank circuit`: drawing, running, exporting and checking circuits."""

import json
import re
from pathlib import Path

import pytest
from qiskit import qpy

from quantum.circuits import bulk_circuit
from quantum.feature_maps import feature_map

TEXTS = ("owl", "an owl hunts mice at night", "apples grow on trees", "the owl sings")


@pytest.mark.parametrize(("name", "parameter"), [("angle", "q[2]"), ("amplitude", "q[3]"), ("iqp", "h*q[0]*h*q[1]")])
def test_every_map_is_drawn_with_its_size(qrerank, name, parameter):
    status, output, _ = qrerank("circuit", "--map", name, "--qubits", 3)
    assert status == 0
    assert parameter in output
    assert f"{name}: 3 qubits, depth" in output


@pytest.mark.parametrize(("option", "value"), [("--map", "iqp"), ("--qubits", 2), ("--svg", "c.svg")])
def test_an_option_before_the_command_is_refused(qrerank, option, value):
    status, output, errors = qrerank("circuit", option, value, "run", *TEXTS)
    assert (status, output) == (2, "")
    assert f"give {option} after run" in " ".join(errors.split())


def test_the_list_of_maps_has_all_sizes(qrerank):
    status, output, _ = qrerank("circuit", "maps")
    assert status == 0
    assert re.search(r"entangled +│ 4 +│ 8 +│ 48 +│ 7 +│ 6", output)
    assert [output.count(f" {name} ") for name in ("angle", "entangled", "amplitude", "iqp")] == [3, 3, 3, 3]


def test_exact_results_are_settled(qrerank):
    status, output, errors = qrerank("circuit", "run", *TEXTS)
    assert status == 0
    assert output.count("settled") == 3
    assert output.index("the owl") < output.index("an owl") < output.index("apples")
    assert "exact: angle, 4 qubits: 48 circuits, about" in errors  # 16 of each document: the cost is said before


def test_shots_come_with_errors_and_ranks_that_are_not_settled(qrerank):
    words = ("circuit", "run", *TEXTS, "--backend", "aer", "--shots", 4, "--seed", 1, "--readout", 0.01)
    status, output, errors = qrerank(*words)
    assert status == 0
    assert re.search(r"1–[23]", output)
    assert "aer, noisy: angle, 4 qubits: 48 circuits of 4 shots" in errors
    assert "after routing: depth 1, 0 two-qubit gates" in errors
    assert qrerank(*words)[1] == output


def test_programs_get_json(qrerank):
    status, output, _ = qrerank("circuit", "run", *TEXTS, "--backend", "aer", "--shots", 64, "--seed", 1, "--json")
    found = json.loads(output)
    assert (status, found["backend"], found["shots"]) == (0, "aer", 64)
    assert sorted(each["index"] for each in found["results"]) == [0, 1, 2]
    for each in found["results"]:
        assert abs(each["log_fidelity"] - each["exact_log_fidelity"]) < 5 * each["log_standard_error"]


def test_what_takes_long_is_said_and_needs_a_yes(qrerank, monkeypatch):
    monkeypatch.setattr("app.cli.circuit._LONG_S", 0.0)
    status, output, errors = qrerank("circuit", "run", *TEXTS)
    assert (status, output) == (2, "")
    assert "48 circuits" in errors
    assert "--yes" in errors
    assert qrerank("circuit", "run", *TEXTS, "--yes")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shots", 3), "choose --backend aer"),
        (("--backend", "sampler", "--readout", 0.1), "give --device"),
        (("--backend", "aer", "--mitigate"), "needs shots, and noise"),
        (("--backend", "aer", "--shots", 0), "greater than or equal to 1"),
        (("--backend", "sampler", "--map", "iqp", "--device", "fake_manila"), "at most depth 15 is run, unless"),
        (("--map", "magic"), "'magic' is not one of 'angle', 'entangled', 'amplitude', 'iqp'"),
        (("--bandwidth", 0), "above 0"),
    ],
)
def test_wrong_options_are_one_sentence(qrerank, words, message):
    status, output, errors = qrerank("circuit", "run", *TEXTS, *words)
    assert status in {1, 2}
    assert output == ""
    assert message in errors


def test_export_writes_what_qiskit_reads(qrerank, tmp_path):
    status, output, _ = qrerank("circuit", "export", "--map", "iqp", "--qpy", "c.qpy", "--qasm3", "c.qasm")
    assert status == 0
    assert "a00 = q[4] - d[4]" in output
    with (tmp_path / "c.qpy").open("rb") as file:
        (read,) = qpy.load(file)
    assert read.num_clbits == 4
    assert len(read.parameters) == len(bulk_circuit(feature_map("iqp")).parameters)
    text = (tmp_path / "c.qasm").read_text()
    assert text.startswith("OPENQASM 3.0;")
    assert text.count("input float[64]") == 7
    assert text.count("measure") == 4


def test_export_needs_two_files_for_two_formats(qrerank, tmp_path):
    status, output, errors = qrerank("circuit", "export", "--qpy", "c", "--qasm3", tmp_path / "c")
    assert (status, output) == (2, "")
    assert "name the same file" in errors
    assert not (tmp_path / "c").exists()


def test_export_needs_a_file(qrerank):
    status, _, errors = qrerank("circuit", "export")
    assert status == 2
    assert "--qpy FILE or --qasm3 FILE" in errors


def test_a_collection_is_checked(qrerank, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))  # else it lists all fonts anew
    (tmp_path / "birds" / "qrels").mkdir(parents=True)
    corpus = [{"_id": str(at), "title": "", "text": f"the bird {at} sings at {at + 1}"} for at in range(30)]
    (tmp_path / "birds" / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (tmp_path / "birds" / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "which bird is 3"}))
    (tmp_path / "birds" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t3\t1\n")
    status, output, said = qrerank("circuit", "check", "birds", "--texts", 20, "--plot", "c.png", "--json")
    assert status == 0
    assert "9/9" in said  # the bar came to its end
    found = json.loads(output)
    assert (found["map"], found["queries"]) == ("angle", 1)
    by_bandwidth = [row for row in found["rows"] if row["registers"] == found["rows"][0]["registers"]]
    means = [row["mean"] for row in by_bandwidth]
    assert means == sorted(means, reverse=True)
    assert by_bandwidth[0]["verdict"] == "saturated"
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_json_of_what_is_not_finite_is_null(qrerank):
    """Infinitely many shots tell nothing apart where all fidelities are 1."""
    status, output, _ = qrerank("circuit", "check", "--texts", 20, "--bandwidth", 1e-9, "--json")
    assert status == 1

    def refused(constant):
        raise AssertionError(constant)

    assert None in [row["shots"] for row in json.loads(output, parse_constant=refused)["rows"]]


def test_nothing_is_printed_as_minus_zero(qrerank):
    status, output, _ = qrerank("circuit", "run", "owl", "owl", "an owl", "--bandwidth", 1e-3)
    assert status == 0
    assert "0.0000" in output
    assert "-0.0000" not in output


def test_a_saturating_map_is_told_by_the_check_and_refused_at_the_start(qrerank, tmp_path, monkeypatch):
    monkeypatch.setenv("QRERANK_CIRCUIT__BANDWIDTH", "0.0633")
    status, output, errors = qrerank("circuit", "check", "--texts", 20)
    assert status == 1
    assert "saturated" in output
    assert "mean fidelity of 0.998" in errors
    (tmp_path / "texts.txt").write_text("an owl")
    status, output, errors = qrerank("rerank", "owl", "texts.txt")  # opens the model as `serve` does
    assert (status, output) == (1, "")
    assert "saturates: with the bandwidth 0.0633" in errors
