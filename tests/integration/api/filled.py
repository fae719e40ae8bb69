"""Studies with a history, for what is computed from one."""

import math
from typing import Any
from uuid import UUID

from benchmarks import filled
from tests.integration.api.caller import Api, Json


def fill(api: Api, size: int = 300, name: str = "s", **changes: Any) -> Json:
    """A study of ``size`` ended trials that were pruned at rungs after 1, 3 and 9 steps."""
    study: Json = api.post("/studies", filled.spec(name, size, **changes)).json()
    bound = changes["constraints"][0]["value"] if "constraints" in changes else math.inf
    several = len(changes.get("objectives", [])) > 1
    api.hand.db.write(lambda tx: filled.fill(tx.exec_driver_sql, UUID(study["id"]), size, several=several, bound=bound))
    return study
