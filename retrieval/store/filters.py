"""Filters: conditions on the metadata of documents, defined on one document and translated to SQL.

    {"eq": {"lang": "de"}}      {"in": {"tag": ["a", "b"]}}        {"range": {"year": {"gte": 2020, "lt": 2024}}}
    {"exists": "author.name"}   {"and": […]}   {"or": […]}         {"not": {…}}

docs/collections.md says what each means. Every condition is either true or false of a document: `not` is exactly the
rest. `matches` is the definition; `where` is its translation, and a test compares them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

import orjson

MOST_LEVELS = 16
MOST_CONDITIONS = 256
MOST_VALUES = 1000  # in all lists of one filter together
LONGEST_FIELD = 1000  # characters of a path

Field = tuple[str, ...]  # names of objects within objects
Scalar = str | int | float | bool | None
Place = tuple[str | int, ...]  # in the JSON

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_OPERATORS = ("eq", "in", "range", "exists", "and", "or", "not")
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 24 * 60 * 60 * 1_000_000  # microseconds
_LARGEST = 2**63  # SQLite's integers are below it; larger ones are floating-point numbers there, and so here


class FilterError(ValueError):
    """A filter that is not valid; the message begins with the place, and holds nothing of what was sent."""

    def __init__(self, place: Place, message: str) -> None:
        """place: where in the filter."""
        super().__init__(f"{'.'.join(map(str, place))}: {message}" if place else message)


class Where(NamedTuple):
    """A condition of SQL on a row of the table of documents, and the values of its parameters."""

    sql: str
    values: tuple[str | int | float, ...]

    def among(self, numbers: list[int]) -> Where:
        """Return the condition that a document has one of these numbers, and that this one holds of it."""
        sql = f"number IN (SELECT value FROM json_each(?)) AND {self.sql}"  # noqa: S608 - no value is in it
        return Where(sql, (json.dumps(numbers), *self.values))


ALL = Where("1", ())


class Filter(Protocol):
    """A condition on metadata. Equal ones are equal, and have equal hashes."""

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether it is true of a document with this metadata."""

    def where(self) -> Where:
        """Return the same condition in SQL, which is 0 or 1 and never NULL."""


@dataclass(frozen=True)
class In:
    """Whether a field holds one of some values: it is the value, or a list that contains it."""

    field: Field
    values: tuple[Scalar, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        wanted = {_typed(value) for value in self.values}
        return any(_typed(value) in wanted for value in _scalars(metadata, self.field))

    def where(self) -> Where:
        """See `Filter.where`."""
        types = [json.dumps(value) for value in self.values if value is None or isinstance(value, bool)]
        others = [value for value in self.values if value is not None and not isinstance(value, bool)]
        sql = (
            "type IN (SELECT value FROM json_each(?)) OR " if types else ""
        )  # SQLite's names of types are JSON's words
        sql += "type IN ('text', 'integer', 'real') AND atom IN (SELECT value FROM json_each(?))"
        return _any_scalar(self.field, sql, *([json.dumps(types)] if types else []), json.dumps(others))


@dataclass(frozen=True)
class Range:
    """Whether a field holds a number, or a date, between bounds; of a list, one entry must be between all of them."""

    field: Field
    bounds: tuple[tuple[str, int | float], ...]  # comparisons; of dates with microseconds since 1970
    of_dates: bool = False

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        values = [self._comparable(value) for value in _scalars(metadata, self.field)]
        return any(
            value is not None and all(_COMPARISONS[sign](value, bound) for sign, bound in self.bounds)
            for value in values
        )

    def _comparable(self, value: Scalar) -> int | float | None:
        if self.of_dates:
            return instant(value) if isinstance(value, str) else None
        return None if isinstance(value, bool | str) or value is None else _number(value)

    def where(self) -> Where:
        """See `Filter.where`."""
        value = "instant(atom)" if self.of_dates else "atom"
        compared = " AND ".join(f"{value} {sign} ?" for sign, _ in self.bounds)
        of = "type = 'text'" if self.of_dates else "type IN ('integer', 'real')"
        return _any_scalar(self.field, f"{of} AND {compared}", *(bound for _, bound in self.bounds))


@dataclass(frozen=True)
class Exists:
    """Whether a field is there, whatever it holds."""

    field: Field

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        return bool(list(_found(metadata, self.field)))

    def where(self) -> Where:
        """See `Filter.where`."""
        return Where("json_type(metadata, ?) IS NOT NULL", (_path(self.field),))


@dataclass(frozen=True)
class Joined:
    """Whether all of some filters are true, or any of them."""

    filters: tuple[Filter, ...]
    is_and: bool

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        of_each = (each.matches(metadata) for each in self.filters)
        return all(of_each) if self.is_and else any(of_each)

    def where(self) -> Where:
        """See `Filter.where`."""
        parts = [each.where() for each in self.filters]
        sql = (" AND " if self.is_and else " OR ").join(part.sql for part in parts)
        return Where(f"({sql})", tuple(value for part in parts for value in part.values))


@dataclass(frozen=True)
class Not:
    """Whether a filter is false."""

    filter: Filter

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        return not self.filter.matches(metadata)

    def where(self) -> Where:
        """See `Filter.where`."""
        inner = self.filter.where()
        return Where(f"NOT ({inner.sql})", inner.values)


def with_ids(ids: Sequence[str]) -> Where:
    """The condition that a document has one of these ids."""
    return Where("id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),))


def loads(text: str | bytes) -> Filter:
    """The filter in a JSON text; FilterError."""
    try:
        return parse(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise FilterError((), f"is not JSON: {error.msg} at character {error.pos}") from error


def parse(value: object) -> Filter:
    """The filter in parsed JSON; FilterError, which says where and what to do."""
    return _Parser().filter(value, ())


class _Parser:
    """Reads one filter, and counts what is in it."""

    def __init__(self) -> None:
        self._conditions = self._values = 0

    def filter(self, value: object, place: Place) -> Filter:
        if sum(isinstance(step, str) for step in place) >= MOST_LEVELS:
            raise FilterError(place, f"is nested deeper than {MOST_LEVELS} levels")
        self._conditions += 1
        if self._conditions > MOST_CONDITIONS:
            raise FilterError((), f"has more than {MOST_CONDITIONS} conditions; send fewer, or use in for many values")
        name, content = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else ("", None)
        inside = (*place, name)
        match name:
            case "eq":
                return self._eq(content, inside)
            case "in":
                return self._in(content, inside)
            case "range":
                return self._range(content, inside)
            case "exists":
                return Exists(_field(content, inside))
            case "and" | "or":
                return Joined(self._parts(content, inside), is_and=name == "and")
            case "not":
                return Not(self.filter(content, inside))
        raise FilterError(
            place, f"must be an object with exactly one of {', '.join(_OPERATORS)}; join several conditions by and"
        )

    def _parts(self, value: object, place: Place) -> tuple[Filter, ...]:
        if not isinstance(value, list) or not value:
            raise FilterError(place, "must be a list of at least one filter")
        return tuple(self.filter(part, (*place, at)) for at, part in enumerate(value))

    def _eq(self, value: object, place: Place) -> Filter:
        name, wanted = _only_entry(value, place)
        return In(name, (_scalar(wanted, place),))

    def _in(self, value: object, place: Place) -> Filter:
        name, wanted = _only_entry(value, place)
        if not isinstance(wanted, list):
            raise FilterError(place, "must hold a list of values")
        self._values += len(wanted)
        if self._values > MOST_VALUES:
            raise FilterError(place, f"brings the values of the filter above {MOST_VALUES}; send fewer")
        return In(name, tuple(_scalar(each, place) for each in wanted))

    def _range(self, value: object, place: Place) -> Filter:
        name, bounds = _only_entry(value, place)
        if not isinstance(bounds, dict) or not bounds or not bounds.keys() <= _BOUNDS.keys():
            raise FilterError(place, f"must hold an object with bounds: {', '.join(_BOUNDS)}")
        if {"gt", "gte"} <= bounds.keys() or {"lt", "lte"} <= bounds.keys():
            raise FilterError(place, "has two lower or two upper bounds; send one of each at most")
        if all(isinstance(bound, str) for bound in bounds.values()):
            return Range(name, tuple(_date_bound(_BOUNDS[b], text, place) for b, text in bounds.items()), of_dates=True)
        if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in bounds.values()):
            raise FilterError(place, "must have bounds that are all numbers, or all dates as text")
        return Range(name, tuple((_BOUNDS[b], _number(bound)) for b, bound in bounds.items()))


def instant(text: str) -> int | None:
    """Microseconds from 1970 to a date or time of ISO 8601, in UTC unless it names a zone; None for another text."""
    if _DATE.fullmatch(text) is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:  # 30 February, 25 o'clock
        return None
    return ((found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def _date_bound(sign: str, text: str, place: Place) -> tuple[str, int]:
    """A bound; one without a time of day is the whole day: `lte` includes it, and `gt` is after it."""
    at, found = instant(text), _DATE.fullmatch(text)
    if at is None or found is None:
        raise FilterError(place, "has a bound that is no date; send 2024-12-31 or 2024-12-31T23:59:59+01:00")
    if found["time"] is None and sign in {">", "<="}:
        return {">": ">=", "<=": "<"}[sign], at + _DAY
    return sign, at


def _only_entry(value: object, place: Place) -> tuple[Field, object]:
    if not isinstance(value, dict) or len(value) != 1:
        raise FilterError(place, "must be an object with exactly one field; join several by and")
    ((name, content),) = value.items()
    return _field(name, place), content


def _field(name: object, place: Place) -> Field:
    """The names in a path: dots lead into objects, and a backslash makes a dot or a backslash part of a name."""
    if not isinstance(name, str):
        raise FilterError(place, "must be the name of a field, as text")
    if len(name) > LONGEST_FIELD:
        raise FilterError(place, f"has a field of more than {LONGEST_FIELD} characters")
    names, is_escaped = [""], False
    for character in name:
        if is_escaped or character not in ".\\":
            names[-1], is_escaped = names[-1] + character, False
        elif character == ".":
            names.append("")
        else:
            is_escaped = True
    if is_escaped:
        raise FilterError(place, "has a field that ends with a backslash; write two for one")
    return tuple(names)


def _scalar(value: object, place: Place) -> Scalar:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise FilterError(place, "must compare with texts, numbers, true, false or null, not with lists or objects")
    return value


def _number(value: int | float) -> int | float:
    """A number as SQLite has it."""
    return float(value) if isinstance(value, int) and not -_LARGEST <= value < _LARGEST else value


def _typed(value: Scalar) -> tuple[str, Scalar]:
    """What equal values have in common: true is not 1, and 1.0 is."""
    if isinstance(value, bool) or value is None:
        return "word", json.dumps(value)
    return ("text", value) if isinstance(value, str) else ("number", _number(value))


def _found(metadata: Mapping[str, Any], path: Field) -> Iterator[Any]:
    """The value of a field, if it is there."""
    value: Any = metadata
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return
        value = value[name]
    yield value


def _scalars(metadata: Mapping[str, Any], path: Field) -> list[Scalar]:
    """What a field holds: its value, or the entries of its list; neither objects nor lists."""
    for value in _found(metadata, path):
        entries = value if isinstance(value, list) else [value]
        return [entry for entry in entries if not isinstance(entry, list | Mapping)]
    return []


def _any_scalar(path: Field, sql: str, *values: str | int | float) -> Where:
    """Whether a condition on `type` and `atom` holds of anything that `_scalars` gives."""
    place = _path(path)
    return Where(
        "(json_type(metadata, ?) IS NOT 'object' AND "  # noqa: S608 - no value is in it; json_each would give entries
        f"EXISTS (SELECT 1 FROM json_each(metadata, ?) WHERE {sql}))",
        (place, place, *values),
    )


def _path(path: Field) -> str:
    """A field as a path of SQLite, in which a quoted name is a JSON string."""
    return "$" + "".join(f".{json.dumps(name)}" for name in path)
