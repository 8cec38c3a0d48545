"""Every error that a client can get. The statuses are those of `app.api.problems`, which makes answers of them.

ServiceError
├── MalformedBody       400
├── Unauthorized        401
├── Forbidden           403
├── UnknownCollection   404
├── UnknownKey          404
├── TooSlow             408
├── TooLarge            413
├── InvalidRequest      422
├── TooManyRequests     429
├── NotReady            503
├── DamagedCollection   503
├── KeysUnavailable     503
├── Overloaded          503
└── TooLate             504
"""

from __future__ import annotations

from collections.abc import Sequence


class ServiceError(Exception):
    """An error whose message is meant for the client: it says what to do and repeats none of the client's text."""


class MalformedBody(ServiceError):
    """The body is not JSON in UTF-8."""


class Unauthorized(ServiceError):
    """No key, or none that is known."""


class Forbidden(ServiceError):
    """The caller's role may not do this."""


class UnknownCollection(ServiceError):
    """No collection has this name."""


class UnknownKey(ServiceError):
    """No key has this id."""


class TooSlow(ServiceError):
    """The body took longer to come than one may."""


class TooLarge(ServiceError):
    """The body, or a count in it, is over a limit."""


class InvalidRequest(ServiceError):
    """The JSON is not a request."""

    def __init__(self, message: str, where: Sequence[str | int] = ()) -> None:
        """where: the way to the first field at fault."""
        super().__init__(message)
        self.where = tuple(where)


class TooManyRequests(ServiceError):
    """A quota is used up."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        """retry_after_s: when there is some of it again."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    """The model is not loaded yet, or failed to load."""


class DamagedCollection(ServiceError):
    """The collection fails its self-check, or cannot be opened: no answer is better than a wrong one."""


class KeysUnavailable(ServiceError):
    """Whether a key is known cannot be told at the moment."""

    message = "keys cannot be checked at the moment, since what holds them does not answer; try again"

    def __init__(self, reason: str) -> None:
        """reason: for whoever runs the service; clients are not told it."""
        super().__init__(self.message)
        self.reason = reason


class KeysReadOnly(KeysUnavailable):
    """Keys can be checked, and neither changed nor their usage written."""

    message = "keys cannot be changed at the moment, since what holds them takes no writes; try again"


class KeysMisconfigured(KeysUnavailable):
    """The same, until somebody changes the settings."""


class Overloaded(ServiceError):
    """There is so much work that this would come to little."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        """retry_after_s: when it may be otherwise."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooLate(ServiceError):
    """The deadline passed before there was an answer, and half an answer would be wrong."""
