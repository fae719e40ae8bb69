"""What FastAPI's own OpenAPI document lacks: problems as every error's body, and the key that calls need."""

import json
from typing import Any

from fastapi import FastAPI

from api.errors import responses
from api.schemas.trials import NotReady, Problem

PROTECTED = "/api/v1/"


def describe(app: FastAPI) -> None:
    """Complete the document that ``app`` serves."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(plain())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    for model in (Problem, NotReady):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components["schemas"] |= schema.pop("$defs", {}) | {model.__name__: schema}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "an API key, ldr_…"}}
    problems = {str(status): said for status, said in responses("too_large", "unsupported_media_type").items()}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith(PROTECTED):
                operation["security"] = [{"key": []}]
                if method == "get":
                    _revalidated(operation)
            said = operation["responses"]
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                said |= {status: problems[status] for status in ("413", "415")}
            # FastAPI announces a body of its own for 422, which no route here sends.
            if "422" in said and "application/json" in said["422"]["content"]:
                said["422"] = problems["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    for name, model in components["schemas"].items():
        # Generators of clients name classes by it: what is read and what is written must not share one.
        model["title"] = name
        _tell_defaults(model)
    return document


def _tell_defaults(schema: Any, *, named: bool = False) -> None:
    """Objects as defaults go into the description: generators of clients refuse models that have one.

    ``named``: the keys of ``schema`` are fields' names.
    """
    if isinstance(schema, list):
        for one in schema:
            _tell_defaults(one)
    if not isinstance(schema, dict):
        return
    if not named and isinstance(schema.get("default"), dict):
        default = f"default: {json.dumps(schema.pop('default'))}"
        schema["description"] = f"{schema['description']}; {default}" if "description" in schema else default
    for key, one in schema.items():
        _tell_defaults(one, named=not named and key == "properties")


_ETAG = {"ETag": {"description": "for If-None-Match", "schema": {"type": "string"}}}


def _revalidated(operation: dict[str, Any]) -> None:
    """Tell of ETag and 304 where the answer is JSON."""
    answer = operation["responses"].get("200", {})
    if "application/json" not in answer.get("content", {}):
        return
    answer["headers"] = answer.get("headers", {}) | _ETAG
    told = {"description": "not changed since the ETag in If-None-Match", "headers": _ETAG}
    operation["responses"].setdefault("304", told)
    parameters = operation.setdefault("parameters", [])
    if any(one["name"].lower() == "if-none-match" for one in parameters):
        return
    parameters.append(
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "an ETag that this route gave: 304 without a body if it still holds",
            "schema": {"type": "string"},
        }
    )
