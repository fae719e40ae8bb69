"""ETags of what is derived from a study: the same event and question give the same answer."""

import hashlib
from functools import cache
from importlib.metadata import version


@cache
def _release() -> str:
    """Another release may draw the same trials in another way."""
    return f"{version('ladder-hpo')} {version('optuna')} {version('plotly')}"


def etag(*parts: object) -> str:
    """The tag of an answer that depends on nothing but ``parts``."""
    digest = hashlib.sha256(repr((_release(), *parts)).encode()).hexdigest()
    return f'"{digest[:32]}"'


def not_modified(tag: str, if_none_match: str | None) -> bool:
    """Whether the caller has the answer already. Weak tags, which proxies make of ours, count (RFC 9110 13.1.2)."""
    if if_none_match is None:
        return False
    given = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in given or "*" in given
