"""Every error that a client can get. `app.api.error_catalogue` has its HTTP status, its cause and what to do.

ServiceError
├── MalformedBody       400
├── Unauthorized        401
├── Forbidden           403
├── UnknownCollection   404
├── UnknownDocument     404
├── UnknownJob          404
├── UnknownKey          404
├── UnknownRequest      404
├── TooSlow             408
├── Conflict            409
├── ModelNotServed      409
├── TooLarge            413
├── InvalidRequest      422
├── TooManyRequests     429
├── NotReady            503
├── DamagedCollection   503
├── CollectionReadOnly  503
├── IndexUnavailable    503
├── KeysUnavailable     503
│   ├── KeysReadOnly        503
│   └── KeysMisconfigured   503
├── FeedbackUnavailable 503
├── Overloaded          503
└── TooLate             504
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType


class ServiceError(Exception):
    """An error whose message is for the client. It says what to do and contains no text of the client."""

    members: Mapping[str, object] = MappingProxyType({})  # further members of the problem, for programs


class MalformedBody(ServiceError):
    """The body is not JSON in UTF-8."""


class Unauthorized(ServiceError):
    """The request has no credential, or no valid one."""


class Forbidden(ServiceError):
    """The caller is authenticated but may not do this."""


class UnknownCollection(ServiceError):
    """No collection has this name."""


class UnknownDocument(ServiceError):
    """The collection has no document with this id."""


class UnknownJob(ServiceError):
    """The collection has no job of this id."""


class UnknownKey(ServiceError):
    """No key has this id."""


class UnknownRequest(ServiceError):
    """No ranking has this request id, or none that can be judged."""


class TooSlow(ServiceError):
    """The body did not arrive in time."""


class Conflict(ServiceError):
    """What exists under this name is not what is asked for."""


class ModelNotServed(ServiceError):
    """The collection was made with a model that the service does not serve: nothing can search it or write to it."""


class TooLarge(ServiceError):
    """The body, or a count in it, is over a limit."""


class InvalidRequest(ServiceError):
    """The JSON is not a valid request."""

    def __init__(self, message: str, where: Sequence[str | int] = ()) -> None:
        """where: the path to the first invalid field."""
        super().__init__(message)
        self.where = tuple(where)


class TooManyRequests(ServiceError):
    """A quota is used up."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        """retry_after_s: seconds until the quota's window ends."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    """The model is not loaded yet, or failed to load."""


class DamagedCollection(ServiceError):
    """The collection fails its integrity check or cannot be opened. No answer is better than a wrong one."""


class CollectionReadOnly(ServiceError):
    """The collection can be searched and takes no writes: a full or read-only disk, or another process that writes."""


class IndexUnavailable(ServiceError):
    """Milvus, which holds the collection's passages, does not answer. Requests with documents are served."""


class KeysUnavailable(ServiceError):
    """Keys cannot be checked at the moment."""

    message = "keys cannot be checked at the moment, because their store does not answer; try again"

    def __init__(self, reason: str) -> None:
        """reason: for the operator's log; the client does not get it."""
        super().__init__(self.message)
        self.reason = reason


class KeysReadOnly(KeysUnavailable):
    """Keys can be checked, but neither keys nor usage can be written."""

    message = "keys cannot be changed at the moment, because their store takes no writes; try again"


class KeysMisconfigured(KeysUnavailable):
    """Keys cannot be checked until the settings are changed."""


class FeedbackUnavailable(ServiceError):
    """Feedback cannot be read or written at the moment. Requests are served as before."""

    def __init__(self, reason: str) -> None:
        """reason: for the operator's log; the client does not get it."""
        super().__init__("feedback is not taken at the moment, because its store does not answer; try again")
        self.reason = reason


class Overloaded(ServiceError):
    """The request is rejected because the service has too much work."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        """retry_after_s: seconds after which the client may try again."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooLate(ServiceError):
    """The deadline passed before the answer was complete, and a partial answer would be wrong."""
