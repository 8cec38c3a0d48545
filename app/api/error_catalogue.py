"""The catalogue of errors: for each stable code its HTTP statuses, what causes it, and what to do.

The service shows it at `/errors`, to which every problem's `help` leads; docs/errors.md is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from app.errors import (
    CollectionReadOnly,
    Conflict,
    DamagedCollection,
    FeedbackUnavailable,
    Forbidden,
    IndexUnavailable,
    InvalidRequest,
    KeysUnavailable,
    MalformedBody,
    ModelNotServed,
    NotReady,
    Overloaded,
    TooLarge,
    TooLate,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    UnknownCollection,
    UnknownDocument,
    UnknownJob,
    UnknownKey,
    UnknownRequest,
)
from quantum.errors import InvalidVector
from retrieval.errors import EncoderUnavailable, EncodingError

_AFTER = "yes, after `Retry-After`"


@dataclass(frozen=True)
class Entry:
    """One error. Its texts are plain sentences with `code`."""

    status: HTTPStatus
    cause: str
    fix: str
    retry: str = "no"  # whether the same request may succeed later
    retry_after_s: int | None = None  # for exceptions without one of their own
    also: tuple[HTTPStatus, ...] = ()  # further statuses of the same code
    more: str = ""  # where docs/ says more


ERRORS: Mapping[type[Exception], Entry] = {
    MalformedBody: Entry(
        HTTPStatus.BAD_REQUEST,
        "The body is not JSON in UTF-8, is compressed, or is nested too deeply.",
        "Send uncompressed JSON in UTF-8. Cut texts at characters: half of a surrogate pair is not UTF-8.",
    ),
    Unauthorized: Entry(
        HTTPStatus.UNAUTHORIZED,
        "The request has no key, an unknown one, or one that is revoked or expired.",
        "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`. The operator makes keys with `qrerank keys create` and "
        "sees them with `qrerank keys list`.",
        more="security.md#keys-and-tokens",
    ),
    Forbidden: Entry(
        HTTPStatus.FORBIDDEN,
        "The key's role or limits do not allow this, or the host name or the page's origin is not allowed.",
        "The message says which. Use a key of the role that it names, or ask the operator for `QRERANK_HOSTS` or "
        "`QRERANK_CORS__ORIGINS`.",
        more="security.md#roles",
    ),
    UnknownCollection: Entry(
        HTTPStatus.NOT_FOUND,
        "There is no collection of this name, or the key does not see it.",
        "`GET /v1/collections` lists those that the key sees. On the machine: `qrerank index list`, with the service's "
        "`QRERANK_DATA_DIR`.",
        more="collections.md",
    ),
    UnknownDocument: Entry(
        HTTPStatus.NOT_FOUND,
        "The collection has no document with this id.",
        "`GET /v1/collections/{name}/documents` lists the ids. In a path, encode them as parts of a URL.",
        more="http.md#collections",
    ),
    UnknownJob: Entry(
        HTTPStatus.NOT_FOUND,
        "There is no such job, or it is one of the oldest and was forgotten.",
        "Take the id from the answer that began the job. `GET /v1/collections/{name}/jobs` lists the newest.",
        more="http.md#jobs",
    ),
    UnknownKey: Entry(
        HTTPStatus.NOT_FOUND,
        "There is no key with this id or prefix.",
        "`GET /v1/admin/keys` or `qrerank keys list` shows the ids.",
        more="security.md#keys-and-tokens",
    ),
    UnknownRequest: Entry(
        HTTPStatus.NOT_FOUND,
        "No ranking with this `request_id` can be judged: it is unknown, too old, or another caller's.",
        "Send `X-Request-ID` of the ranking's own response, with the key that asked for it, and soon.",
        more="feedback.md",
    ),
    TooSlow: Entry(
        HTTPStatus.REQUEST_TIMEOUT,
        "The body did not arrive in time; of an upload, nothing came for so long.",
        "Send less at once, or over a better connection. The operator can raise `QRERANK_LIMITS__BODY_SECONDS`.",
        retry="yes",
    ),
    Conflict: Entry(
        HTTPStatus.CONFLICT,
        "What is there under this name is something else: a collection of another model, language or chunking, or an "
        "alias; or an alias leads to the collection that is to be deleted.",
        "Choose another name, or delete first what the message names.",
        more="http.md#aliases",
    ),
    ModelNotServed: Entry(
        HTTPStatus.CONFLICT,
        "The collection was made with a model that this service does not serve, or with another version of it. Its "
        "documents are kept; it is not searched and takes no writes.",
        "The operator adds the model to `QRERANK_MODELS` and restarts the service, or has a served one read the "
        "documents anew: `qrerank index encode NAME --model MODEL`, without a restart.",
        more="troubleshooting.md#a-model-that-is-not-served",
    ),
    TooLarge: Entry(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body, a count in it or its work is over a limit. The message has both numbers.",
        "Send the documents in parts, or fewer of them. The operator can raise the limit of `QRERANK_LIMITS` or of the "
        "tier in `QRERANK_QUOTAS`.",
        more="configuration.md#limits",
    ),
    InvalidRequest: Entry(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The JSON is not a valid request. The message and `detail` name the field.",
        "Correct that field. `/docs` shows every field of every route.",
        more="http.md#rerank",
    ),
    InvalidVector: Entry(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "A text in `exclude` means the same as the query, so nothing would be left.",
        "Exclude something narrower.",
        more="quantum.md",
    ),
    EncodingError: Entry(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The model has no usable vector for a text, or the model's server refuses the text.",
        "Leave out texts without words. If ordinary texts fail, `qrerank doctor` checks the model.",
        more="models.md",
    ),
    TooManyRequests: Entry(
        HTTPStatus.TOO_MANY_REQUESTS,
        "A quota of the caller is used up.",
        "Wait for `Retry-After` seconds. `GET /v1/usage` shows what was used; the operator can give a higher tier.",
        retry=_AFTER,
        more="security.md#quotas",
    ),
    NotReady: Entry(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The model is loading, failed to load, or the service stops.",
        "Wait for `Retry-After` seconds. `GET /health/ready` says which it is; `qrerank doctor` looks for the reason.",
        retry=_AFTER,
        retry_after_s=5,
        more="operations/runbooks/QrerankNotReady.md",
    ),
    DamagedCollection: Entry(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "No part of the collection passes the integrity check. No answer is better than a wrong one.",
        "Wait: the service indexes its documents again. If it lasts, the operator mends it with "
        "`qrerank index verify NAME --repair`, or restores it. No restart is needed.",
        retry=_AFTER,
        retry_after_s=60,
        more="troubleshooting.md#damaged-collection",
    ),
    CollectionReadOnly: Entry(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The collection takes no writes: the disk is full or read-only, or another process writes. Searches go on.",
        "Wait for `Retry-After` seconds. If it lasts, the operator makes room below `QRERANK_DATA_DIR`; "
        "`qrerank doctor` shows what is left.",
        retry=_AFTER,
        retry_after_s=5,
        more="collections.md",
    ),
    IndexUnavailable: Entry(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Milvus, which holds the collection's passages, does not answer. Requests with documents are served.",
        "The operator starts it or corrects `QRERANK_INDEX__URL`; no restart is needed.",
        retry=_AFTER,
        retry_after_s=1,  # a probe is sent every second
        more="collections.md",
    ),
    KeysUnavailable: Entry(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database of keys, or the issuer of tokens, does not answer; or the database takes no writes.",
        "Wait for `Retry-After` seconds. Keys that were used a moment ago still work. The operator mends what "
        "`/health/detailed` shows under `keys` or `issuer`.",
        retry=_AFTER,
        retry_after_s=1,
        more="operations/runbooks/QrerankKeysLost.md",
    ),
    FeedbackUnavailable: Entry(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database of feedback does not answer, or takes no writes. Requests are served as before.",
        "Send the judgements again after `Retry-After` seconds.",
        retry=_AFTER,
        retry_after_s=1,
        more="feedback.md",
    ),
    Overloaded: Entry(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Load shedding: there is more work than the processors can do in time, or too many connections.",
        "Wait for `Retry-After` seconds, and send fewer requests at once. The operator adds processors or replicas.",
        retry=_AFTER,
        more="operations/runbooks/QrerankOverloaded.md",
    ),
    EncoderUnavailable: Entry(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The server of a model behind a URL does not answer, or answers wrongly.",
        "Wait for `Retry-After` seconds. The operator starts it or corrects `QRERANK_ENCODER__REMOTE`.",
        retry=_AFTER,
        more="remote.md",
    ),
    TooLate: Entry(
        HTTPStatus.GATEWAY_TIMEOUT,
        "The deadline passed before the answer was complete, and half of it would be wrong.",
        "Send fewer texts, or a larger `deadline_ms`.",
        retry="with a larger `deadline_ms`",
    ),
}

NOT_FOUND, METHOD_NOT_ALLOWED, MALFORMED, INTERNAL = "not-found", "method-not-allowed", "malformed-request", "internal"
_BY_HTTP_ALONE: Mapping[str, Entry] = {  # no exception of ours causes them
    MALFORMED: Entry(
        HTTPStatus.BAD_REQUEST,
        "The request is not HTTP as it should be: control characters in the path, headers that are too large or too "
        "slow, chunks that are too small.",
        "The message says which. The operator can raise `QRERANK_LIMITS__HEAD_BYTES` and "
        "`QRERANK_LIMITS__HEAD_SECONDS`.",
        also=(HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ),
    NOT_FOUND: Entry(
        HTTPStatus.NOT_FOUND,
        "There is no such path.",
        "`/docs` lists the paths. Often a base URL has one part too many, such as a second `/v1`.",
        more="clients.md",
    ),
    METHOD_NOT_ALLOWED: Entry(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "The path takes other methods.",
        "The header `Allow` lists them.",
        more="http.md#routes",
    ),
    INTERNAL: Entry(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "A fault of the service.",
        "Try once more. The service's log has the cause under `request_id`; please report it, without texts.",
        retry="once",
        more="troubleshooting.md",
    ),
}


def code_of(kind: type[Exception]) -> str:
    """The code of an exception in the catalogue: its name in lower case with dashes."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("-")


_ALL = {**{code_of(kind): entry for kind, entry in ERRORS.items()}, **_BY_HTTP_ALONE}
CATALOGUE: Mapping[str, Entry] = dict(sorted(_ALL.items(), key=lambda item: (item[1].status, item[0])))  # by code
