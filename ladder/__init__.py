"""Ladder from Python: ``from ladder import Client, space``. Needs nothing of the server's extras."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ladder import space
    from ladder.client import Client
    from ladder.models import load_model

__all__ = ["Client", "load_model", "space"]


def __getattr__(name: str) -> Any:
    # Late, because the command line imports this package too and `ladder --help` must not wait for pydantic.
    if name == "Client":
        from ladder.client import Client

        return Client
    if name == "load_model":
        from ladder.models import load_model

        return load_model
    raise AttributeError(f"module 'ladder' has no attribute {name!r}")
