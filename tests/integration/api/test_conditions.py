"""Why a study moves or does not: each condition with the state that brings it about."""

from typing import Any

import pytest

from tests.integration.api.caller import Api, Json

OURS = {"name": "synthetic"}
ASHA = {"type": "asha", "min_resource": 1, "max_resource": 3, "reduction_factor": 3}


def _conditions(api: Api, name: str = "s") -> dict[str, Json]:
    """By type; the list and the study itself say the same."""
    study = api.get(f"/studies/{name}").json()
    (listed,) = [one for one in api.get("/studies?archived=true").json()["items"] if one["name"] == name]
    strip = ("message",)  # a message may count seconds

    def plain(conditions: list[Json]) -> list[Json]:
        return [{key: value for key, value in one.items() if key not in strip} for one in conditions]

    assert plain(listed["conditions"]) == plain(study["conditions"])
    return {one["type"]: one for one in study["conditions"]}


def _worker(api: Api, name: str = "w", queue: str = "cpu") -> None:
    api.call("PUT", f"/workers/{name}", {"queue": queue, "protocol_version": 3}, scope="worker")


def _told(condition: Json) -> tuple[Any, ...]:
    return condition["status"], condition["reason"], condition["command"]


def test_workers_that_are_missing_draining_or_elsewhere_are_told_apart(api: Api) -> None:
    api.create(trainer=OURS)
    start = "ladder worker --queue cpu"
    missing = _conditions(api)["WorkersAvailable"]
    assert _told(missing) == (False, "NoLiveWorker", start)
    assert "1 trial waits" in missing["message"]
    assert missing["since"] is not None
    _worker(api, queue="gpu")
    elsewhere = _conditions(api)["WorkersAvailable"]
    assert (_told(elsewhere), "gpu" in elsewhere["message"]) == ((False, "WrongQueue", start), True)
    _worker(api, "mine")
    api.post("/workers/mine/drain")
    assert _told(_conditions(api)["WorkersAvailable"]) == (False, "AllDraining", start)
    _worker(api, "ready")
    assert _told(_conditions(api)["WorkersAvailable"]) == (True, "LiveWorkers", None)


def test_a_study_that_was_not_started_or_is_paused_says_how_to_go_on(api: Api) -> None:
    study = api.create(start=False)
    created = _conditions(api)["Started"]
    assert (_told(created), created["since"]) == ((False, "NotStarted", "ladder study start s"), study["created_at"])
    api.post("/studies/s/start")
    assert "Started" not in _conditions(api)
    api.advance(study)
    paused = api.post("/studies/s/pause").json()
    found = _conditions(api)["Paused"]
    assert _told(found) == (True, "ByUser", "ladder study resume s")
    assert study["created_at"] < found["since"] <= paused["updated_at"]


def test_the_end_is_told_in_words(api: Api) -> None:
    study = api.create(budget={"max_trials": 1})
    (trial,) = api.ask()
    api.report(trial, 3)
    api.advance(study)
    ended = _conditions(api)
    assert _told(ended["Ended"]) == (True, "MaxTrials", "ladder study extend s --trials N")
    assert "all trials" in ended["Ended"]["message"]
    assert set(ended) == {"Ended"}
    api.create("t")
    api.post("/studies/t/cancel")
    assert _told(_conditions(api, "t")["Ended"]) == (True, "User", "ladder study clone t")


def test_a_bound_is_told_of_when_it_is_nearly_spent_and_when_it_is(api: Api) -> None:
    api.create(budget={"max_trials": 100, "max_epochs": 10}, scheduler={"type": "fifo", "max_resource": 3})
    trials = api.ask(count=3)
    assert "BudgetLeft" not in _conditions(api)
    for trial in trials:
        api.report(trial, 3)
    nearly = _conditions(api)["BudgetLeft"]
    assert _told(nearly) == (True, "MaxEpochsNearlySpent", "ladder study extend s --epochs N")
    assert nearly["message"] == "9 of 10 epochs spent"
    api.create("t", budget={"max_trials": 1})
    assert _told(_conditions(api, "t")["BudgetLeft"])[:2] == (False, "MaxTrialsSpent")


def test_trials_that_wait_at_a_rung_say_for_whom(api: Api) -> None:
    halving = {"type": "successive_halving", "max_resource": 3, "reduction_factor": 3, "n_trials": 3}
    study = api.create(scheduler=halving, budget={"max_trials": 3})
    trials = api.ask(count=3)
    for trial, loss in zip(trials[:2], (0.1, 0.2), strict=True):
        api.report(trial, 1, loss)
    api.advance(study)
    waiting = _conditions(api)["WaitingForRung"]
    assert _told(waiting) == (True, "RungIncomplete", "ladder rungs s")
    assert "1 trial waits at rung 0 (1 epoch), where 2 have reported" in waiting["message"]
    assert "1 running trial has reported" in waiting["message"]


def test_attempts_that_all_fail_alike_are_told_with_the_error(api: Api) -> None:
    api.create(budget={"max_trials": 20})
    for number in range(3):
        assert "TrialsFailing" not in _conditions(api)
        (trial,) = api.ask()
        error = {"type": "user_error", "message": f"no such file: /data/{number}\nat line 3"}
        api.tell(trial, state="failed", error=error)
    failing = _conditions(api)["TrialsFailing"]
    assert _told(failing) == (True, "UserError", "ladder trial get s 2")
    assert failing["message"].endswith("the newest of trial 2: no such file: /data/2")
    (trial,) = api.ask()
    api.report(trial, 3)
    assert "TrialsFailing" not in _conditions(api)


def test_a_full_study_says_that_more_would_run(api: Api) -> None:
    study = api.create(budget={"max_trials": 9, "max_concurrent": 1})
    assert "ConcurrencyFull" not in _conditions(api)
    api.ask()
    api.advance(study)
    full = _conditions(api)["ConcurrencyFull"]
    assert (full["status"], full["reason"], "1 of at most 1 trial" in full["message"]) == (True, "MaxConcurrent", True)


@pytest.mark.parametrize("sampler", ["random", "manual"])
def test_a_study_that_nobody_moves_says_whose_part_it_is(api: Api, sampler: str) -> None:
    study = api.create(sampler={"type": sampler}, advance=False)
    assert set(_conditions(api)) == set()
    api.hand.execute(
        "UPDATE study SET updated_at = clock_timestamp() - interval '1 min' WHERE id = %(id)s", id=study["id"]
    )
    (found,) = _conditions(api).values()
    if sampler == "manual":
        assert _told(found) == (True, "NothingEnqueued", "ladder trial enqueue s NAME=VALUE")
    else:
        assert (found["type"], *_told(found)) == ("ControlAlive", False, "NoProgress", "ladder control")


def test_a_confirmation_under_way_is_told_of(api: Api) -> None:
    study = api.create(
        trainer={"name": "image-cnn", "config": {"dataset": "digits"}},
        objectives=[{"metric": "val_acc", "direction": "maximize"}],
        search_space=[{"type": "float", "name": "lr", "low": 0.01, "high": 0.1}],
        budget={"max_trials": 1},
        confirm={"top": 1, "seeds": 2},
    )
    trial = api.claim().json()["trial"]
    api.report(trial, 3, metrics={"val_acc": 0.9})
    api.advance(study)
    found = _conditions(api)["Confirming"]
    assert _told(found) == (True, "WinnersAreTrained", "ladder study watch s.confirm")
    assert "0 of 3 trials have ended" in found["message"]
