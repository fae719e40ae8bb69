"""The trainer child as its worker sees it: what it knows, how it dies, what its lines are worth."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.workers.conftest import STAND_IN, wait_for
from workers.child import Child, Gone, environment
from workers.pool import ChildPool, TrainerBroken, spawner
from workers.protocol import Epoch, Go, Park, Ready, Train, order, said

ENV = environment(os.environ, 1)


def train_order(directory: Path, run: int = 1, **config: float) -> Train:
    return Train(
        run=run,
        trainer="stand-in",
        config=config,
        seed=1,
        from_step=0,
        target_step=5,
        max_resource=5,
        resume=None,
        inherits=False,
        data_root=directory,
        threads=1,
        rungs=(),
        checkpoint_every=1,
        directory=directory,
    )


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def exists(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet reaped does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_the_child_is_told_no_secret() -> None:
    secrets = {
        "LADDER_TOKEN": "ldr_secret",
        "LADDER_REDIS_URL": "redis://:pw@h/0",
        "LADDER_DATABASE_URL": "postgresql://u:pw@h/d",
        "DATABASE_URL": "x",
        "REDIS_URL": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "PGPASSWORD": "x",
    }
    env = environment({**secrets, "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "LC_ALL": "C"}, threads=3)
    assert not set(secrets) & set(env)
    assert (env["PATH"], env["CUDA_VISIBLE_DEVICES"], env["LC_ALL"]) == ("/bin", "1", "C")
    assert {env[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}


def test_a_killed_child_takes_what_it_started_with_it(tmp_path: Path) -> None:
    child = Child(ENV, STAND_IN)
    child.send(train_order(tmp_path, leave_at=1, hang_at=2))
    wait_for(lambda: len(children_of(child.pid)) == 1)
    (left,) = children_of(child.pid)
    child.kill()
    child.wait()
    assert isinstance(child.gone, Gone)
    assert child.gone.code == -signal.SIGKILL
    wait_for(lambda: not exists(left))


def test_what_a_child_started_ends_with_it_however_it_dies(tmp_path: Path) -> None:
    child = Child(ENV, STAND_IN)
    child.send(train_order(tmp_path, leave_at=1, hang_at=2))
    wait_for(lambda: len(children_of(child.pid)) == 1)
    (left,) = children_of(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    wait_for(lambda: not exists(left))


@pytest.mark.parametrize("hanging", [False, True])
def test_no_child_outlives_a_worker_that_is_killed(tmp_path: Path, hanging: bool) -> None:
    """Both children: the one that trains, even deep in an epoch, and the one on standby."""
    program = f"""
import os, time
from pathlib import Path
from tests.unit.workers.conftest import STAND_IN
from tests.unit.workers.test_child import train_order
from workers.child import environment
from workers.pool import ChildPool, spawner
pool = ChildPool(spawner(environment(os.environ, 1), STAND_IN))
child = pool.acquire()
if {hanging}:
    child.send(train_order(Path({str(tmp_path)!r}), hang_at=1))
print("children", child.pid, pool._standby.result().pid, flush=True)
time.sleep(1000)
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with worker:
        assert worker.stdout is not None
        line = next(line for line in worker.stdout if line.startswith("children"))
        pids = [int(word) for word in line.split()[1:]]
        assert all(exists(pid) for pid in pids)
        os.killpg(worker.pid, signal.SIGKILL)
    wait_for(lambda: not any(exists(pid) for pid in pids), deadline_s=2.0)


def test_a_closed_pool_leaves_no_process() -> None:
    others = set(children_of(os.getpid()))  # the session's Postgres and Redis may be among them
    pool = ChildPool(spawner(ENV, STAND_IN))
    child = pool.acquire()
    assert child is not None
    spawned = set(children_of(os.getpid())) - others
    assert child.pid in spawned
    pool.close()
    assert not any(exists(pid) for pid in spawned)


def test_a_pool_without_standby_has_one_child_and_makes_another_when_it_ends() -> None:
    others = set(children_of(os.getpid()))

    def alive() -> list[int]:  # but for ps itself
        return [pid for pid in children_of(os.getpid()) if pid not in others and exists(pid)]

    pool = ChildPool(spawner(ENV, STAND_IN), standby=False)
    first = pool.acquire()
    assert first is not None
    assert alive() == [first.pid]
    pool.drop()
    second = pool.acquire()
    assert second is not None
    assert alive() == [second.pid]
    pool.close()


def test_a_child_that_cannot_start_is_an_error_with_its_last_words() -> None:
    command = (sys.executable, "-c", "raise SystemExit('no module named torch')")
    pool = ChildPool(spawner(ENV, command))
    with pytest.raises(TrainerBroken, match="no module named torch"):
        pool.acquire()
    pool.close()


def test_a_standby_child_that_died_while_it_waited_is_replaced() -> None:
    pool = ChildPool(spawner(ENV, STAND_IN))
    first = pool.acquire()
    assert first is not None
    assert pool._standby is not None
    standby = pool._standby.result()
    standby.ready.wait()
    standby.kill()
    standby.wait()
    pool.discard(first)
    fresh = pool.acquire()
    assert fresh is not None
    assert fresh.pid not in (first.pid, standby.pid)
    pool.close()


def test_whoever_waits_for_a_child_is_let_go_by_cancel() -> None:
    pool = ChildPool(spawner(ENV, (sys.executable, "-c", "import time; time.sleep(1000)")))
    pool.warm_up()
    pool.cancel()
    assert pool.acquire() is None
    pool.close()


def test_a_dead_child_is_sent_nothing() -> None:
    child = Child(ENV, STAND_IN)
    child.kill()
    child.wait()
    child.send(Park(run=1))
    child.kill()


def test_a_frozen_child_can_be_killed() -> None:
    child = Child(ENV, STAND_IN)
    child.ready.wait()
    child.freeze()
    child.kill()
    child.wait()
    assert child.gone is not None


def test_only_the_end_of_stderr_is_kept(tmp_path: Path) -> None:
    child = Child(ENV, (sys.executable, "-c", "import sys; sys.stderr.write('x' * 100_000 + 'the end')"))
    child.wait()
    assert child.gone is not None
    assert len(child.gone.stderr) == 8192
    assert child.gone.stderr.endswith("the end")


@settings(deadline=None)  # no clock in a test
@given(line=st.binary(max_size=300))
def test_no_line_of_a_child_can_raise(line: bytes) -> None:
    assert said(line) is None or said(line) == Ready()


@pytest.mark.parametrize(
    "line",
    [
        b'{"say": "epoch", "run": 1, "step": true, "metrics": {}, "seconds": 1}',
        b'{"say": "epoch", "run": 1, "step": 0, "metrics": {}, "seconds": 1}',
        b'{"say": "epoch", "run": 1, "step": 1, "metrics": {"a\\u0000": 1}, "seconds": 1}',
        b'{"say": "epoch", "run": 1, "step": 1, "metrics": {"a": "big"}, "seconds": 1}',
        b'{"say": "epoch", "run": 1, "step": 1, "metrics": {}, "seconds": -1}',
        b'{"say": "failed", "run": 1, "kind": "poison", "message": ""}',
        b'{"say": "ready", "more": 1}',
        b'{"do": "go", "run": 1, "target_step": 2}',
    ],
)
def test_a_line_that_breaks_the_protocol_is_not_heard(line: bytes) -> None:
    assert said(line) is None


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    for sent in (train_order(tmp_path, x=0.5), Go(run=2, target_step=9)):
        assert order(sent.line()) == sent
    epoch = Epoch.model_validate({"run": 1, "step": 3, "metrics": {"loss": "nan", "acc": 0.5}, "seconds": 0.1})
    heard = said(epoch.line())
    assert isinstance(heard, Epoch)
    assert heard.line() == epoch.line()
