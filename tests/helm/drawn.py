"""Values drawn by chance from the chart's schema, on top of some that belong together."""

import json
from functools import reduce

import hypothesis.strategies as st
import yaml

from scripts.chart import CHART, merged

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

PEPPER, KEY, URL = "hidden-pepper-of-thirty-two-characters", "hidden-key-of-a-caller", "postgresql://u:hidden@db/q"
PASSWORD = "hidden p/ssw+rd"  # noqa: S105 - one to look for
HIDDEN = (PEPPER, KEY, URL, PASSWORD, "hidden%20p%2Fssw%2Brd")

_APART = {"enabled": False}
_IN_SECRET = {"name": "stores", "keys": ["QRERANK_AUTH__DATABASE_URL", "QRERANK_AUTH__PEPPER"]}
_EGRESS = {"egress": [{"cidr": "10.0.0.0/8", "port": 5432}]}
STORES = [  # where keys are, and what else that asks for
    {},
    {"secretConfig": {"auth": {"keys": [KEY]}}, "persistence": _APART},
    {"existingSecret": _IN_SECRET, "replicaCount": 3, "persistence": _APART, "networkPolicy": _EGRESS},
    {
        "secretConfig": {"auth": {"pepper": PEPPER, "database_url": URL}},
        "autoscaling": {"enabled": True, "maxReplicas": 9},
        "persistence": {"accessMode": "ReadWriteMany"},
        "networkPolicy": _EGRESS,
    },
    {
        "secretConfig": {"auth": {"pepper": PEPPER}},
        "redis": {"enabled": True, "password": PASSWORD},
        "postgresql": {"enabled": True, "password": PASSWORD},
        "replicaCount": 2,
        "persistence": {"accessMode": "ReadWriteMany"},
    },
    {
        "config": {"auth": {"enabled": False, "force_open": True}, "operations": {"access": "open"}},
        "replicaCount": 2,
        "persistence": _APART,
    },
]
PARTS = [  # what may be switched on beside
    {"ingress": {"enabled": True, "host": "rerank.example.com"}},
    {"monitoring": {part: {"enabled": True} for part in ("serviceMonitor", "rules", "dashboard")}},
    {"mounts": [{"name": "a", "path": "/a", "secret": "a"}, {"name": "b", "path": "/b", "claim": "b"}]},
    {
        "index": {"enabled": True, "configMap": "papers"},
        "persistence": {"enabled": True, "accessMode": "ReadWriteMany"},
    },
]
# What the sets above decide, since each of it asks for something else.
_DECIDED = (
    *("replicaCount", "secretConfig", "existingSecret", "config.auth", "config.operations", "config.tracing.endpoint"),
    *("config.encoder.remote.url", "service.type"),
    *("redis.enabled", "redis.password", "postgresql.enabled", "postgresql.password", "networkPolicy.egress", "mounts"),
    *("persistence.enabled", "persistence.accessMode", "index.enabled", "index.configMap", "index.claim"),
    *("autoscaling.enabled", "autoscaling.minReplicas", "autoscaling.maxReplicas", "ingress.enabled", "ingress.host"),
)


def leaves(schema=SCHEMA, path=()):
    """Every value that is no group of others, by its path, with its schema."""
    for name, inner in schema["properties"].items():
        while "$ref" in inner:
            inner = SCHEMA["$defs"][inner["$ref"].rpartition("/")[2]]  # noqa: PLW2901
        if "properties" in inner:
            yield from leaves(inner, (*path, name))
        elif name != "global":
            yield (*path, name), inner


def nested(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


def drawn(schema):  # noqa: PLR0911 - one for each type
    """Anything that fits a schema, as far as ours go."""
    if "$ref" in schema:
        return drawn(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema.get("maximum", 10**6))
        case "number":
            least = schema.get("minimum", schema.get("exclusiveMinimum"))
            return st.floats(least, schema["maximum"], exclude_min="exclusiveMinimum" in schema)
        case "string":
            return _text(schema)
        case "array":
            unique = {"unique_by": json.dumps} if schema.get("uniqueItems") else {}
            return st.lists(drawn(schema["items"]), min_size=schema.get("minItems", 0), max_size=4, **unique)
    return _object(schema)


def _text(schema):
    longest = schema.get("maxLength", 10**6)
    if "pattern" in schema:
        # ASCII, and the whole of it: to Python `$` is before a line's end, too, and `\w` any letter.
        found = st.from_regex(schema["pattern"], fullmatch=True, alphabet=st.characters(codec="ascii"))
        return found.filter(lambda text: len(text) <= longest)
    if schema.get("format") == "uri":
        return st.just("http://collector:4318")
    return st.text(min_size=schema.get("minLength", 0), max_size=min(60, longest))


def _object(schema):
    if "properties" in schema:
        known = {name: drawn(inner) for name, inner in schema["properties"].items()}
        needed = {name: known.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(needed, optional=known)
    if "patternProperties" in schema:
        ((name, value),) = schema["patternProperties"].items()
        return st.dictionaries(_text({"pattern": name, "maxLength": 253}), drawn(value), max_size=3)
    return st.dictionaries(st.text(min_size=1), drawn(schema["additionalProperties"]), max_size=3)


LEAVES = {path: drawn(schema).map(lambda value, path=path: nested(path, value)) for path, schema in leaves()}
FREE = {path: value for path, value in LEAVES.items() if not ".".join(path).startswith(_DECIDED)}


def _some(of):
    return st.lists(st.sampled_from(sorted(of)).flatmap(of.get), max_size=6)


def coherent():
    """Values that belong together."""
    parts = st.lists(st.sampled_from(PARTS), max_size=3)
    return st.tuples(st.sampled_from(STORES), parts, _some(FREE)).map(
        lambda drawn: reduce(merged, [*drawn[1], *drawn[2]], drawn[0])
    )


def wild():
    """Values each of which is as the schema wants it, whatever the others are."""
    return _some(LEAVES).map(lambda found: reduce(merged, found, {}))
