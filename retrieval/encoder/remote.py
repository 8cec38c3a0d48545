"""A remote encoder: any server with OpenAI's `/v1/embeddings`. It gives one vector for each text, and none for tokens.

So the text's one token row is its pooled vector, and the quantum method compares whole texts. The server's tokenizer is
not known: tokens are estimated, to cut long texts and to count.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.atomic_dir import whole_folder
from retrieval.circuit_breaker import CircuitBreaker
from retrieval.encoder.embeddings_api import Busy, Refused, Unusable
from retrieval.encoder.embeddings_client import EmbeddingsClient, Endpoint
from retrieval.encoder.protocol import PASS_TOKENS, Granularity, Role, Tokens
from retrieval.encoder.states import Encoded, join, no_states, quantise, unit_rows
from retrieval.errors import EncoderUnavailable, EncodingError, ModelError
from retrieval.forks import begin
from retrieval.text.limits import most_code_points

log = logging.getLogger(__name__)

# About a token, rather fewer characters than more: four of a word in Latin, Greek or Cyrillic letters, else one.
_TOKEN = re.compile(r"[0-9A-Za-z_\u00aa-\u052f]{1,4}|\S")
_PROBE = "which bird sings at night"  # tells models apart by its vector, and whether the server works
_SAME = 0.999  # cosine of the probe's vectors from one model, whose last digits may differ with its server's batches
_FAILURES = 5  # in a row open the circuit
_RETRY_S = 60.0


@dataclass(frozen=True)
class RemoteText(Tokens):
    """A text, with as many token ids as are estimated."""

    text: str


@dataclass(frozen=True)
class Reach:
    """How much a server is sent."""

    batch: int  # texts in one request, 1 to PASS_TOKENS
    max_tokens: int  # estimated ones of a text, prompt included
    prompts: Mapping[str, str]  # by role, the text before each input


class RemoteEncoder:
    """A model behind a URL. Thread-safe."""

    granularity: Granularity = "document"
    late_interaction = False
    scripts = None

    def __init__(
        self,
        client: EmbeddingsClient,
        reach: Reach,
        probe: NDArray[np.float32],
        digest: str,
        retry_s: float = _RETRY_S,
    ) -> None:
        """Use a server that has answered once; see `connect`.

        Args:
            client: Asks the server.
            reach: How much it is sent.
            probe: The (P,) unit vector of the probe's text.
            digest: Identifies the model.
            retry_s: Seconds between two tries while the circuit is open.
        """
        self._client, self._reach, self._probe, self.digest = client, reach, probe, digest
        endpoint = client.endpoint
        self.name, self.streams = endpoint.model, endpoint.concurrency
        self.pooled_dimension = self.token_dimension = len(probe)
        longest = max((_count(prompt) for prompt in reach.prompts.values()), default=0)
        self.max_tokens = max(1, reach.max_tokens - longest)
        self.arithmetic = f"remote-{self.max_tokens}"  # states of texts that were cut elsewhere differ
        self._batch = reach.batch  # texts in one request: fewer once the server refused as many
        self.breaker = CircuitBreaker(
            f"the embeddings server at {endpoint.url}",
            self._check,
            retry_s,
            "only texts that are cached have vectors",
            failures=(EncoderUnavailable,),
            threshold=_FAILURES,
            disconnect=lambda idle_only: None if idle_only else client.close(),
        )
        begin(self)

    def begin(self) -> None:
        """Make threads for `encode`; see `forks`."""
        self._pool = ThreadPoolExecutor(self.streams, thread_name_prefix="encode")

    def tokenize(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Estimate the tokens of n texts, truncated to `max_tokens`; an empty text has one."""
        prompt, end = self._reach.prompts.get(role, ""), most_code_points(self.max_tokens)
        padded = -(-PASS_TOKENS // self._batch)  # a text's share of a pass, whatever its length
        found: list[Tokens] = []
        for text in texts:
            ends = [match.end() for match in islice(_TOKEN.finditer(text[:end]), self.max_tokens + 1)]
            read = text[: ends[self.max_tokens - 1]] if len(ends) > self.max_tokens else text[:end]
            count = max(1, min(len(ends), self.max_tokens))
            ids = np.zeros(count, dtype=np.int64)
            found.append(RemoteText(ids, np.ones(count, dtype=bool), padded, prompt + read))
        return found

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the code points [start, end) of the estimated tokens of n texts, (t, 2) int64 each."""
        spans = [[match.span() for match in _TOKEN.finditer(text)] for text in texts]
        return [np.array(rows, dtype=np.int64).reshape(-1, 2) for rows in spans]

    def row_spans(self, texts: Sequence[str], role: Role = "document") -> list[NDArray[np.int64]]:  # noqa: ARG002
        """Return (1, 2) zeros for each text: its one row is of no token."""
        return [np.zeros((1, 2), dtype=np.int64) for _ in texts]

    def forward(self, batch: Sequence[Tokens]) -> Encoded:
        """Return the states of b ≥ 1 texts of `tokenize`.

        Raises:
            EncodingError: A text has no usable vector, or the server refuses it.
            EncoderUnavailable: The server does not answer, or answers wrongly.
        """
        rows = unit_rows(self._embed([text.text for text in batch if isinstance(text, RemoteText)]))
        lengths = np.array([text.ids.size for text in batch], dtype=np.int64)
        return Encoded(rows, quantise(rows), np.arange(len(batch) + 1), lengths, np.zeros_like(lengths))

    def encode(self, texts: Sequence[str], role: Role = "document") -> Encoded:
        """Encode n texts, with up to `streams` requests at once."""
        if not texts:
            return no_states(self.pooled_dimension, self.token_dimension)
        return self.encode_tokens(self.tokenize(texts, role))

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Encoded:
        """Return the states of n ≥ 1 texts of `tokenize`, with up to `streams` requests at once."""
        batches = [tokens[at : at + self._batch] for at in range(0, len(tokens), self._batch)]
        return join([*self._pool.map(self.forward, batches)])

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The (n, P) vectors of n ≥ 1 texts, fewer requests being made while the server fails."""
        if not self.breaker.available:
            raise self._unavailable("has failed several times", self.breaker.retry_after_s)
        try:
            return self._tell_apart(texts)
        except EncoderUnavailable as error:
            self.breaker.fail(error)
            raise self._unavailable(f"fails: {error}", error.retry_after_s) from error

    def _tell_apart(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors; EncodingError if the server takes these texts not, and others it does."""
        try:
            rows = self._divide(texts)
        except (Refused, Busy) as error:
            if isinstance(error, Busy) and not error.is_fault:
                raise
            self._check()  # is it the texts, or the server?
            raise EncodingError(
                f"the server of the model {self.name!r} takes no such text ({error}); perhaps it is longer than the "
                "model reads: QRERANK_ENCODER__REMOTE__MAX_TOKENS"
            ) from error
        self.breaker.succeed()
        return rows

    def _divide(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of n ≥ 1 texts, half at a time if the server refuses so many; Refused if it refuses one."""
        most = self._batch
        if len(texts) > most:  # another thread's were refused since these were put together
            return np.concatenate([self._divide(texts[at : at + most]) for at in range(0, len(texts), most)])
        try:
            return self._client.embed(texts, self.pooled_dimension)
        except Refused:
            if len(texts) == 1:
                raise
        half = -(-len(texts) // 2)
        rows = np.concatenate([self._divide(texts[:half]), self._divide(texts[half:])])
        if half < self._batch:  # both halves were taken, so it was their number
            log.info("the server of the model %s takes no more than %d texts at once", self.name, half)
            self._batch = half
        return rows

    def _check(self) -> None:
        """EncoderUnavailable unless the server encodes the probe's text as it did at the start."""
        try:
            rows = unit_rows(self._client.embed([_PROBE], self.pooled_dimension, tries=1))
        except (Refused, EncodingError) as error:
            raise EncoderUnavailable(f"it takes no text at all ({error})") from error
        if rows[0] @ self._probe < _SAME:
            raise EncoderUnavailable("its vectors are those of another model than at the start: restart this service")

    def _unavailable(self, why: str, retry_after_s: float) -> EncoderUnavailable:
        """For clients, so without the server's address."""
        return EncoderUnavailable(f"the server of the model {self.name!r} {why}; try again later", retry_after_s)


def connect(
    endpoint: Endpoint,
    reach: Reach,
    memory: Path,
    *,
    retry_s: float = _RETRY_S,
    sleep: Callable[[float], None] | None = None,
) -> RemoteEncoder:
    """Ask a server for a first vector, and return its encoder.

    Args:
        endpoint: The server.
        reach: How much it is sent.
        memory: A folder in which the model's vector is kept, to know the model again.
        retry_s: Seconds between two tries while the server fails.
        sleep: Waits some seconds between two tries of a request.

    Raises:
        ModelError: The settings are wrong: the address, the key or the model's name.
        EncoderUnavailable: The server does not answer, or answers wrongly; it may do so later.
    """
    client = EmbeddingsClient(endpoint, sleep)
    try:
        probe = unit_rows(_first(client))[0]
    except (Unusable, Refused, EncodingError) as error:
        raise ModelError(f"the embeddings server at {endpoint.url} cannot be used: {error}") from error
    except EncoderUnavailable as error:
        raise EncoderUnavailable(f"the embeddings server at {endpoint.url} fails: {error}") from error
    identity = [endpoint.url, endpoint.model, len(probe), sorted(reach.prompts.items())]
    return RemoteEncoder(client, reach, probe, _digest(identity, probe, memory), retry_s)


def _first(client: EmbeddingsClient) -> NDArray[np.float32]:
    """The vector of the probe's text, (1, P), in the form that the server has."""
    try:
        return client.embed([_PROBE], None)
    except Refused:
        client.form = "float"
        return client.embed([_PROBE], None)


def _digest(identity: Sequence[object], probe: NDArray[np.float32], memory: Path) -> str:
    """Identify a model by where it is and by its probe's vector, as long as that stays about the same.

    Servers repeat a vector to a few digits only, so it is compared with the one that is kept.
    """
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    folder = memory / name[:16]
    known, replaced = _kept(folder, probe)
    if known is None:
        known = hashlib.sha256(name.encode() + np.rint(100 * probe).astype(np.int8).tobytes()).hexdigest()
        if replaced:
            log.warning(
                "the embeddings server at %s has another model than before: build collections again", identity[0]
            )
        try:
            with whole_folder(folder, replace=replaced) as partial:
                (partial / "probe.json").write_text(json.dumps({"digest": known, "vector": probe.tolist()}))
        except OSError as error:
            log.warning("%s cannot keep what tells models apart: %s", memory, error.strerror)
        known = _kept(folder, probe)[0] or known  # perhaps of a process that was faster
    return known


def _kept(folder: Path, probe: NDArray[np.float32]) -> tuple[str | None, bool]:
    """The digest that is kept for about this vector, and whether there is another one in its place."""
    try:
        kept = json.loads((folder / "probe.json").read_text())
        same = float(np.array(kept["vector"]) @ probe) >= _SAME
        return (str(kept["digest"]), False) if same else (None, True)
    except (OSError, ValueError, KeyError, TypeError):
        return None, folder.exists()  # absent or damaged


def _count(text: str) -> int:
    return sum(1 for _ in _TOKEN.finditer(text))
