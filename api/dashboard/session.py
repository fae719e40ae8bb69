"""Who looks at the dashboard, and who sends its forms.

A key's scope says what its pages may do. Writes by cookie need a token of the page they come from (CSRF) and, where a
browser tells it, the same origin (OWASP Cross-Site Request Forgery Prevention).
"""

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData

from api.dashboard.cookie import csrf, token_of
from api.deps import may, verified
from api.strict_json import StrictRequest
from hpo.domain.errors import Forbidden, Unauthorized
from hpo.storage.keys import Caller


@dataclass(frozen=True, slots=True)
class Viewer:
    """A key that may read, and whether it may also change things."""

    caller: Caller
    may_write: bool


async def viewer(request: Request) -> Viewer:
    """Raises Unauthorized (which a browser sees as the login page), Forbidden for a key that may not read."""
    token = token_of(request)
    if token is None:
        raise Unauthorized("log in with an API key")
    caller = await verified(request, token)
    if not may(caller, "read"):
        raise Forbidden(f"the dashboard needs a key with the scope read, this one has {caller.scope}")
    return Viewer(caller, may(caller, "write"))


Viewing = Annotated[Viewer, Depends(viewer, scope="function")]


@dataclass(frozen=True, slots=True)
class Posted:
    """A form that was sent from one of our pages."""

    viewer: Viewer
    fields: FormData

    @property
    def caller(self) -> Caller:
        return self.viewer.caller

    def text(self, name: str, default: str = "") -> str:
        """A field's text; files do not count."""
        value = self.fields.get(name, default)
        return value if isinstance(value, str) else default


async def form_of(request: Request) -> FormData:
    """The fields of a form that holds no files. Raises TooLarge beyond the size of any other body."""
    bounded = StrictRequest(request.scope, request.receive)
    await bounded.body()
    return await bounded.form(max_files=0, max_fields=2000)


def from_here(request: Request, address: str) -> bool:
    """Whether an address that a browser tells (Origin, Referer) is one of this server."""
    hosts = filter(None, (request.headers.get("host"), request.headers.get("x-forwarded-host")))
    return f"{address}/".startswith(tuple(f"{kind}://{host}/" for host in hosts for kind in ("http", "https")))


async def posted(request: Request, who: Viewing) -> Posted:
    """Raises Forbidden unless the form came from a page of this login and the key may write."""
    fields = await form_of(request)
    origin = request.headers.get("origin")
    sent = fields.get("csrf")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), csrf(request).encode()):
        raise Forbidden("the form is not of this login: reload the page and try again")
    if origin is not None and not from_here(request, origin):
        raise Forbidden(f"the form came from another site: {origin[:100]!r}")
    if not who.may_write:
        raise Forbidden(f"this needs a key with the scope write, yours has {who.caller.scope}")
    return Posted(who, fields)


Form = Annotated[Posted, Depends(posted, scope="function")]
