"""A parallel study whose workers die is derived again, suggestions and decisions, from its log alone."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

import pytest

from hpo.domain.events import Event, EventType
from hpo.replay import replay
from hpo.spec.study import StudySpec
from ladder.process import Process, wait_until
from ladder.stack import LocalStack
from ladder.study import Study
from tests.faults.fleet import TIMINGS, WAIT_S, Fleet, linger

WORKERS, DEATHS, TRIALS = 8, 5, 60


@pytest.fixture
def eight() -> Iterator[Fleet]:
    """Eight workers and two control processes, which take turns in sampling."""
    home = Path(tempfile.mkdtemp(prefix="ladder-faults-"))
    stack = LocalStack(home, workers=WORKERS, control_replicas=2, settings_env=TIMINGS)
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, home)
        cleanup.enter_context(stack)
        yield cleanup.enter_context(closing(Fleet(stack)))


def _name(worker: Process) -> str:
    return worker.name.removeprefix("worker-")


def _busy(fleet: Fleet, study: Study, rng: Random) -> Process:
    """A worker that lives and trains: trials of those that died seem to run until their leases end."""
    found: list[Process] = []

    def training() -> bool:
        busy = {trial.worker for trial in study.trials(state="running") if trial.last_step > 0}
        found[:] = [worker for worker in fleet.stack.workers if _name(worker) in busy]
        return bool(found)

    wait_until(training, "a living worker trains", timeout_s=WAIT_S)
    return rng.choice(found)


def test_a_study_of_eight_workers_of_which_five_die_is_derived_again(eight: Fleet, rng: Random) -> None:
    study = eight.client.studies.create(
        {
            "name": "replayed",
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": [{"type": "float", "name": name, "low": 0, "high": 1} for name in ("x", "y")],
            "sampler": {"type": "tpe", "n_startup_trials": 6},
            "scheduler": {"type": "asha", "max_resource": 9},
            "pruners": [{"type": "median", "min_trials": 3, "grace": 2}],
            "trainer": {"name": "synthetic", "config": {"epoch_s": 0.4, "noise": 0.05}},
            "budget": {"max_trials": TRIALS},
        }
    )
    deaths = 0
    while deaths < DEATHS:
        worker = _busy(eight, study, rng)
        linger(rng.uniform(0, 0.3))
        worker.kill()
        # It counts if a trial was in its hands when it died.
        held = "SELECT 1 FROM trial WHERE study_id = %(study)s AND state = 'running' AND worker = %(worker)s"
        deaths += len(eight.rows(held, study=study.id, worker=_name(worker)))
        eight.stack.respawn(worker)
    eight.finish(study)
    info = study.refresh()
    log = [Event(event.seq, EventType(event.type), event.trial, event.data) for event in study.events()]
    found = replay(StudySpec.model_validate(info.model_dump(include=set(StudySpec.model_fields))), log)
    assert eight.infra_failures(study) >= DEATHS
    assert found.difference is None
    assert found.suggestions == TRIALS
    assert found.decisions == sum("decision" in event.data for event in log) >= TRIALS
    assert found.promotions == sum(event.type is EventType.TRIAL_PROMOTED for event in log) > 0
