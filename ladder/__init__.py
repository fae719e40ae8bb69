"""Ladder from Python: ``from ladder import Client, space``. Needs nothing of the server's extras.

A trainer of your own calls ``ladder.epochs``, ``report``, ``checkpoint`` and the like: see ladder/training.py.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ladder import space
    from ladder.client import Client
    from ladder.models import load_model
    from ladder.training import checkpoint, epochs, report, restore, should_stop, trial

__all__ = [
    "Client",
    "checkpoint",
    "epochs",
    "load_model",
    "report",
    "restore",
    "should_stop",
    "space",
    "trial",
]

_TRAINING = frozenset({"checkpoint", "epochs", "report", "restore", "should_stop", "trial"})


def __getattr__(name: str) -> Any:
    # Late, because the command line imports this package too and `ladder --help` must not wait for pydantic.
    if name == "Client":
        from ladder.client import Client

        return Client
    if name == "load_model":
        from ladder.models import load_model

        return load_model
    if name in _TRAINING:
        from ladder import training

        return getattr(training, name)
    raise AttributeError(f"module 'ladder' has no attribute {name!r}")
