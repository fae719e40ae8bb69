"""Slots that share a device: the locks between processes, and runs that have it to themselves."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from hpo.checkpoints.filesystem import FilesystemStore
from tests.unit.workers.conftest import QUICK, wait_for
from tests.unit.workers.fake_api import FakeApi, assignment, failing, lease_lost, unreachable
from workers.child import environment
from workers.limits import Limits, Place
from workers.pool import ChildPool, spawner
from workers.room import Room
from workers.runner import Runner

SLOT = """
import sys
from pathlib import Path
from workers.room import Room
room = Room(Path(sys.argv[1]))
print(getattr(room, sys.argv[2])(), flush=True)
sys.stdin.read()
"""

MakeRoom = Callable[[], Room]


@pytest.fixture
def room_of(tmp_path: Path) -> Iterator[MakeRoom]:
    """Rooms of one device, each with locks of its own, as those of another process are."""
    made: list[Room] = []

    def make() -> Room:
        made.append(Room(tmp_path))
        return made[-1]

    yield make
    for room in made:
        room.close()


@contextmanager
def slot(directory: Path, verb: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has entered or taken the room, and stays."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOT, str(directory), verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_the_only_slot_is_alone_at_all_times() -> None:
    room = Room()
    assert room.enter()
    assert room.take()
    assert not room.wanted
    room.leave()


def test_any_number_of_slots_share_the_room(room_of: MakeRoom) -> None:
    rooms = [room_of() for _ in range(4)]
    assert [room.enter() for room in rooms] == [True] * 4
    assert [room.enter() for room in rooms] == [True] * 4
    assert not any(room.wanted for room in rooms)


def test_who_wants_to_be_alone_waits_for_those_inside_and_nobody_comes_in_meanwhile(room_of: MakeRoom) -> None:
    alone, inside, late = room_of(), room_of(), room_of()
    assert inside.enter()
    assert not alone.take()
    assert late.wanted
    assert not late.enter()
    inside.leave()
    assert alone.take()
    assert not inside.enter()
    assert not late.take()
    alone.leave()
    assert not late.wanted
    assert late.enter()
    assert inside.enter()


def test_two_that_share_the_room_and_both_want_it_alone_have_it_one_after_the_other(room_of: MakeRoom) -> None:
    first, second = room_of(), room_of()
    assert first.enter()
    assert second.enter()
    assert not first.take()
    assert not second.take()
    assert first.take()
    assert not second.take()
    first.leave()
    assert second.take()


def test_who_gives_up_waiting_opens_the_gate(room_of: MakeRoom) -> None:
    inside, waiting, late = room_of(), room_of(), room_of()
    assert inside.enter()
    assert not waiting.take()
    waiting.leave()
    assert late.enter()


def test_looking_at_the_gate_opens_it_for_nobody(room_of: MakeRoom) -> None:
    alone, other = room_of(), room_of()
    assert alone.take()
    assert alone.wanted
    assert other.wanted
    assert not other.enter()


@pytest.mark.parametrize("verb", ["enter", "take"])
def test_a_killed_process_is_neither_in_the_room_nor_at_the_gate(room_of: MakeRoom, tmp_path: Path, verb: str) -> None:
    mine = room_of()
    with slot(tmp_path, verb) as process:
        assert not mine.take()
        process.kill()
        process.wait()
        assert mine.take()


# -- runs


@pytest.fixture
def runner_of(tmp_path: Path, room_of: MakeRoom) -> Callable[..., Runner]:
    def make(api: FakeApi, pool: ChildPool, limits: Limits = QUICK) -> Runner:
        place = Place(FilesystemStore(tmp_path / "store"), tmp_path / "data", threads=1, room=room_of())
        return Runner(api, pool, worker="w1", place=place, limits=limits)

    return make


@contextmanager
def draining(runner: Runner) -> Iterator[Thread]:
    """The runner at work on a thread, which has ended with the block."""
    thread = Thread(target=runner.drain, args=("cpu",))
    thread.start()
    try:
        yield thread
    finally:
        thread.join(timeout=20)
        assert not thread.is_alive()


def waits_at_the_gate(other: Room) -> None:
    """Until the runner has shut the gate."""
    wait_for(lambda: other.wanted)


def test_an_alone_run_keeps_its_lease_while_it_waits_and_nobody_comes_in_until_it_has_ended(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    other = room_of()
    inside: list[bool] = []
    api = FakeApi([assignment(alone=True)], hooks={"report": lambda _: inside.append(other.enter())})
    assert other.enter()
    with draining(runner_of(api, pool)):
        wait_for(lambda: len(api.heartbeats) >= 3)
        assert other.wanted
        assert api.reports == []
        other.leave()
    assert api.steps() == [1, 2, 3]
    assert inside
    assert not any(inside)
    assert other.enter()
    assert not pool.warm  # it is not kept: it held too much once


def test_an_alone_run_gives_up_the_warm_trainer_before_it_waits_and_has_one_that_has_not_trained(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    other = room_of()
    runner = runner_of(api := FakeApi([assignment(1)]), pool)
    runner.drain("cpu")
    assert pool.warm
    warm = pool.acquire()
    assert warm is not None
    assert other.enter()
    api.add(assignment(2, alone=True))
    with draining(runner):
        waits_at_the_gate(other)
        assert not warm.alive  # what it holds would be missed by whoever is alone before
        other.leave()
    assert api.steps(2) == [1, 2, 3]
    assert api.metrics(2)["pid"] != api.metrics(1)["pid"]


def test_an_alone_run_without_a_trainer_that_starts_is_handed_back(
    runner_of: Callable[..., Runner], room_of: MakeRoom, tmp_path: Path
) -> None:
    once = f"""
import os, sys
from tests.unit.workers import stand_in
from workers.trainer import main
try:
    os.close(os.open({str(tmp_path / "once")!r}, os.O_CREAT | os.O_EXCL))
except FileExistsError:
    sys.exit("no device")
main(stand_in.train)
"""
    pool = ChildPool(spawner(environment(os.environ, 1), (sys.executable, "-c", once)))
    try:
        runner = runner_of(api := FakeApi([assignment(1), assignment(2, alone=True)]), pool)
        runner.drain("cpu")
    finally:
        pool.close()
    assert api.steps(1) == [1, 2, 3]
    assert [(number, body.lease) for number, body in api.releases] == [(2, api.trials[1].lease.token)]
    assert (api.steps(2), api.tells) == ([], [])
    assert room_of().take()


def test_a_run_that_is_not_alone_waits_for_none_that_is_not(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    other = room_of()
    assert other.enter()
    api = FakeApi([assignment(1), assignment(2)])
    runner_of(api, pool).drain("cpu")
    assert (api.steps(1), api.steps(2)) == ([1, 2, 3], [1, 2, 3])


def test_no_trial_is_claimed_while_another_slot_is_alone(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    other, alone = room_of(), [False]
    claimed: list[bool] = []
    api = FakeApi([assignment(1)], hooks={"claim": lambda _: claimed.append(alone[0])})
    runner = runner_of(api, pool)
    runner.drain("cpu")
    assert pool.warm
    assert not other.take()  # the trainer is kept for the next trial, and with it its memory
    api.add(assignment(2))
    alone[0] = True
    with draining(runner):
        wait_for(other.take)
        wait_for(lambda: not pool.warm)
        alone[0] = False
        other.leave()
    assert api.steps(2) == [1, 2, 3]
    assert not any(claimed)


def test_an_idle_slot_gives_up_its_warm_trainer_to_who_wants_to_be_alone(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    other, runner = room_of(), runner_of(FakeApi([assignment()]), pool)
    runner.drain("cpu")
    assert not other.take()
    runner.make_room()
    assert not pool.warm
    assert other.take()


def test_a_busy_slot_is_not_interrupted_by_who_wants_to_be_alone(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    other = room_of()
    runner = runner_of(api := FakeApi([assignment(config={"epoch_s": 0.05})]), pool)
    with draining(runner):
        wait_for(lambda: api.reports)
        assert not other.take()
        runner.make_room()
        wait_for(other.take)
        other.leave()
    assert api.steps() == [1, 2, 3]


def test_a_worker_that_is_stopped_while_its_run_waits_to_be_alone_hands_it_back(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    inside, other = room_of(), room_of()
    assert inside.enter()
    runner = runner_of(api := FakeApi([assignment(alone=True)]), pool)
    with draining(runner):
        waits_at_the_gate(other)
        runner.stop()
    assert [number for number, _ in api.releases] == [1]
    assert (api.reports, api.tells) == ([], [])
    assert other.enter()


def test_a_worker_that_is_stopped_at_the_gate_claims_nothing(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    other = room_of()
    assert other.take()
    runner = runner_of(api := FakeApi([assignment()]), pool)
    with draining(runner):
        wait_for(lambda: runner.busy)
        runner.stop()
    assert api.claims == []


@pytest.mark.parametrize("request_", ["pause", "stop", "cancel"])
def test_a_run_that_is_asked_to_end_while_it_waits_to_be_alone_is_handed_back(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom, request_: str
) -> None:
    inside, other = room_of(), room_of()
    assert inside.enter()
    api = FakeApi([assignment(alone=True)], stop=request_)
    runner_of(api, pool).drain("cpu")
    assert [number for number, _ in api.releases] == [1]
    assert api.reports == []
    assert other.enter()


def test_a_lease_that_is_lost_while_its_run_waits_to_be_alone_ends_it_and_the_next_trial_runs(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    inside = room_of()
    assert inside.enter()
    api = FakeApi([assignment(1, alone=True), assignment(2)], hooks={"heartbeat": failing(1, lease_lost)})
    runner_of(api, pool).drain("cpu")
    assert (api.steps(1), api.steps(2)) == ([], [1, 2, 3])
    assert (api.tells, api.releases) == ([], [])


def test_a_run_that_waits_to_be_alone_without_the_api_is_given_up(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    inside, other = room_of(), room_of()
    assert inside.enter()
    api = FakeApi([assignment(alone=True)], hooks={"heartbeat": failing(10**6, unreachable)})
    runner_of(api, pool, Limits(heartbeat_s=0.05, isolation_s=0.3, retry_s=0.02)).drain("cpu")
    assert (api.reports, api.tells, api.releases) == ([], [], [])
    assert other.enter()


def test_waiting_to_be_alone_is_no_stall_and_counts_from_the_claim(
    pool: ChildPool, runner_of: Callable[..., Runner], room_of: MakeRoom
) -> None:
    other = room_of()
    assert other.enter()
    api = FakeApi([assignment(alone=True, timeout_s=0.5)])
    with draining(runner_of(api, pool)):
        wait_for(lambda: len(api.heartbeats) >= 12)  # at 0.05 s each: longer than the trial's time limit
        other.leave()
    assert api.steps() == [1, 2, 3]
    setup_s = api.reports[0][1].setup_s
    assert setup_s is not None
    assert setup_s > 0.5
