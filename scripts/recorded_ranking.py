"""Record the ranking that the playground shows where a key is needed: `python -m scripts.recorded_ranking`.

It is the answer of the default model for the page's own passages, with the tokens that match, rounded.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import typer

from app.ranking.reranker import Reranker
from app.settings import Settings
from retrieval.encoder.prepare import load_encoder

_STATIC = Path(__file__).parents[1] / "app" / "pages" / "static"
RECORDED = _STATIC / "recorded.json"
_LIST = re.compile(r"const SHOP = (\[[^]]+\])")
_QUERY = re.compile(r'shop: \{ label: "[^"]*", query: ("[^"]*")')
LEAST_FIDELITY = 0.2  # of a token that is tinted
_DIGITS = 3


def scene() -> tuple[str, list[str]]:
    """The question and the passages of the page's own scene."""
    script = (_STATIC / "scenes.js").read_text(encoding="utf-8")
    passages, query = _LIST.search(script), _QUERY.search(script)
    if not (passages and query):
        raise ValueError("scenes.js has no scene `shop`")
    return json.loads(query[1]), json.loads(passages[1].replace(",\n]", "\n]"))


def record(reranker: Reranker) -> dict[str, Any]:
    """The ranking: rows as lists (index, score, cosine, fidelity, words), tokens as (start, end, fidelity, match)."""
    query, passages = scene()
    ranking = reranker.rerank(query, passages, method="hybrid")
    matches = reranker.token_matches(query, [passages[at] for at in ranking.order])
    columns = [ranking.scores, *(ranking.rankers[name] for name in ("classical", "quantum", "lexical"))]
    return {
        "results": [[int(at), *(round(float(column[at]), _DIGITS) for column in columns)] for at in ranking.order],
        "query": matches.query.tolist(),
        "tokens": [
            [
                [*span, round(float(fidelity), _DIGITS), int(token)]
                for span, fidelity, token in zip(found.spans.tolist(), found.fidelity, found.query_token, strict=True)
                if fidelity >= LEAST_FIDELITY
            ]
            for found in matches.texts()
        ],
    }


def main() -> None:
    """Write the file."""
    settings = Settings()
    encoder = load_encoder(settings.model, settings.model_dir, lambda *_: None)
    RECORDED.write_text(json.dumps(record(Reranker(encoder)), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"wrote {RECORDED}")


if __name__ == "__main__":
    typer.run(main)
