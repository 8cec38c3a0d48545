"""The OpenAPI description: FastAPI's, with the dialects of each route and the security schemes.

`qrerank openapi` prints it; docs/openapi.json is the committed copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_REF = "#/components/schemas/{model}"
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "The key as user or as password."},
}


def one_of(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """A schema that references several models, of which one matches."""
    return {"oneOf": [reference(model) for model in models]}


def reference(model: type[BaseModel]) -> dict[str, Any]:
    """A schema that references a model."""
    return {"$ref": _REF.format(model=model.__name__)}


def example(model: type[BaseModel], at: int = 0) -> object:
    """An example of a model, the first one unless another is named."""
    examples: list[object] = model.model_json_schema()["examples"]
    return examples[at]


def content(schema: Mapping[str, Any], examples: Mapping[str, object] | None = None) -> dict[str, Any]:
    """The description of a JSON body, with examples by name."""
    named_examples = {name: {"value": value} for name, value in (examples or {}).items()}
    return {
        "content": {"application/json": {"schema": schema} | ({"examples": named_examples} if named_examples else {})}
    }


def describe(app: FastAPI, models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """The description of an application whose routes reference these models."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
            servers=app.servers,
        )
        _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
        components = schema.setdefault("components", {})
        components["schemas"] = dict(sorted((components.get("schemas", {}) | definitions["$defs"]).items()))
        components["securitySchemes"] = SECURITY
        schema["security"] = [{name: []} for name in SECURITY] + [{}]  # the empty one: authentication may be disabled
        app.openapi_schema = schema
    return app.openapi_schema


def render(app: FastAPI) -> str:
    """The description as JSON text, as it is committed."""
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"
