"""Request bodies read strictly: JSON that means one thing and that Postgres can store, of a bounded size.

Refused, each with its JSON pointer: NaN and Infinity, a number beyond a double, a key twice in one object, U+0000 and
lone surrogates in text.
"""

import json
import math
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from hpo.domain.errors import FieldError, InvalidSpec, Malformed, TooLarge, UnsupportedMediaType

MAX_DIGITS = 308  # a longer integer is beyond every double, and Python itself refuses to read 4,301 digits
MAX_ERRORS = 20


@dataclass(frozen=True, slots=True)
class _Refused:
    """Stands in the parsed body where something cannot be accepted."""

    code: str
    message: str


class _NotPlain(Exception):
    """The body holds something to refuse: it is read again to find out where."""


def _float(text: str) -> float | _Refused:
    number = float(text)
    if math.isfinite(number):
        return number
    return _Refused("out_of_range", f"a number must fit into a double, got {text[:40]}")


def _integer(text: str) -> int | _Refused:
    digits = len(text.removeprefix("-"))
    if digits <= MAX_DIGITS:
        return int(text)
    return _Refused("out_of_range", f"an integer must have at most {MAX_DIGITS} digits, got {digits}")


def _constant(text: str) -> _Refused:
    message = f'a number must be finite, got {text}; a metric that is not travels as "nan", "inf" or "-inf"'
    return _Refused("not_finite", message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found[key] = _Refused("duplicate_key", f"a key must stand once in an object, got {key[:100]!r} twice")
            seen.add(key)
    return found


def _plain(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same hook for the first reading, which only has to know that there is something to refuse."""

    def hook(given: Any) -> Any:
        value = read(given)
        if isinstance(value, _Refused):
            raise _NotPlain
        return value

    return hook


def _plain_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotPlain
    return found


_PLAIN = json.JSONDecoder(
    parse_float=_plain(_float),
    parse_int=_plain(_integer),
    parse_constant=_plain(_constant),
    object_pairs_hook=_plain_object,
)
_MARKING = json.JSONDecoder(parse_float=_float, parse_int=_integer, parse_constant=_constant, object_pairs_hook=_object)


def loads(body: bytes) -> Any:
    """Parse JSON. Raises Malformed for what is not JSON, InvalidSpec naming each place that holds what is refused."""
    try:
        text = body.decode()
        try:
            value = _PLAIN.decode(text)
            if "\\u" not in text:  # only an escape can spell what UTF-8 cannot carry
                return value
        except _NotPlain:
            value = _MARKING.decode(text)
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    errors = list(_refusals(value))
    if errors:
        raise InvalidSpec(*errors[:MAX_ERRORS])
    return value


def _refusals(value: Any) -> Iterator[FieldError]:
    rest: list[tuple[str, Any]] = [("", value)]
    while rest:
        at, here = rest.pop()
        if isinstance(here, _Refused):
            yield FieldError(at, here.code, here.message)
        elif isinstance(here, str):
            if (wrong := _unstorable(here)) is not None:
                yield FieldError(at, *wrong)
        elif isinstance(here, list):
            rest += [(f"{at}/{index}", item) for index, item in reversed([*enumerate(here)])]
        elif isinstance(here, dict):
            for key, item in reversed(here.items()):
                # A pointer could not carry such a key: the object that has it is named, and nothing below the key.
                if (wrong := _unstorable(key)) is not None:
                    yield FieldError(at, wrong[0], f"a key: {wrong[1]}, got {key[:100]!a}")
                    continue
                rest.append((f"{at}/{key.replace('~', '~0').replace('/', '~1')}", item))


def _unstorable(text: str) -> tuple[str, str] | None:
    if "\x00" in text:
        return "nul_character", "text must not contain U+0000"
    if any("\ud800" <= char <= "\udfff" for char in text):
        return "lone_surrogate", "text must be valid Unicode, got a lone surrogate"
    return None


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
    """Reads its body with StrictRequest, before FastAPI does: that would answer each of its errors with a bare 400."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        has_body = self.body_field is not None

        async def strict(request: Request) -> Response:
            wanted = StrictRequest(request.scope, request.receive)
            if has_body and await wanted.body():
                _check_type(request.headers.get("content-type"))
                await wanted.json()
            return await handler(wanted)

        return strict


def _check_type(content_type: str | None) -> None:
    message = Message()
    message["content-type"] = content_type or "none"
    subtype = message.get_content_subtype()
    if message.get_content_maintype() != "application" or not (subtype == "json" or subtype.endswith("+json")):
        raise UnsupportedMediaType(f"the body must be application/json, got {(content_type or 'no type')[:100]!r}")
