"""Query parameters that a route does not have are refused, as unknown fields of a body are: often one is misspelt."""

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query
from fastapi.routing import APIRoute


async def known_query(request: Request) -> None:  # async: a plain one would cost a hop to a thread
    """A dependency of every route of the API. Raises RequestValidationError naming each unknown parameter."""
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    known = sorted(field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query))
    wanted = f"unknown parameter, known are {', '.join(known)}" if known else "unknown parameter, none is known here"
    errors = [
        {"type": "extra_forbidden", "loc": ("query", name[:100]), "ctx": {"text": wanted}}
        for name in request.query_params
        if name not in known
    ]
    if errors:
        raise RequestValidationError(errors)
