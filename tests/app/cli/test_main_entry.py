"""The entry point: streams that are closed, full or ASCII, broken pipes, and Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENT_S

PROGRAM = Path(sys.executable).parent / "qrerank"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def environment(tmp_path):
    return os.environ | {
        "QRERANK_MODEL": "hash",
        "QRERANK_DATA_DIR": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "COLUMNS": "200",
    }


@pytest.fixture
def shell(environment, tmp_path):
    (tmp_path / "birds.txt").write_text("an owl — at dusk\nune caf\u00e9 owl\n", encoding="utf-8")

    def run(line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - our own command
            ["/bin/bash", "-o", "pipefail", "-c", line.replace("qrerank", str(PROGRAM))],
            env=environment | variables,
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )

    return run


def test_where_the_locale_is_ascii_texts_are_read_as_utf8_and_printed_escaped(shell):
    ran = shell("qrerank rerank 'caf\u00e9' birds.txt", **ASCII)
    assert (ran.returncode, ran.stderr) == (0, b"")
    first = next(line for line in ran.stdout.splitlines() if b"owl" in line)
    assert rb"une caf\xe9 owl" in first  # the query was decoded
    assert ran.stdout.isascii()


def test_a_circuit_is_drawn_in_ascii_too(shell):
    ran = shell("qrerank circuit --map entangled", PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"q_0: + Ry(" in ran.stdout
    assert b"\\" not in ran.stdout


NO_SPACE = "standard output cannot be written: No space left on device\n"
NO_OUTPUT = "standard output cannot be written: Bad file descriptor\n"


@pytest.mark.parametrize(
    ("line", "status", "sentence"),
    [
        ("qrerank rerank owl birds.txt >/dev/full", 1, NO_SPACE),
        ("qrerank openapi | true", 1, ""),
        ("qrerank rerank $'caf\\xe9' birds.txt", 2, "'query': it is not UTF-8"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in [
                ("qrerank openapi >/dev/full", 1, NO_SPACE),
                ("qrerank circuit maps >&-", 1, NO_OUTPUT),
                ("qrerank openapi >&-", 1, NO_OUTPUT),
                ("qrerank circuit | true", 1, ""),
                ("qrerank rerank owl - <&-", 2, "the file contains no text"),
                ("qrerank rerank owl birds.txt 2>&- >/dev/null", 0, ""),
                ("qrerank rerank owl birds.txt <&- >/dev/null", 0, ""),
                ("qrerank rerank owl none.txt <&- >&- 2>&-", 2, ""),
            ]
        ),
    ],
)
def test_streams_may_be_closed_or_full(shell, line, status, sentence):
    ran = shell(line)
    assert (ran.returncode, ran.stdout) == (status, b"")
    assert sentence in ran.stderr.decode()
    assert len(ran.stderr.splitlines()) == bool(sentence)


def test_ctrl_c_ends_a_command_without_a_word(environment, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    begun = subprocess.Popen(  # noqa: S603 - our own command
        [PROGRAM, "rerank", "owl", str(pipe)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads yet
    )
    with pipe.open("w"):  # waits until the command reads
        begun.send_signal(signal.SIGINT)
        said = begun.communicate(timeout=PATIENT_S)
    assert (begun.returncode, *said) == (130, b"", b"")
