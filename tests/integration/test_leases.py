"""Leases on a real Postgres: who holds a trial, what a lost lease can still do (nothing), and how attempts end."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import uuid4

import pytest

from hpo.domain.errors import InvalidSpec, LeaseLost, NotFound
from hpo.domain.merit import WORST
from hpo.domain.report import StepResult
from hpo.domain.trial import StopRequest
from hpo.lifecycle.leases import MAX_NO_PROGRESS, Claimed
from hpo.storage import leases as stored
from tests.audit import audit
from tests.integration.repository import Repository

FIFO = {"type": "fifo", "max_resource": 4}


@pytest.fixture
def repository(postgres_url: str) -> Iterator[Repository]:
    """Whatever a test does, the record is clean at its end."""
    repository = Repository.on(postgres_url)
    yield repository
    repository.db.engine.dispose()
    assert audit(postgres_url) == []


def test_claimers_at_the_same_time_never_get_the_same_trial(repository: Repository) -> None:
    study = repository.create(budget={"max_trials": 40})
    start = threading.Barrier(8)

    def claim_some(worker: int) -> list[Claimed]:
        start.wait()
        found = []
        for _ in range(5):
            if (claimed := repository.try_claim(study, worker=f"w{worker}")) is not None:
                found.append(claimed)
            repository.advance(study)
        return found

    with ThreadPoolExecutor(8) as pool:
        taken = [claimed for batch in pool.map(claim_some, range(8)) for claimed in batch]
    assert len(taken) > 8
    assert len({claimed.number for claimed in taken}) == len(taken)
    assert len({claimed.lease for claimed in taken}) == len(taken)


def test_a_claim_whose_reply_was_lost_gives_the_same_trial_again(repository: Repository) -> None:
    study, claim_id = repository.create(), uuid4()
    first = repository.claim(study, claim_id=claim_id)
    again = repository.claim(study, claim_id=claim_id)
    assert (again.number, again.lease, again.attempt) == (first.number, first.lease, first.attempt)
    assert repository.one("SELECT running FROM study").running == 1


def test_no_more_trials_run_than_the_study_allows(repository: Repository) -> None:
    study = repository.create(budget={"max_trials": 10, "max_concurrent": 2})
    repository.claim(study)
    repository.advance(study)
    held = repository.claim(study)
    repository.advance(study)
    assert repository.try_claim(study) is None
    repository.release(held)
    assert repository.try_claim(study) is not None


def test_claims_reserve_epochs_and_the_budget_is_never_exceeded(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 10, "max_epochs": 10})
    first = repository.claim(study)
    repository.advance(study)
    repository.claim(study)
    repository.advance(study)
    assert repository.try_claim(study) is None  # 8 of 10 are promised, a third trial needs 4
    repository.report(first, 4, 0.5)
    row = repository.one("SELECT spent, reserved FROM study")
    assert (row.spent, row.reserved) == (4, 4)


def test_a_lost_lease_can_do_nothing_at_all(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO)
    zombie = repository.claim(study)
    repository.report(zombie, 1, 0.5)
    repository.expire(zombie)
    assert repository.reap(zombie)
    heir = repository.claim(study)
    assert heir.number == zombie.number
    assert heir.attempt == zombie.attempt + 1
    before = _written(repository)
    attempts: list[Callable[[], object]] = [
        lambda: repository.renew(zombie),
        lambda: repository.report(zombie, 2, 0.1),
        lambda: repository.report(zombie, 4, 0.1),
        lambda: repository.release(zombie, step=2),
        lambda: repository.fail(zombie, "user_error"),
        lambda: repository.fail(zombie, "diverged", step=StepResult(2, {"loss": float("nan")})),
    ]
    for attempt in attempts:
        with pytest.raises(LeaseLost):
            attempt()
    assert not repository.reap(zombie)
    assert _written(repository) == before
    assert repository.report(heir, 2, 0.3).decision == "continue"


def _written(repository: Repository) -> object:
    return repository.one(
        "SELECT (SELECT count(*) FROM report), (SELECT count(*) FROM event), (SELECT count(*) FROM checkpoint),"
        " (SELECT sum(last_step) FROM trial), (SELECT spent FROM study), (SELECT last_seq FROM study)"
    )


def test_a_trial_that_does_not_exist_is_not_found_rather_than_lost(repository: Repository) -> None:
    study = repository.create()
    held = repository.claim(study)
    stranger = Claimed(**{name: getattr(held, name) for name in Claimed.__slots__} | {"number": 999})
    with pytest.raises(NotFound):
        repository.renew(stranger)
    with pytest.raises(NotFound):
        repository.report(stranger, 1, 0.5)


def test_an_expired_lease_that_nobody_took_back_may_be_renewed(repository: Repository) -> None:
    study = repository.create()
    held = repository.claim(study)
    repository.expire(held)
    repository.renew(held)
    assert not repository.reap(held)
    assert repository.report(held, 1, 0.5).decision in ("pause", "continue")


def test_a_living_lease_is_not_taken_back(repository: Repository) -> None:
    held = repository.claim(repository.create())
    assert not repository.reap(held)
    assert repository.trial(held).state == "running"


def test_expired_leases_are_found_only_a_whole_ttl_after_postgres_has_started(repository: Repository) -> None:
    study = repository.create()
    held = repository.claim(study, ttl_s=0.01)
    repository.expire(held)
    assert [row.lease_id for row in repository.db.read(stored.expired)] == [held.lease]
    # To a lease longer than the server's life, an outage may have been the reason that nobody renewed it.
    repository.execute("UPDATE trial SET lease_ttl_s = 1e8 WHERE lease_id = %(lease)s", lease=held.lease)
    assert repository.db.read(stored.expired) == []


def test_many_reapers_take_a_lease_back_once(repository: Repository) -> None:
    study = repository.create(budget={"max_trials": 8})
    held = repository.claim(study)
    repository.expire(held)
    start = threading.Barrier(6)

    def reap(_: int) -> bool:
        start.wait()
        return repository.reap(held)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(reap, range(6))) == 1
    assert repository.trial(held).infra_failures == 1


def test_a_released_trial_queues_at_once_and_counts_no_failure(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 1})
    held = repository.claim(study)
    repository.report(held, 2, 0.5)
    repository.release(held, step=2)
    row = repository.trial(held)
    assert (row.state, row.infra_failures, row.oom_failures, row.no_progress_attempts) == ("queued", 0, 0, 0)
    again = repository.claim(study)
    assert (again.number, again.last_step, again.attempt) == (held.number, 2, 2)
    assert [checkpoint.step for checkpoint in again.checkpoints] == [2]
    assert repository.end_classes(held) == ["drain", None]


def test_a_paused_study_asks_for_the_trial_back_and_goes_on_with_it(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 1})
    held = repository.claim(study)
    repository.command(study, "pause")
    assert repository.renew(held) is StopRequest.PAUSE
    repository.release(held)
    assert repository.try_claim(study) is None
    repository.command(study, "resume")
    assert repository.claim(study).number == held.number


def test_a_cancelled_study_ends_its_running_trials_whatever_they_say(repository: Repository) -> None:
    study = repository.create()
    first = repository.claim(study)
    repository.advance(study)
    second = repository.claim(study)
    repository.command(study, "cancel")
    assert repository.renew(first) is StopRequest.CANCEL
    assert repository.report(first, 1, 0.5).decision == "stop"
    repository.release(second)
    repository.advance(study)
    assert [repository.trial(held).state for held in (first, second)] == ["cancelled", "cancelled"]
    assert repository.one("SELECT count(*) AS n FROM trial WHERE state <> 'cancelled'").n == 0


def test_a_stopped_study_lets_a_running_rung_end_and_keeps_its_result(repository: Repository) -> None:
    study = repository.create()
    held = repository.claim(study)
    repository.command(study, "stop")
    assert repository.renew(held) is None
    assert repository.report(held, 1, 0.5).decision == "stop"
    repository.advance(study)
    assert repository.trial(held).state == "pruned"
    assert repository.one("SELECT state FROM study").state == "finished"


def test_lost_leases_wait_longer_each_time_and_the_trial_goes_on(repository: Repository) -> None:
    study = repository.create(scheduler={"type": "fifo", "max_resource": 9}, budget={"max_trials": 1})
    waits = []
    for step in range(1, 4):
        held = repository.claim(study)
        assert repository.trial(held).error is None  # what an earlier attempt ended in stays with that attempt
        repository.report(held, step, 0.5)
        repository.fail(held, "infra", backoff_s=10.0)
        row = repository.one(
            "SELECT state, infra_failures, error, extract(epoch FROM not_before - updated_at)::float8 AS wait"
            " FROM trial"
        )
        assert (row.state, row.infra_failures, row.error["type"]) == ("queued", step, "infra")
        assert repository.try_claim(study) is None
        waits.append(row.wait)
        repository.execute("UPDATE trial SET not_before = clock_timestamp()")
    assert waits == pytest.approx([10.0, 20.0, 40.0], abs=0.5)
    assert all(later > earlier for earlier, later in pairwise(waits))


def test_a_trial_fails_for_good_after_as_many_lost_attempts_as_its_study_allows(repository: Repository) -> None:
    study = repository.create(
        scheduler={"type": "fifo", "max_resource": 9}, budget={"max_trials": 1}, retry={"max_attempts": 4}
    )
    for step in range(1, 5):
        held = repository.claim(study)
        repository.report(held, step, 0.5)
        repository.fail(held, "infra")
    assert repository.trial(held).state == "failed"
    assert repository.end_classes(held) == ["infra"] * 4


def test_a_trial_that_makes_no_step_in_three_attempts_is_poison(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 1})
    for _ in range(MAX_NO_PROGRESS):
        held = repository.claim(study)
        repository.expire(held)
        assert repository.reap(held)
    row = repository.trial(held)
    assert (row.state, row.error["type"]) == ("failed", "poison")
    assert repository.end_classes(held) == ["infra", "infra", "poison"]


def test_progress_between_two_losses_saves_a_trial_from_being_poison(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 1})
    for attempt in range(1, 5):
        held = repository.claim(study)
        if attempt == 2:
            repository.report(held, 1, 0.5)
        repository.fail(held, "infra")
    assert repository.trial(held).state == "failed"
    assert repository.end_classes(held) == ["infra", "infra", "infra", "poison"]


def test_out_of_memory_is_tried_once_more_and_then_final(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 1})
    held = repository.claim(study)
    repository.fail(held, "oom")
    assert repository.trial(held).state == "queued"
    held = repository.claim(study)
    repository.fail(held, "oom")
    row = repository.trial(held)
    assert (row.state, row.error["type"], row.oom_failures, row.infra_failures) == ("failed", "oom", 2, 0)


def test_what_ran_out_of_memory_has_its_device_to_itself_from_then_on_and_the_record_says_so(
    repository: Repository,
) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 1})
    seen = []
    for ending in ("infra", "oom", "drain", "infra"):
        held = repository.claim(study)
        seen.append(held.alone)
        if ending == "drain":
            repository.release(held)
        else:
            repository.fail(held, ending)
    assert seen == [False, False, True, True]
    told = repository.one(
        "SELECT (SELECT array_agg(alone ORDER BY attempt) FROM attempt WHERE trial_id = %(id)s) AS attempts,"
        " (SELECT array_agg((data->>'alone')::boolean ORDER BY seq) FROM event"
        "  WHERE study_id = %(study)s AND type = 'trial-started') AS events",
        id=repository.trial(held).id,
        study=study,
    )
    assert told.attempts == told.events == seen


@pytest.mark.parametrize("kind", ["user_error", "ValueError"])
def test_a_users_error_is_never_tried_again(repository: Repository, kind: str) -> None:
    held = repository.claim(repository.create(scheduler=FIFO))
    repository.fail(held, kind)
    assert repository.trial(held).state == "failed"
    assert repository.end_classes(held) == ["user_error"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_trial_that_diverges_is_pruned_and_is_the_worst_of_its_rung(repository: Repository, value: float) -> None:
    held = repository.claim(repository.create())
    assert repository.report(held, 1, value).decision == "stop"
    row = repository.trial(held)
    assert (row.state, row.loss, row.last_step) == ("pruned", None, 1)
    assert repository.end_classes(held) == ["diverged"]
    entry = repository.one("SELECT rung, loss, decision, waiting FROM rung_entry")
    assert (entry.rung, entry.loss, entry.decision, entry.waiting) == (0, WORST, "stop", False)


def test_a_divergence_told_by_the_trainer_accounts_for_its_step(repository: Repository) -> None:
    held = repository.claim(repository.create(scheduler=FIFO))
    repository.report(held, 1, 0.5)
    repository.fail(held, "diverged", step=StepResult(2, {"loss": float("nan")}))
    row = repository.trial(held)
    assert (row.state, row.last_step, row.loss) == ("pruned", 2, None)


def test_a_study_fails_once_more_trials_have_failed_than_it_allows(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 10, "max_failed": 1})
    for _ in range(2):
        repository.fail(repository.claim(study), "user_error")
        repository.advance(study)
    row = repository.one("SELECT state, state_reason, failed FROM study")
    assert (row.state, row.state_reason, row.failed) == ("failed", "max_failed", 2)


def test_a_step_that_comes_again_is_answered_and_changes_nothing(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO, budget={"max_trials": 1})
    held = repository.claim(study)
    repository.report(held, 1, 0.5)
    assert repository.report(held, 1, 0.4).decision == "continue"
    assert repository.one("SELECT loss FROM report").loss == 0.5
    assert repository.one("SELECT count(*) AS n FROM event WHERE type = 'replay-mismatch'").n == 1
    assert repository.report(held, 4, 0.2).decision == "complete"
    assert repository.report(held, 4, 0.2).decision == "complete"
    assert repository.one("SELECT spent FROM study").spent == 4


def test_a_step_beyond_the_target_is_refused_and_nothing_is_written(repository: Repository) -> None:
    held = repository.claim(repository.create())
    before = _written(repository)
    with pytest.raises(InvalidSpec):
        repository.report(held, 2, 0.5)
    assert _written(repository) == before


def test_promoted_trials_go_before_new_ones(repository: Repository) -> None:
    study = repository.create()
    best = repository.claim(study)
    assert repository.report(best, 1, 0.1).decision == "pause"
    for loss in (0.5, 0.6):
        repository.advance(study)
        assert repository.report(repository.claim(study), 1, loss).decision == "pause"
    again = repository.claim(study)
    assert (again.number, again.last_step, again.target_step) == (best.number, 1, 3)
