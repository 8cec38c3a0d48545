"""What a request costs, estimated from its body before any of it is done.

The unit is one query compared with one piece of text of up to 1000 characters, which is about what a model reads at
once. This one number is what limits, quotas, admission and metrics go by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.engine.admission import PIECE, pieces
from app.errors import TooLarge
from app.quotas.quotas import Cost
from app.ranking.methods import Method
from app.service.request import RerankRequest
from app.settings import LimitSettings

_UNREPORTED = 100  # documents whose reports cost next to nothing


def of_rerank(
    request: RerankRequest, method: Method, limits: LimitSettings, candidates: int, *, reported: bool = False
) -> Cost:
    """What a request to rank takes. candidates: of a search, which holds no documents. reported: as a stream."""
    most = min(request.max_chunks or limits.chunks_per_document, limits.chunks_per_document)
    sent = len(request.texts) if request.documents is not None else candidates
    units = sum(pieces(text, most) for text in request.texts) if request.documents is not None else candidates
    if request.spans:  # which are looked for in what is shown
        units += -(-units * min(request.top_n or sent, sent) // sent)
    if reported:
        units += max(0, sent - _UNREPORTED)  # each report fuses what was scored so far once more
    return Cost(len(request.documents or ()), units + asking([request.query], request.exclude), method)


def of_similarity(queries: Sequence[str], texts: Sequence[str], method: Method, limits: LimitSettings) -> Cost:
    """What it takes to compare every query with every text."""
    units = sum(pieces(text, limits.chunks_per_document) for text in texts)
    return Cost(len(texts), len(queries) * units + asking(queries), method)


def of_embeddings(texts: Sequence[str]) -> Cost:
    """What it takes to embed texts, of which the model reads one piece each."""
    return Cost(len(texts), len(texts), "embedding")


def asking(queries: Iterable[str], excluded: Iterable[str] = ()) -> int:
    """What queries take besides being compared, nothing for short ones; and exclusions, as much as their lengths."""
    return sum(-(-len(text) // PIECE) - 1 for text in queries) + sum(-(-len(text) // PIECE) for text in excluded)


def check(cost: Cost, limits: LimitSettings) -> None:
    """TooLarge for a request that takes more than any may, naming both numbers."""
    if cost.units > limits.units:
        raise TooLarge(
            f"the request takes {cost.units} units of work (a query compared with up to {PIECE} characters is one) and "
            f"at most {limits.units} are taken; send fewer or shorter texts at once"
        )
