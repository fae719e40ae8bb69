"""A confirmation whose workers die: its final trial is scored once all the same."""

import signal
from random import Random

from hpo.domain.trial import TrialState
from ladder.process import wait_until
from ladder.study import Study
from tests.faults.fleet import WAIT_S, Fleet, curve

EPOCH_S = 0.15
FULL = 14


def test_a_worker_that_dies_in_the_final_trial_leaves_one_score(fleet: Fleet, rng: Random) -> None:
    confirm = {"top": 2, "seeds": 2, "config": {"epoch_s": EPOCH_S}}
    search = fleet.create(trials=3, max_resource=FULL, epoch_s=0.0, confirm=confirm)
    child = confirming(fleet, search)
    wait_until(lambda: trains_at_last(child), "the final trial trains", timeout_s=WAIT_S)
    number, worker = fleet.victim(child, rng, within_s=EPOCH_S)
    worker.send(signal.SIGKILL)
    worker.wait(WAIT_S)
    fleet.finish(child)

    assert search.wait(timeout=WAIT_S, until="confirmed").info.confirmation is not None
    row, reported = fleet.trial(child, number), curve(child, number)
    assert (number, row.final, row.state) == (4, "train_and_validation", TrialState.COMPLETE)
    assert [step for step, metrics in enumerate(reported, start=1) if "test_acc" in metrics] == [FULL]
    [scored] = [event for event in child.events(after=0) if event.type == "test-scored"]
    assert (scored.trial, scored.data["metrics"]["test_acc"]) == (number, reported[-1]["test_acc"])
    assert fleet.violations(search) == []


def confirming(fleet: Fleet, search: Study) -> Study:
    wait_until(lambda: search.confirmation is not None, "the search has ended", timeout_s=WAIT_S)
    found = search.info.confirmation
    assert found is not None
    return fleet.client.studies.get(str(found.study_id))


def trains_at_last(study: Study) -> bool:
    return any(trial.final is not None and trial.last_step > 0 for trial in study.trials(state="running"))
