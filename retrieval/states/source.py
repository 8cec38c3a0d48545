"""From texts to their states, at the least cost: remembered here, remembered by a replica, or encoded now."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from retrieval.deadline import Deadline
from retrieval.encoder.batching import SharedEncoder
from retrieval.encoder.chunks import USUAL, Chunker, Cuts, Reading
from retrieval.encoder.protocol import Encoder, Role, Tokens
from retrieval.encoder.states import Encoded, join
from retrieval.states.cache import StateCache, StateKeys
from retrieval.states.record import TextState
from retrieval.text.bm25 import terms_of
from retrieval.text.limits import most_code_points, runs

if TYPE_CHECKING:
    from retrieval.states.redis import RedisStates


_LONG = 8  # code points a token, and more: a text of so many is not worth a try whether the encoder reads it whole


@dataclass(frozen=True)
class Opened:
    """What is known of a document that is about to be read."""

    cuts: Cuts
    state: TextState | None = None  # of the whole text
    read: Tokens | None = None  # the whole text as the encoder reads it


class StateSource:
    """The states of texts; safe to share between threads, which then share passes of the encoder and what is cached."""

    def __init__(self, encoder: Encoder, cache: StateCache | None = None, replicas: RedisStates | None = None) -> None:
        """Take an encoder, a cache (none: nothing is remembered), and what replicas remember together."""
        self.encoder = encoder
        self.shared_encoder = SharedEncoder(encoder)
        self.cache = cache or StateCache(0)
        self.replicas = replicas
        self._keys = StateKeys(encoder.digest, encoder.arithmetic)
        self.chunker = Chunker(encoder, partial(self._keys, "document"))
        self.code_points = most_code_points(encoder.max_tokens)  # looked at of a text that is not cut into chunks
        # By reading: of how many code points a text is surely read to its end, and how many are looked at of any.
        self.bounds = lru_cache(64)(lambda reading: (self.chunker.limit(reading), self.chunker.code_points(reading)))
        self._counted = True

    def isolated_copy(self, cache: StateCache | None = None) -> StateSource:
        """The same encoder, to see whether it works: nothing is counted or learned of its costs.

        cache: where something is remembered; nowhere if absent.

        Texts take their turn among all others, and passes that they share with others count as those do.
        """
        other = copy.copy(self)
        other.cache, other.replicas, other._counted = cache or StateCache(0), None, False
        return other

    def known(self, texts: Iterable[str], role: Role = "document") -> list[TextState | None]:
        """What is remembered here of n texts."""
        return self.cache.get([self._keys(role, text) for text in texts])

    def uncached(self, texts: Sequence[str]) -> list[str]:
        """Those of n documents of which nothing is remembered here: neither the states nor, of long ones, the cuts.

        As much of each as would be looked at.
        """
        _, end = self.bounds(USUAL)
        texts = [text[:end] for text in texts]
        known = self.cache.has([self._keys("document", text) for text in texts])
        rest = [text for text, there in zip(texts, known, strict=True) if not there]
        return rest and [
            text for text, cuts in zip(rest, self.chunker.remembered(rest, USUAL), strict=True) if cuts is None
        ]

    def is_whole(self, state: TextState) -> bool:
        """Whether it is surely the state of all its text: the encoder may have cut one off that fills it."""
        return int(state.encoded.lengths[0]) < self.encoder.max_tokens

    def open(self, texts: Sequence[str], reading: Reading, until: float) -> list[Opened | None]:
        """Where n documents are cut that are not known here as a whole; None for each that it was too late to look at.

        One that turns up as a whole brings along its state, or itself as the encoder reads it; this costs what reading
        it would have cost. until: `time.monotonic()` seconds; half of the time until then may pass in cutting.
        """
        opened = {at: Opened(cuts) for at, cuts in enumerate(self.chunker.remembered(texts, reading)) if cuts}
        now = time.monotonic()
        if now < until and len(opened) < len(texts):
            opened |= self._whole({at: text for at, text in enumerate(texts) if at not in opened}, (now + until) / 2)
            long = [at for at in range(len(texts)) if at not in opened]
            cuts = self.chunker.cuts([texts[at] for at in long], reading, (now + until) / 2)
            opened |= {at: Opened(of) for at, of in zip(long, cuts, strict=True) if of}
        return [opened.get(at) for at in range(len(texts))]

    def find(
        self,
        texts: Sequence[str],
        terms: Sequence[str],
        until: float,
        deadline: Deadline,
        role: Role = "document",
        read: Sequence[Tokens | None] = (),
    ) -> list[TextState | None]:
        """The states of n texts that are not known here, the first most urgently; None for what `until` cut off.

        terms: those of `terms_of`, to be remembered with the states. until: `time.monotonic()` seconds. read: those as
        the encoder reads them that `open` gave in that form; empty for none of all.
        Raises Cancelled, or EncodingError for a text without a usable vector.
        """
        keys = [self._keys(role, text) for text in texts]
        tokens = {at: of for at, of in enumerate(read) if of is not None}
        fresh = self._shared([key for at, key in enumerate(keys) if at not in tokens])
        missing = [at for at, key in enumerate(keys) if key not in fresh]
        unread = [at for at in missing if at not in tokens]
        if missing:
            tokens |= self._tokenize({at: texts[at] for at in unread}, until, role)
            missing = [at for at in missing if at in tokens]
            wanted = [tokens[at] for at in missing]
            encoded = self.shared_encoder.encode(
                [keys[at] for at in missing], wanted, until, deadline, counted=self._counted
            )
            made = {
                keys[at]: TextState(states, terms[at])
                for at, states in zip(missing, encoded, strict=True)
                if states is not None
            }
            if self.replicas:
                self.replicas.put(made)
            self.cache.put(made)
            fresh |= made
        return [fresh.get(key) for key in keys]

    def _tokenize(self, texts: Mapping[int, str], until: float, role: Role = "document") -> dict[int, Tokens]:
        """The texts, by any number, as the encoder reads them, without those for which it is too late."""
        found: dict[int, Tokens] = {}
        numbers = list(texts)
        for run in runs([min(len(text), self.code_points) for text in texts.values()]):
            if time.monotonic() >= until:
                break
            some = numbers[run]
            found |= zip(some, self.encoder.tokenize([texts[at] for at in some], role), strict=True)
        return found

    def _whole(self, texts: Mapping[int, str], until: float) -> dict[int, Opened]:
        """Those of the texts, by any number, that are whole to the encoder."""
        keys = {at: self._keys("document", text) for at, text in texts.items()}
        states = self._shared(list(keys.values()))
        found = {
            at: Opened((0, len(texts[at])), state=states[key])
            for at, key in keys.items()
            if key in states and self.is_whole(states[key])
        }
        longest = _LONG * self.chunker.size
        short = {at: text for at, text in texts.items() if at not in found and len(text) <= longest}
        for at, read in self._tokenize(short, until).items():
            if read.ids.size < self.encoder.max_tokens:
                found[at] = Opened((0, len(texts[at])), read=read)
        return found

    def _shared(self, keys: Sequence[bytes]) -> dict[bytes, TextState]:
        """What replicas remember of these keys; from now on this one does, too."""
        if not (self.replicas and keys):
            return {}
        found = {key: state for key, state in zip(keys, self.replicas.get(keys), strict=True) if state is not None}
        self.cache.put(found)
        return found

    def ask(self, texts: Sequence[str], until: float, deadline: Deadline) -> Encoded | None:
        """The states of a query's n ≥ 1 texts; None unless all are there by `until`."""
        texts = [text[: self.code_points] for text in texts]
        states = self.known(texts, "query")
        missing = [at for at, state in enumerate(states) if state is None]
        wanted = [texts[at] for at in missing]
        found = self.find(wanted, [terms_of(text) for text in wanted], until, deadline, "query") if missing else []
        for at, state in zip(missing, found, strict=True):
            states[at] = state
        parts = [state.encoded for state in states if state is not None]
        return join(parts) if len(parts) == len(texts) else None
