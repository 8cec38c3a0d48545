"""OpenAI's embeddings API as bytes and statuses: what is sent, and what an answer means. No input or output here."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.errors import EncoderUnavailable
from retrieval.text.characters import well_formed

Format = Literal["base64", "float"]

_BUSY = {408, 425, 429, 500, 502, 503, 504}  # another try may help
_REFUSED = {400, 413, 422}  # what was sent is wrong, or too much
_UNUSABLE = {401, 403, 404, 405}  # the settings are wrong, or a key was revoked


class Busy(EncoderUnavailable):
    """There was no answer, or none yet: another try may help."""

    def __init__(self, message: str, retry_after_s: float | None = None, *, is_fault: bool = False) -> None:
        """Take the reason.

        Args:
            message: What happened.
            retry_after_s: Seconds after which the server wants to be asked again, if it says so.
            is_fault: Whether the server answered that it failed, as it may do at one text of all.
        """
        super().__init__(message, retry_after_s or 1.0)
        self.wanted_s, self.is_fault = retry_after_s, is_fault


class Refused(Exception):
    """The server takes these texts not, or not so many at once."""


class Unusable(EncoderUnavailable):
    """The settings are wrong: the address, the key or the model's name."""


def request_body(model: str, texts: Sequence[str], form: Format) -> bytes:
    """Return the JSON that asks for the vectors of n texts. Servers refuse empty texts: a blank stands for them."""
    readable = [well_formed(text) or " " for text in texts]
    return orjson.dumps({"model": model, "input": readable, "encoding_format": form})


def check_status(status: int, retry_after_s: float | None) -> None:
    """Raise what an HTTP status means unless it is 200.

    Args:
        status: The status.
        retry_after_s: The header Retry-After in seconds, if there is one.

    Raises:
        Busy: Another try may help.
        Refused: It is about these texts, or their number.
        Unusable: The settings are wrong.
        EncoderUnavailable: Any other status.
    """
    if status == 200:
        return
    if status in _BUSY:
        raise Busy(f"it answered {status}", retry_after_s, is_fault=status == 500)
    if status in _REFUSED:
        raise Refused(f"it answered {status}")
    if status in _UNUSABLE:
        raise Unusable(f"it answered {status}: check the URL, the API key and the model's name")
    if 300 <= status < 400:
        raise Unusable(f"it answered {status}, and redirects are not followed; write the address that it leads to")
    raise EncoderUnavailable(f"it answered {status}")


def vectors(body: bytes, count: int, dimension: int | None) -> NDArray[np.float32]:
    """Return the (n, P) vectors of an answer in the order of the texts; their numbers may be infinite or NaN.

    Args:
        body: The answer's body: JSON with floats or base64.
        count: n, the number of texts that were sent.
        dimension: P; None: whatever it is.

    Raises:
        EncoderUnavailable: It is no such answer, or has another number of vectors or dimensions.
    """
    rows: list[NDArray[np.float32] | None] = [None] * count
    entries = _entries(body)
    if len(entries) != count:
        raise EncoderUnavailable(f"it answered with {len(entries)} vectors for {count} texts")
    for entry in entries:
        index = entry.get("index")
        if type(index) is not int or not 0 <= index < count or rows[index] is not None:
            raise EncoderUnavailable("the indices in its answer are not those of the texts")
        rows[index] = _vector(entry.get("embedding"))
    found = [row for row in rows if row is not None]
    expected = dimension or len(found[0])
    for row in found:
        if len(row) != expected:
            raise EncoderUnavailable(
                f"it answered with a vector of {len(row)} numbers after {expected}: if the model behind the URL was "
                "replaced, restart this service"
            )
    return np.stack(found)


def _entries(body: bytes) -> list[dict[str, Any]]:
    try:
        document = _parse(body)
    except (ValueError, RecursionError) as error:
        raise EncoderUnavailable("its answer is not JSON") from error
    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise EncoderUnavailable("its answer has no list `data` of objects")
    return entries


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)  # reads NaN, which some servers write: then one text has no vector, and not all of them


def _vector(embedding: object) -> NDArray[np.float32]:
    """An (P,) vector, P ≥ 1."""
    try:
        with np.errstate(over="ignore"):  # becomes infinite, and is found out
            row = (
                np.frombuffer(b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
                if isinstance(embedding, str)
                else np.array(embedding, dtype=np.float32)
            )
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise EncoderUnavailable("an embedding in its answer is neither a list of numbers nor base64") from error
    if row.ndim != 1 or not len(row):
        raise EncoderUnavailable("an embedding in its answer is not one list of numbers")
    return row
