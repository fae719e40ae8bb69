"""A study's curves as JSON Lines; a stream that breaks is taken up where it broke."""

import time
from collections.abc import Iterator

from api.schemas.records import CurveRead
from ladder.http import Http
from ladder.wire import BROKEN

PAUSE_S = 0.5


def curves(http: Http, path: str, *, retries: int) -> Iterator[CurveRead]:
    """Curves by the trials' numbers. Raises Unreachable after ``retries`` breaks in a row without a curve."""
    last, failures = -1, 0
    while True:
        try:
            with http.open(f"{path}?after={last}") as response:
                for line in response:
                    curve = CurveRead.model_validate_json(line)
                    last, failures = curve.number, 0
                    yield curve
                return
        except BROKEN as error:
            failures += 1
            if failures > retries:
                raise http.unreachable(error) from error
            time.sleep(PAUSE_S)
