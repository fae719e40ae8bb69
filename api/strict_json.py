"""Request bodies read strictly: no NaN or Infinity, no number beyond a double, no key twice, a bounded size."""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from hpo.domain.errors import Malformed, TooLarge


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Malformed(f"the number {text[:40]} does not fit into a double")
    return number


def _integer(text: str) -> int:
    if len(text) > 400:  # Python refuses more than 4300 digits with an error of its own
        raise Malformed(f"an integer of {len(text)} digits is too long")
    return int(text)


def _constant(text: str) -> None:
    raise Malformed(f'{text} is not JSON; a metric that is not finite travels as "nan", "inf" or "-inf"')


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in {k for k, _ in pairs[:index]})
        raise Malformed(f"the key {twice[:100]!r} stands twice in one object")
    return found


def loads(body: bytes) -> Any:
    """Parse JSON. Raises Malformed for what is not JSON or has no single meaning."""
    try:
        return json.loads(
            body, parse_float=_finite, parse_int=_integer, parse_constant=_constant, object_pairs_hook=_distinct
        )
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None


class StrictRequest(Request):
    """A request whose ``json()`` is strict. The size is bounded while the body arrives."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            limit = self.app.state.services.settings.max_body_bytes
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > limit:
                    raise TooLarge(f"the body may have at most {limit} bytes")
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = loads(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """Reads its body with StrictRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict
