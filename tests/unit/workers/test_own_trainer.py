"""The real child with an installed trainer: what becomes of its trial, and that the next one finds a sound process."""

import os
from collections.abc import Iterator

import pytest

from api.schemas.leases import Assignment, ReportOut, TellIn
from tests.unit.workers.conftest import QUICK
from tests.unit.workers.fake_api import FakeApi, assignment
from workers.child import TRAINER, environment
from workers.limits import Place
from workers.pool import ChildPool, spawner
from workers.runner import Runner

CODE = """
import os

import ladder


def train(config):
    for step in ladder.epochs():
        print("trial code may print", flush=True)
        if step == config.get("raise_at"):
            raise LookupError("no such layer")
        ladder.checkpoint({"step": step})
        ladder.report(step, loss=1 / step, pid=os.getpid())
        if step == config.get("return_at"):
            return
"""


@pytest.fixture(scope="module")
def own_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildPool]:
    """Children that find a package with the trainers ``mine`` and ``forbidden``, of which the first is allowed."""
    site = tmp_path_factory.mktemp("site")
    info = site / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ladder.trainers]\nmine = mine_nets:train\nforbidden = mine_nets:train\n")
    (site / "mine_nets.py").write_text(CODE)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    env = environment({**os.environ, "PYTHONPATH": path, "LADDER_TRAINERS": "mine"}, 1)
    pool = ChildPool(spawner(env, TRAINER))
    yield pool
    pool.close()


def mine(number: int = 1, **fields: object) -> Assignment:
    return assignment(number, **{"trainer": "mine", "config": {}, "target_step": 3, "max_resource": 9, **fields})


def run(pool: ChildPool, place: Place, *trials: Assignment, decision: str = "complete") -> FakeApi:
    """Trials that are told ``decision`` at their target."""
    targets = {trial.number: trial.target_step for trial in trials}
    api = FakeApi(
        list(trials),
        decide=lambda trial, step: ReportOut.model_validate(
            {"decision": decision if step == targets[trial.number] else "continue", "target_step": 9}
        ),
    )
    Runner(api, pool, worker="w1", place=place, limits=QUICK).drain("cpu")
    return api


def test_a_decision_ends_the_trainer_and_its_child_trains_the_next_trial(own_pool: ChildPool, place: Place) -> None:
    api = run(own_pool, place, mine(1), mine(2), decision="pause")
    assert (api.steps(1), api.steps(2), api.tells) == ([1, 2, 3], [1, 2, 3], [])
    assert api.metrics(1)["pid"] == api.metrics(2)["pid"]


@pytest.mark.parametrize("at", [2, 3], ids=["between rungs", "after a rung"])
def test_a_trainer_that_returns_early_completes_its_trial(own_pool: ChildPool, place: Place, at: int) -> None:
    api = run(own_pool, place, mine(config={"return_at": at}), decision="continue")
    assert api.steps() == list(range(1, at + 1))
    [(_, told)] = api.tells
    assert (told.state, told.error) == ("complete", None)


def test_a_trainer_that_this_worker_does_not_allow_fails_its_trial_and_names_the_setting(
    own_pool: ChildPool, place: Place
) -> None:
    told = failure(run(own_pool, place, mine(trainer="forbidden")))
    assert told.error is not None
    assert told.error.type == "user_error"
    assert "LADDER_TRAINERS of this worker does not allow 'forbidden', want one of mine" in told.error.message


def test_an_error_of_the_trainer_fails_its_trial_with_the_line_of_its_code(own_pool: ChildPool, place: Place) -> None:
    told = failure(run(own_pool, place, mine(config={"raise_at": 2})))
    assert told.error is not None
    assert (told.error.type, told.error.message) == ("user_error", "no such layer")
    assert 'mine_nets.py", line 11, in train' in (told.error.traceback or "")


def failure(api: FakeApi) -> TellIn:
    [(_, told)] = api.tells
    return told
