"""One request on its way through the pipeline: what it asks, in what parts documents are read, what comes of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from app.ranking.candidates import Candidates
from app.ranking.hybrid import RANKERS
from app.ranking.methods import BASE, RANK_METHODS, RankMethod
from retrieval.deadline import Deadline
from retrieval.errors import CollectionError, EncoderUnavailable
from retrieval.fusion import first_of_each, ranking
from retrieval.fusion.algorithms import ALGORITHMS, Algorithm
from retrieval.text.bm25 import Matches, QueryTerms
from retrieval.text.languages import AUTO
from retrieval.text.limits import most_code_points
from retrieval.text.sentences import VISIBLE

log = logging.getLogger(__name__)


class Lap(NamedTuple):
    """One time that a stage was gone through."""

    stage: str
    start: float  # `time.perf_counter()` seconds
    seconds: float


def milliseconds(laps: Iterable[Lap]) -> dict[str, float]:
    """Milliseconds spent in each stage, summed where it came again, in the order of their ends."""
    ms: dict[str, float] = {}
    for stage, _, seconds in laps:
        ms[stage] = ms.get(stage, 0.0) + seconds * 1e3
    return ms


@dataclass
class Stopwatch:
    """The laps so far, in the order of their ends."""

    laps: list[Lap] = field(default_factory=list)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time of the block to this stage, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.since(stage, start)

    def since(self, stage: str, start: float) -> None:
        """Count the time since this `time.perf_counter()` to a stage."""
        self.laps.append(Lap(stage, start, time.perf_counter() - start))

    @property
    def ms(self) -> dict[str, float]:
        """Milliseconds spent in each stage."""
        return milliseconds(self.laps)


Counts = NDArray[np.int64]
_CHARACTERS = 4.0  # code points of a token, where nothing tells
_QUERY_CODE_POINTS = most_code_points(4096)  # of a query in which words are looked for: more than any model reads


Weigh = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # other weights of the rankers in place of these, (3,)


class Contributions(NamedTuple):
    """What the order of n documents was made of."""

    scores: NDArray[np.float64]  # (3, n), what each ranker adds to the fused score at weight 1; NaN: unread
    defaults: NDArray[np.float64]  # (3,) the weights that the request has by default

    def of_all(self, chosen: NDArray[np.int64], count: int) -> Contributions:
        """These of the chosen ones among `count` documents."""
        scores = np.full((len(self.scores), count), np.nan)
        scores[:, chosen] = self.scores
        return Contributions(scores, self.defaults)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """n documents scored by what was read of them so far. All arrays are in input order."""

    scores: NDArray[np.float64]  # (n,) probabilities that they are relevant, in the order of the fused rankers
    rankers: Mapping[str, NDArray[np.float64]]  # (n,) each; NaN for a document without states
    log_odds: NDArray[np.float64]  # (n,) of being relevant, by each document's own evidence
    evidence: Mapping[str, NDArray[np.float64]]  # (n,) each, beside the rankers': `coverage`, the share of the query's
    # words, weighted by rarity, in [0, 1]; `log_fidelity`, the mean over the query's tokens, at most 0
    chunks_read: NDArray[np.int64]  # (n,) of each document
    tokens_read: NDArray[np.int64]  # (n,) of each document, without special tokens
    tokens: int = 0  # that the encoder read, now or once: of a `Ranking` with the query's
    encoded: int = 0  # documents of which a chunk at least was read; the rest stand below them in pre-score order
    readable: bool = True  # whether the model can read the query and any document; else words alone decide
    contributions: Contributions | None = None  # where the weights are the caller's
    near_duplicates: float | None = None  # share of documents that are nearly equal to a better one; with diversity


@dataclass(frozen=True, kw_only=True)
class Ranking(Scored):
    """n documents ranked, and how it was done."""

    order: NDArray[np.int64]  # (n,) positions, best first; of grouped passages each document's best alone
    incomplete: bool  # whether documents, or chunks of them, were left unread, for lack of time or of the encoder
    tokens_of: NDArray[np.int64]  # (n,) that each document has; estimated where it was not read to its end
    truncated: int  # documents in which so much holds no words that their ends were not looked at
    cut: int  # documents that are longer than what may be read of them
    query_cut: bool  # whether the query is
    cached: int  # documents whose states were cached when the job began
    unavailable: EncoderUnavailable | None  # why so, if it was not for lack of time
    dropped: Sequence[str]  # rankers that failed or were late, at least for some documents
    laps: Sequence[Lap]

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds spent in each stage."""
        return milliseconds(self.laps)


class Options(TypedDict, total=False):
    """How a query is ranked; what is left out is as in `Job`."""

    method: RankMethod  # which rankers score the documents
    exclude: Sequence[str]  # what the answer must not be about
    encode_limit: int | None  # score only so many documents by their states, the most promising; rank the rest below
    deadline: Deadline  # score as many by their states as there is time for
    report: Callable[[Ranking], None] | None  # called with each partial ranking; what it raises ends the job
    language: str  # of the query and the documents: a code, `NONE`, or `AUTO` to detect each one's
    weigh: Weigh | None  # gives other weights of the rankers, with the sum 1, in place of those that `hybrid` has
    fusion: Algorithm | None  # of `hybrid`; None: the reranker's
    diversity: float  # how much unlike those before it a document should be, 0 (not at all) to 1 (nothing else counts)
    min_score: float  # what scores less stays below the others, however unlike them it is; 0 to 1


@dataclass
class Job:
    """One request, and how far it has come."""

    query: str
    method: RankMethod = "hybrid"
    exclude: Sequence[str] = ()
    encode_limit: int | None = None
    deadline: Deadline = field(default_factory=Deadline)
    report: Callable[[Ranking], None] | None = None  # gets partial rankings
    language: str = AUTO
    weigh: Weigh | None = None
    fusion: Algorithm | None = None
    diversity: float = 0.0
    min_score: float = 0.0
    watch: Stopwatch = field(default_factory=Stopwatch)
    reads: bool = True  # whether the model reads the script of the query; else words alone decide
    query_tokens: int = 0  # of the query and of what it excludes
    query_cut: bool = False  # whether the query is longer than what is read of it
    cached: int = 0  # documents whose states were cached when the job began
    incomplete: bool = False
    unavailable: EncoderUnavailable | None = None  # the failure of an encoder on another machine
    dropped: list[str] = field(default_factory=list)  # rankers that failed or were late

    def __post_init__(self) -> None:
        """ValueError for what cannot be ranked by, TypeError for a deadline that is none."""
        if not isinstance(self.deadline, Deadline):
            raise TypeError(f"deadline is a Deadline, such as Deadline.after(0.4), in seconds; got {self.deadline!r}")
        if self.method not in RANK_METHODS:
            raise ValueError(f"unknown method {self.method!r}; choose one of {', '.join(RANK_METHODS)}")
        if self.fusion not in {None, *ALGORITHMS}:
            raise ValueError(f"unknown fusion {self.fusion!r}; choose one of {', '.join(ALGORITHMS)}")
        if self.encode_limit is not None and self.encode_limit < 1:
            raise ValueError(f"encode_limit must be at least 1, or None for all; got {self.encode_limit}")
        if not (0 <= self.diversity <= 1 and 0 <= self.min_score <= 1):
            raise ValueError(f"diversity and min_score lie in [0, 1]; got {self.diversity} and {self.min_score}")
        if isinstance(self.exclude, str):
            raise ValueError("exclude must be a list of texts, or each letter would count")  # noqa: TRY004 - as the others
        self.exclude = list(self.exclude)  # a generator gives its texts once, and they are looked at before they count
        if any(not VISIBLE.search(text) for text in (self.query, *self.exclude)):
            raise ValueError("the query and the excluded texts must not be empty")
        try:
            self.terms = QueryTerms.of(self.query[:_QUERY_CODE_POINTS], self.language)
        except ValueError as error:
            raise ValueError(f"language {error}; got {self.language!r}") from None

    def drop(self, ranker: str) -> bool:
        """Leave a ranker out that failed; whether others of the method are left to answer."""
        needed = {*RANKERS} if BASE[self.method] == "hybrid" else {self.method}
        self.dropped.append(ranker)
        return not needed <= {*self.dropped}

    def matches(self, candidates: Candidates) -> Matches:
        """How n candidates match by words; where that fails and others can answer, none does."""
        try:
            return candidates.matches(self.terms)
        except CollectionError:  # what is damaged is not ranked by its rest
            raise
        except Exception:
            if not self.drop("lexical"):
                raise
            log.exception("the ranker lexical failed; the others answer")
            nothing = np.zeros(len(candidates.characters))
            return Matches(nothing, nothing)

    def ranking(self, scored: Scored, candidates: Candidates) -> Ranking:
        """The ranking of candidates by their scores. It copies the laps so far: the job goes on."""
        order = ranking(scored.scores)
        if candidates.owners is not None:
            order = order[first_of_each(candidates.owners[order])]
        with_query = vars(scored) | {"tokens": self.query_tokens + scored.tokens}
        return Ranking(
            **with_query,
            order=order,
            incomplete=self.incomplete,
            tokens_of=_tokens_of(candidates, scored.chunks_read, scored.tokens_read),
            truncated=candidates.truncated,
            cut=int(np.count_nonzero(candidates.cut)),
            query_cut=self.query_cut,
            cached=self.cached,
            unavailable=self.unavailable or candidates.unavailable,
            dropped=tuple(self.dropped),
            laps=tuple(self.watch.laps),
        )


def _tokens_of(candidates: Candidates, chunks_read: Counts, read: Counts) -> Counts:
    """The (n,) tokens of all documents; of one that was not read to its end by its length and the others' tokens."""
    whole = ~candidates.cut & (candidates.planned > 0) & (candidates.planned == chunks_read)
    characters = candidates.characters[whole].sum() / max(1, read[whole].sum()) or _CHARACTERS
    estimated = np.ceil(candidates.characters / characters).astype(np.int64)
    return np.where(whole, read, np.maximum(read, estimated))


_LEARNING = 0.001  # weight of one chunk in the learned cost of scoring, up to `_MOST` of them
_MOST = 100
_ANSWER_S = 0.01  # kept of a deadline for the way in and out
_FOR_ENCODING = 0.5  # of the time left, at least so much: a cost once learned too high must not stop all learning


@dataclass
class Pace:
    """The learned costs of scoring. Threads may share it: a lost update is soon made up for."""

    cost: float = 0.0  # seconds to score one chunk that has its states
    wait: float = 0.0  # seconds that a request waits for processors

    def encode_until(self, deadline: Deadline, to_score: int) -> float:
        """When encoding must end for so many chunks to be scored in time, in `time.monotonic()` seconds."""
        left = max(0.0, deadline.at - time.monotonic() - _ANSWER_S)
        reserve = min(self.wait + to_score * self.cost, left * (1 - _FOR_ENCODING))
        return deadline.at - _ANSWER_S - reserve

    def learn(self, ms: Mapping[str, float], chunks: int) -> None:
        """Learn from a request. ms: milliseconds by stage. chunks: how many it scored."""
        self.wait += _LEARNING * _MOST * (ms["wait"] / 1e3 - self.wait)
        if chunks:
            seconds = sum(ms.get(stage, 0.0) for stage in ("join", "classical", "quantum", "fuse")) / 1e3
            weight = 1.0 if self.cost == 0 else _LEARNING * min(chunks, _MOST)
            self.cost += weight * (seconds / chunks - self.cost)


_BATCH = 100  # documents that are cut at once, and chunks whose states are held and scored at once
_FIRST_STOPS = (8, 24, 56)  # so many of the first chunks are scored before the rest, where progress is reported


@dataclass(frozen=True)
class Part:
    """At most 100 chunks that are scored together. The same part may come again with more of them."""

    number: int
    owners: NDArray[np.int64]  # (c,) the documents that the chunks belong to
    chunks: NDArray[np.int64]  # (c,) their numbers for `candidates.states`, valid until the next part
    incomplete: bool  # whether the deadline left any chunk unread so far
    more: bool  # whether another part, or more of this one, follows


def parts(candidates: Candidates, promising: NDArray[np.int64], job: Job, pace: Pace) -> Iterator[Part]:
    """Have the (m,) promising documents encoded part by part: memory grows neither with m nor with their lengths.

    Each document is first read where it promises most. Where partial rankings are reported, the first part comes in
    pieces.
    """
    number = scored = 0
    incomplete, watch, deadline = candidates.late, job.watch, job.deadline
    for start in range(0, len(promising), _BATCH):
        batch, later = promising[start : start + _BATCH], promising[start + _BATCH :]
        ready = int(np.count_nonzero(candidates.ready[later]))
        with watch("encode"):
            owners = candidates.split(batch, job.terms, pace.encode_until(deadline, scored + len(batch) + ready))
        incomplete |= len(np.unique(owners)) < len(batch)
        for begin in range(0, max(1, len(owners)), _BATCH):  # once at least, to say that nothing was read
            chunks = np.arange(begin, min(begin + _BATCH, len(owners)))
            before, first = incomplete, _FIRST_STOPS if job.report and number == 0 else ()
            for stop in (*(stop for stop in first if stop < len(chunks)), len(chunks)):
                with watch("encode"):
                    until = pace.encode_until(deadline, scored + len(chunks) + ready)
                    encoded = candidates.encode(chunks[:stop], until, deadline)
                incomplete = before or len(encoded) < stop
                more = begin + stop < len(owners) or len(later) > 0
                yield Part(number, owners[encoded], encoded, incomplete, more)
            number, scored = number + 1, scored + len(encoded)
