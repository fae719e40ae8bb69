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
    """Whether the caller has the answer already, so that it need not be computed.

    Weak tags count (RFC 9110 13.1.2); what follows a dash in one is ``Revalidation``'s, which tags the answer's bytes.
    """
    if if_none_match is None:
        return False
    given = [one.strip().removeprefix("W/").strip('"').partition("-")[0] for one in if_none_match.split(",")]
    return tag.strip('"') in given or "*" in given
