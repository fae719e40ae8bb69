"""Ladder from Python: ``from ladder import Client, space``. Needs nothing of the server's extras."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ladder import space
    from ladder.client import Client

__all__ = ["Client", "space"]


def __getattr__(name: str) -> Any:
    # Late, because the command line imports this package too and `ladder --help` must not wait for pydantic.
    if name == "Client":
        from ladder.client import Client

        return Client
    raise AttributeError(f"module 'ladder' has no attribute {name!r}")
