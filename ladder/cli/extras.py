"""Commands that search on this machine need libraries that the client alone does without."""

from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec

SEARCH = {
    "cmaes": "cmaes",
    "numpy": "numpy",
    "optuna": "optuna",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
}
PACKAGES = {**SEARCH, "safetensors": "safetensors", "tensorboardX": "tensorboardX"}


def need(what: str, modules: Iterable[str] = SEARCH, *, extra: str | None = "server") -> None:
    """Raises LocalError, naming what is missing and the extra that has it, unless all modules are there.

    None is imported. Without an ``extra`` the packages themselves are named: the one that has them brings torch too.
    """
    from ladder.errors import LocalError

    missing = [PACKAGES[module] for module in modules if find_spec(module) is None]
    if missing:
        wanted = " ".join(missing) if extra is None else f"'ladder-hpo[{extra}]'"
        raise LocalError(f"{what} needs {', '.join(missing)} on this machine", f"pip install {wanted}")


def versions() -> str:
    """What derives suggestions here, by name and version."""
    return ", ".join(f"{name} {version(name)}" for name in SEARCH.values())
