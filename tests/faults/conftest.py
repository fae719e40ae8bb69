"""One fleet for all fault tests, healed before each; a test that leaves something to chance has its seed in its name.

``--repeat-faults N`` runs each test N times, ``--fault-seed S`` with the seeds from S on. Name ``tests/faults`` on the
command line to use them: pytest takes options only from the directories that it is given.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ladder.stack import LocalStack
from tests.faults.fleet import TIMINGS, Fleet


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--repeat-faults", type=int, default=1, help="how often each fault test runs")
    group.addoption("--fault-seed", type=int, default=None, help="the first seed; random if it is not given")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    repeats = metafunc.config.getoption("--repeat-faults", 1)
    if "rng" not in metafunc.fixturenames:
        metafunc.fixturenames.append("repeat")
        metafunc.parametrize("repeat", range(repeats))
    else:
        first = metafunc.config.getoption("--fault-seed", None)
        # Processes that share a run must collect the same tests: their seeds come from what names the run.
        draw = random.Random(f"{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.urandom(8))} {metafunc.function.__name__}")
        seeds = [draw.randrange(2**32) if first is None else first + repeat for repeat in range(repeats)]
        metafunc.parametrize("rng", seeds, ids=[f"seed={seed}" for seed in seeds], indirect=True)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Chooses the victim and the moment."""
    return random.Random(request.param)


@pytest.fixture(scope="package")
def shared_fleet() -> Iterator[Fleet]:
    # Durable: what a crash of Postgres may take from a server without fsync was never promised.
    home = Path(tempfile.mkdtemp(prefix="ladder-faults-"))
    stack = LocalStack(home, workers=2, api_replicas=2, settings_env=TIMINGS)
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, home)
        cleanup.enter_context(stack)
        yield cleanup.enter_context(closing(Fleet(stack)))


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Iterator[Fleet]:
    """All parts alive, nothing to do; what a failing test leaves is cancelled for the next."""
    shared_fleet.heal()
    yield shared_fleet
    shared_fleet.cancel_all()
