"""What FastAPI's own OpenAPI document lacks: problems as every error's body, and the key that calls need."""

from typing import Any

from fastapi import FastAPI

from api.errors import responses
from api.schemas.trials import Problem

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
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= schema.pop("$defs", {}) | {"Problem": schema}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "an API key, ldr_…"}}
    problems = {str(status): said for status, said in responses("too_large", "unsupported_media_type").items()}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith(PROTECTED):
                operation["security"] = [{"key": []}]
            said = operation["responses"]
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                said |= {status: problems[status] for status in ("413", "415")}
            # FastAPI announces a body of its own for 422, which no route here sends.
            if "422" in said and "application/json" in said["422"]["content"]:
                said["422"] = problems["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    return document
