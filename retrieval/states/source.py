"""The states of texts: from the in-process cache, the shared Redis cache, or the encoder."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from retrieval.deadline import Deadline
from retrieval.encoder.batching import SharedEncoder
from retrieval.encoder.chunks import USUAL, Chunker, Cuts, Reading, cut_up
from retrieval.encoder.jobs import Interrupted, Job
from retrieval.encoder.protocol import Encoder, Role, Tokens
from retrieval.encoder.states import Encoded, join, merge
from retrieval.states.cache import StateCache, StateKeys
from retrieval.states.record import TextState
from retrieval.text.bm25 import NO_TERMS, Terms
from retrieval.text.limits import most_code_points, runs

if TYPE_CHECKING:
    from retrieval.states.redis import RedisStates


_LONG = 8  # code points per token; a text with more is not tokenised to see whether it fits into one chunk


PendingStates = Callable[[], Encoded | None]  # the states of a query, which are waited for


@dataclass(frozen=True)
class Opened:
    """The chunk boundaries of a document, with its state or tokens if it fits into one chunk."""

    cuts: Cuts
    state: TextState | None = None  # state of the whole text
    read: Tokens | None = None  # tokens of the whole text


@dataclass(frozen=True)
class _Announced:
    """Texts by their keys, some of which wait for the encoder."""

    keys: Sequence[bytes]
    states: Mapping[bytes, TextState]  # from the shared cache
    terms: Mapping[bytes, Terms]  # of the job's texts, in its order
    job: Job[Encoded]


class StateSource:
    """Provides the states of texts. Thread-safe: threads share the caches and the encoder's batches."""

    def __init__(self, encoder: Encoder, cache: StateCache | None = None, replicas: RedisStates | None = None) -> None:
        """Create a source.

        Args:
            encoder: Encodes the texts that are not cached.
            cache: The in-process cache; None to cache nothing.
            replicas: The Redis cache that all replicas share; None for no shared cache.

        TypeError for the name of a model in place of its encoder.
        """
        given: object = encoder  # untyped callers give names
        if isinstance(given, str):
            raise TypeError(f"{given!r} is the name of a model; give its encoder, which load_encoder opens")
        self.encoder = encoder
        self.shared_encoder = SharedEncoder(encoder)
        self.cache = cache or StateCache(0)
        self.replicas = replicas
        self._keys = StateKeys(encoder.digest, encoder.arithmetic)
        self.chunker = Chunker(encoder, partial(self._keys, "document"))
        self._query_chunker = Chunker(encoder, partial(self._keys, "query"), "query")
        self.code_points = most_code_points(encoder.max_tokens)  # limit for a text that is not cut into chunks
        # For a `Reading`: a text of at most the first number of code points is always read completely; of a longer text
        # at most the second number of code points is used.
        self.bounds = lru_cache(64)(lambda reading: (self.chunker.limit(reading), self.chunker.code_points(reading)))
        self._counted = True

    def isolated_copy(self, cache: StateCache | None = None) -> StateSource:
        """Return an isolated copy for probes, with the same encoder: its texts change no counters or cost estimates.

        cache: the cache of the copy; None to cache nothing.

        Its texts queue with all others; batches that they share with other texts are counted.
        """
        duplicate = copy.copy(self)
        duplicate.cache, duplicate.replicas, duplicate._counted = cache or StateCache(0), None, False
        return duplicate

    def cached(self, texts: Iterable[str], role: Role = "document") -> list[TextState | None]:
        """Return the states of n texts from the in-process cache, None for a miss."""
        return self.cache.get([self._keys(role, text) for text in texts])

    def uncached(self, texts: Sequence[str]) -> list[str]:
        """Return those of n documents with neither a state nor chunk boundaries in this process, each truncated."""
        _, end = self.bounds(USUAL)
        texts = [text[:end] for text in texts]
        is_cached = self.cache.has([self._keys("document", text) for text in texts])
        missing = [text for text, hit in zip(texts, is_cached, strict=True) if not hit]
        cuts = self.chunker.cached(missing, USUAL) if missing else ()
        return [text for text, of in zip(missing, cuts, strict=True) if of is None]

    def is_whole(self, state: TextState) -> bool:
        """Whether the text was certainly not truncated: a state of `max_tokens` tokens may be of a longer text."""
        return int(state.encoded.lengths[0]) < self.encoder.max_tokens

    def find_cuts(self, texts: Sequence[str], reading: Reading, until: float) -> list[Opened | None]:
        """Return the chunk boundaries of n documents without a cached state; None for each skipped for lack of time.

        A document that fits into one chunk comes with its state from the shared cache or with its tokens, so that it is
        not tokenised twice.

        Args:
            texts: The documents.
            reading: How much of each document is read.
            until: Time limit, in `time.monotonic()` seconds; at most half of the remaining time is used.
        """
        opened = {at: Opened(cuts) for at, cuts in enumerate(self.chunker.cached(texts, reading)) if cuts}
        now = time.monotonic()
        if now < until and len(opened) < len(texts):
            unopened = {at: text for at, text in enumerate(texts) if at not in opened}
            opened |= self._open_short(unopened, (now + until) / 2)
            long = [at for at in range(len(texts)) if at not in opened]
            boundaries = self.chunker.cuts([texts[at] for at in long], reading, (now + until) / 2)
            opened |= {at: Opened(cuts) for at, cuts in zip(long, boundaries, strict=True) if cuts}
        return [opened.get(at) for at in range(len(texts))]

    def encode(
        self,
        texts: Sequence[str],
        terms: Sequence[Terms],
        until: float,
        deadline: Deadline,
        role: Role = "document",
        read: Sequence[Tokens | None] = (),
    ) -> list[TextState | None]:
        """Return the states of n texts that are not in the in-process cache: from the shared cache, or encoded now.

        Args:
            texts: The texts, the most urgent first.
            terms: The terms of each text; cached with the states.
            until: Time limit, in `time.monotonic()` seconds; texts not encoded by then are None in the result.
            deadline: The deadline of the request; may be cancelled from another thread.
            role: Whether the texts are queries or documents.
            read: The tokens of the texts that `find_cuts` returned with tokens, None for the others; empty for none.

        Raises:
            Cancelled: The deadline was cancelled.
            EncodingError: A text has no usable vector.
            EncoderUnavailable: The encoder is on another machine and fails; what it had encoded is cached.
        """
        return self._waited(self._announce(texts, terms, until, deadline, role, read))

    def _announce(
        self,
        texts: Sequence[str],
        terms: Sequence[Terms],
        until: float,
        deadline: Deadline,
        role: Role,
        read: Sequence[Tokens | None] = (),
    ) -> _Announced:
        """Queue for the encoder what the shared cache does not have of n texts; see `encode`."""
        keys = [self._keys(role, text) for text in texts]
        tokens = {at: text_tokens for at, text_tokens in enumerate(read) if text_tokens is not None}
        states = self._fetch_shared([key for at, key in enumerate(keys) if at not in tokens])
        missing = [at for at, key in enumerate(keys) if key not in states]
        tokens |= self._tokenize({at: texts[at] for at in missing if at not in tokens}, until, role)
        wanted = {keys[at]: at for at in missing if at in tokens}
        job = self.shared_encoder.announce(
            list(wanted), [tokens[at] for at in wanted.values()], until, deadline, counted=self._counted
        )
        return _Announced(keys, states, {key: terms[at] for key, at in wanted.items()}, job)

    def _waited(self, announced: _Announced) -> list[TextState | None]:
        """Wait for the states of announced texts, and cache the new ones."""
        failure = None
        try:
            encoded: Sequence[Encoded | None] = self.shared_encoder.result(announced.job)
        except Interrupted as error:
            failure, encoded = error, error.encoded
        of_each = zip(announced.terms.items(), encoded, strict=True)
        states = {key: TextState(state, terms) for (key, terms), state in of_each if state is not None}
        if self.replicas and states:
            self.replicas.put(states)
        self.cache.put(states)
        if failure:
            raise failure
        states |= announced.states
        return [states.get(key) for key in announced.keys]

    def _tokenize(self, texts: Mapping[int, str], until: float, role: Role = "document") -> dict[int, Tokens]:
        """Tokenise texts by index; those not reached by `until` are missing in the result."""
        tokens: dict[int, Tokens] = {}
        indices = list(texts)
        for run in runs([min(len(text), self.code_points) for text in texts.values()]):
            if time.monotonic() >= until:
                break
            batch = indices[run]
            tokens |= zip(batch, self.encoder.tokenize([texts[at] for at in batch], role), strict=True)
        return tokens

    def _open_short(self, texts: Mapping[int, str], until: float) -> dict[int, Opened]:
        """Return those of the texts, by index, that the encoder reads completely in one chunk."""
        keys = {at: self._keys("document", text) for at, text in texts.items()}
        states = self._fetch_shared(list(keys.values()))
        opened = {
            at: Opened((0, len(texts[at])), state=states[key])
            for at, key in keys.items()
            if key in states and self.is_whole(states[key])
        }
        longest = _LONG * self.chunker.size
        short = {at: text for at, text in texts.items() if at not in opened and len(text) <= longest}
        for at, tokens in self._tokenize(short, until).items():
            if tokens.ids.size < self.encoder.max_tokens:
                opened[at] = Opened((0, len(texts[at])), read=tokens)
        return opened

    def _fetch_shared(self, keys: Sequence[bytes]) -> dict[bytes, TextState]:
        """Return the states of these keys from the shared cache, and put them into the in-process cache."""
        if not (self.replicas and keys):
            return {}
        states = {key: state for key, state in zip(keys, self.replicas.get(keys), strict=True) if state is not None}
        self.cache.put(states)
        return states

    def encode_query(self, texts: Sequence[str], until: float, deadline: Deadline) -> Encoded | None:
        """Return what `announced_query` waits for."""
        with self.announced_query(texts, until, deadline) as query_states:
            return query_states()

    @contextmanager
    def announced_query(self, texts: Sequence[str], until: float, deadline: Deadline) -> Iterator[PendingStates]:
        """Queue a query's n ≥ 1 texts for the encoder within the block. What is queued together shares its passes.

        The block gets what waits for their states: cached or encoded now; None if one is not ready by `until`.
        A long text is read in chunks: its token rows follow each other, and its pooled vector is the mean of theirs,
        weighted by their numbers of tokens.

        Args:
            texts: The query, then the texts that it excludes.
            until: Time limit, in `time.monotonic()` seconds.
            deadline: The deadline of the request.

        Raises:
            EncoderUnavailable: The encoder is on another machine and fails.
        """
        chunks = [self.query_chunks(text) for text in texts]
        pieces = [piece for text in chunks for piece in text]
        states = self.cached(pieces, "query")
        missing = [piece for piece, state in zip(pieces, states, strict=True) if state is None]
        announced = self._announce(missing, [NO_TERMS] * len(missing), until, deadline, "query") if missing else None

        def waited() -> Encoded | None:
            new = iter(self._waited(announced) if announced else ())
            found = [state or next(new) for state in states]
            if None in found:
                return None
            rows = iter([state.encoded for state in found if state is not None])
            whole = [merge([next(rows) for _ in text]) if len(text) > 1 else next(rows) for text in chunks]
            return join(whole) if len(whole) != 1 else whole[0]

        try:
            yield _once(waited)
        finally:
            if announced:
                self.shared_encoder.withdraw(announced.job)

    def is_cut(self, query: str) -> bool:
        """Whether a query is longer than what is read of it."""
        return sum(map(len, self.query_chunks(query))) < len(query)

    def query_chunks(self, text: str) -> list[str]:
        """Return the chunks in which a query is read, from its beginning."""
        if text.isascii() and len(text) <= self._query_chunker.size:  # one character of another script may be 18 tokens
            return [text]
        [cuts] = self._query_chunker.cuts([text], USUAL)
        return cut_up(text, cuts) if cuts else [text]


def _once(make: PendingStates) -> PendingStates:
    """What is made by the first thread that asks, for all."""
    lock, made = threading.Lock(), list[Encoded | None]()

    def get() -> Encoded | None:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get
