"""The committed OpenAPI document as tests walk it: operations with parameters and answers, references resolved."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).parents[2] / "openapi.json"


@cache
def document() -> Mapping[str, Any]:
    """What ``ladder openapi`` writes; that it is what the API serves is tested beside the routes."""
    found: Mapping[str, Any] = json.loads(COMMITTED.read_text())
    return found


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    said: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def statuses(self) -> set[int]:
        return {int(status) for status in self.said["responses"]}

    def parameters(self, where: str) -> dict[str, Mapping[str, Any]]:
        """By name; ``where`` is path, query or header. Headers' names are lower case."""
        found = (resolve(one) for one in self.said.get("parameters", []))
        return {one["name"].lower() if where == "header" else one["name"]: one for one in found if one["in"] == where}

    @property
    def takes_json(self) -> bool:
        return "application/json" in self.said.get("requestBody", {}).get("content", {})

    @property
    def protected(self) -> bool:
        return bool(self.said.get("security"))

    def answer(self, status: int) -> Mapping[str, Any]:
        """The schema of the JSON answer with this status."""
        found = self.said["responses"][str(status)].get("content", {}).get("application/json", {}).get("schema", {})
        return resolve(found)


@cache
def operations() -> list[Operation]:
    return [
        Operation(method.upper(), path, said)
        for path, methods in document()["paths"].items()
        for method, said in methods.items()
    ]


def resolve(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = document()
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema
