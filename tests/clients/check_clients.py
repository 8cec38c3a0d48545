"""Call each of our own clients once and print a verdict a line: PASS where the document that answers is on top.

Runs in .venv-clients: check_clients.py URL KEY
"""

from __future__ import annotations

import logging
import sys
import warnings

from own_clients import CHUNK_TOKENS, CLIENTS, TOP_N, Client

QUERY = "What is the capital of France?"
_FILLING = "Bananas are rich in potassium, and apples keep well in a cool cellar. "
DOCUMENTS = [
    "Berlin is the largest city in Germany.",
    _FILLING * CHUNK_TOKENS + "Paris is the capital and most populous city of France.",  # chunks, the last one answers
    "The Great Wall of China is visible from afar.",
    _FILLING,
    "Paris Hilton opened a hotel.",
]
ANSWER = 1

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)


def check(client: Client, url: str, key: str) -> str:
    """What is right about the client's answer; AssertionError, or what the client raises, for what is not."""
    rows = client.rows(client.call(url, key, QUERY, DOCUMENTS))
    indices, scores = zip(*rows, strict=True)
    assert len(rows) == len(set(indices)) == TOP_N, f"{TOP_N} documents were asked for: {indices}"
    assert all(0 <= index < len(DOCUMENTS) for index in indices), indices
    assert list(scores) == sorted(scores, reverse=True), scores
    assert indices[0] == ANSWER, f"document {indices[0]} is on top: {DOCUMENTS[indices[0]][:40]}"
    return f"top: document {ANSWER}, score {scores[0]:.4f}"


def main() -> None:
    url, key = sys.argv[1:]
    printed, sys.stdout = sys.stdout, sys.stderr  # some clients print
    for name, client in CLIENTS.items():
        try:
            line = f"PASS {name:26} {check(client, url, key)}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the client does not work
            line = f"FAIL {name:26} {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        printed.write(line + "\n")
        printed.flush()


if __name__ == "__main__":
    main()
