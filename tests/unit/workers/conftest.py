"""Runners with real children, a real checkpoint store and an API in memory."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpo.checkpoints.filesystem import FilesystemStore
from tests.unit.workers.fake_api import FakeApi
from workers.child import environment
from workers.limits import Limits, Place
from workers.pool import ChildPool, spawner
from workers.runner import Runner

STAND_IN = (sys.executable, "-m", "tests.unit.workers.stand_in")
QUICK = Limits(heartbeat_s=0.05, isolation_s=5.0, drain_s=5.0, report_every_s=0.02, retry_s=0.02, stall_s=60.0)

MakeRunner = Callable[..., Runner]


def new_pool() -> ChildPool:
    return ChildPool(spawner(environment(os.environ, 1), STAND_IN))


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[ChildPool]:
    """Children that are reused from test to test, as a worker does from trial to trial."""
    pool = new_pool()
    yield pool
    pool.close()


@pytest.fixture
def pool() -> Iterator[ChildPool]:
    """Children of one test, which may stop its runner."""
    pool = new_pool()
    yield pool
    pool.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(FilesystemStore(tmp_path / "store"), tmp_path / "data", threads=1)


@pytest.fixture
def make_runner(place: Place) -> MakeRunner:
    def make(api: FakeApi, pool: ChildPool, limits: Limits = QUICK) -> Runner:
        return Runner(api, pool, worker="w1", place=place, limits=limits)

    return make


def wait_for(condition: Callable[[], object], deadline_s: float = 20.0) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come to hold"
        time.sleep(0.005)
