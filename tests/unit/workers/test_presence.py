"""A worker makes itself known, is refused, and is asked to stop."""

from threading import Event
from typing import Any

import pytest

from api.schemas.workers import WorkerIn, WorkerRead
from ladder.errors import ApiError
from tests.unit.workers.conftest import wait_for
from tests.unit.workers.fake_api import NEVER, refused, unreachable
from workers.presence import Presence, Refused


class FakeRegistry:
    """Answers with ``errors`` first, in turn, then with a record."""

    def __init__(self, *errors: ApiError, drain_after: int = 10**6) -> None:
        self.errors = list(errors)
        self.bodies: list[tuple[str, WorkerIn]] = []
        self.drain_after = drain_after

    def put(self, name: str, body: WorkerIn) -> WorkerRead:
        self.bodies.append((name, body))
        if self.errors:
            raise self.errors.pop(0)
        record: dict[str, Any] = {"name": name, "queue": body.queue, "host": "h", "device": "d", "state": "idle"}
        drain = len(self.bodies) >= self.drain_after
        return WorkerRead.model_validate({**record, "started_at": NEVER, "seen_at": NEVER, "drain": drain})


def presence(registry: FakeRegistry, stopped: Event, asked: Event) -> Presence:
    return Presence(registry, "w1", "gpu", every_s=0.01, stopped=stopped, on_drain=asked.set)


def test_a_worker_says_who_and_what_it_is() -> None:
    registry = FakeRegistry()
    assert presence(registry, Event(), Event()).register()
    ((name, body),) = registry.bodies
    assert (name, body.queue, body.protocol_version) == ("w1", "gpu", 3)
    assert body.pid > 0
    assert "torch" in body.versions


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "forbidden"), (409, "protocol_mismatch")])
def test_a_worker_that_is_not_wanted_does_not_try_again(status: int, code: str) -> None:
    registry = FakeRegistry(refused(status, code))
    with pytest.raises(Refused, match=f"not like this.*{code}"):
        presence(registry, Event(), Event()).register()
    assert len(registry.bodies) == 1


def test_a_worker_waits_for_an_api_that_is_not_there_yet() -> None:
    registry = FakeRegistry(unreachable(), unreachable())
    assert presence(registry, Event(), Event()).register()
    assert len(registry.bodies) == 3


def test_a_worker_that_is_stopped_meanwhile_does_not_register() -> None:
    stopped = Event()
    stopped.set()
    registry = FakeRegistry()
    assert not presence(registry, stopped, Event()).register()
    assert registry.bodies == []


def test_the_api_can_ask_a_worker_to_drain_and_outages_do_not_stop_its_signs_of_life() -> None:
    registry, stopped, asked = FakeRegistry(unreachable(), refused(500, "internal"), drain_after=5), Event(), Event()
    presence(registry, stopped, asked).keep()
    assert asked.wait(20)
    wait_for(lambda: len(registry.bodies) == 5)
    stopped.set()
