"""A trial that its trainer ends of its own accord: complete where it is, ranked by its last loss, and replayed so."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from hpo.domain.errors import LeaseLost
from hpo.domain.events import Event
from hpo.domain.merit import INFEASIBLE, WORST
from hpo.domain.report import Report, StepResult
from hpo.domain.trial import TrialState
from hpo.lifecycle import leases, reports
from hpo.lifecycle.leases import Claimed
from hpo.replay import Difference, replay
from hpo.storage.replay import HistoryCache, events
from tests.audit import audit
from tests.integration.repository import Repository

FIFO = {"type": "fifo", "max_resource": 9}


@pytest.fixture
def repository(postgres_url: str) -> Iterator[Repository]:
    """Whatever a test does, its record is clean."""
    repository = Repository.on(postgres_url)
    yield repository
    assert audit(postgres_url) == []
    repository.db.engine.dispose()


def claim_next(repository: Repository, study: UUID) -> Claimed:
    held = repository.claim(study)
    repository.advance(study)
    return held


def complete(repository: Repository, held: Claimed) -> None:
    repository.db.write(
        lambda tx: leases.complete(tx, repository.definitions, repository.project, held.study, held.number, held.lease)
    )


def entries(repository: Repository, number: int) -> list[tuple[int, float, str, bool]]:
    rows = repository.db.read(
        lambda tx: tx.exec_driver_sql(
            "SELECT rung, loss, decision, waiting FROM rung_entry WHERE number = %(n)s AND bracket = 0 ORDER BY rung",
            {"n": number},
        ).all()
    )
    return [(row.rung, row.loss, row.decision, row.waiting) for row in rows]


def log(repository: Repository, study: UUID) -> list[Event]:
    return repository.db.read(lambda tx: events(tx, study))


def replayed(repository: Repository, study: UUID, log: list[Event]) -> Difference | None:
    spec = repository.db.read(lambda tx: repository.definitions.get(tx, study)).spec
    return replay(spec, log, suggestions=False).difference


def test_its_last_loss_counts_at_the_rung_it_was_due_at(repository: Repository) -> None:
    study = repository.create()  # ASHA: rungs at 1, 3 and 9
    for loss in (0.5, 0.6, 0.2):
        held = claim_next(repository, study)
        answer = repository.report(held, 1, loss)
    assert (held.number, answer.decision, answer.target_step) == (2, "continue", 3)
    repository.report(held, 2, 0.15)
    complete(repository, held)
    row = repository.trial(held)
    assert (row.state, row.loss, row.last_step, row.rung) == ("complete", 0.15, 2, 1)
    assert repository.end_classes(held) == ["complete"]
    # At its rung it competes; at the one beyond, nobody may wait for it.
    assert entries(repository, 2) == [
        (0, 0.2, "continue", False),
        (1, 0.15, "complete", False),
        (2, WORST, "stop", False),
    ]


def test_the_sampler_learns_what_it_came_to(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO)
    held = repository.claim(study)
    repository.report(held, 4, 0.25)
    complete(repository, held)
    cache = HistoryCache()
    repository.db.read(lambda tx: cache.sync(tx, study, repository.one("SELECT last_seq FROM study").last_seq))
    (record,) = cache.before(1)
    assert (record.state, record.losses, record.loss) == (TrialState.COMPLETE, ((9, 0.25),), 0.25)


def test_it_reaches_the_goal_of_its_study(repository: Repository) -> None:
    goal = [{"metric": "loss", "direction": "minimize", "goal": 0.3}]
    held = repository.claim(repository.create(scheduler=FIFO, objectives=goal))
    repository.report(held, 4, 0.25)
    complete(repository, held)
    row = repository.one("SELECT state, state_reason FROM study")
    assert (row.state, row.state_reason) == ("stopping", "goal")


def test_it_is_judged_by_the_constraints_too(repository: Repository) -> None:
    bound = [{"metric": "params_m", "op": "<=", "value": 5}]
    held = repository.claim(repository.create(scheduler=FIFO, constraints=bound))
    body = Report(held.lease, (StepResult(4, {"loss": 0.1, "params_m": 7.0}),))
    repository.db.write(
        lambda tx: reports.report(tx, repository.definitions, repository.project, held.study, held.number, body)
    )
    complete(repository, held)
    assert repository.trial(held).violation == 2.0
    ((_, merit, _, _),) = entries(repository, 0)
    assert INFEASIBLE <= merit < WORST


def test_without_any_value_it_is_the_last_of_its_rung(repository: Repository) -> None:
    held = repository.claim(repository.create())
    complete(repository, held)
    assert repository.trial(held).state == "complete"
    assert entries(repository, 0) == [(0, WORST, "stop", False)]


def test_told_twice_it_is_refused_the_second_time(repository: Repository) -> None:
    study = repository.create(scheduler=FIFO)
    held = repository.claim(study)
    repository.report(held, 4, 0.25)
    complete(repository, held)
    with pytest.raises(LeaseLost):
        complete(repository, held)
    assert repository.report(held, 4, 0.25).decision == "continue"  # the report's own reply, were it lost
    assert repository.one("SELECT complete FROM study").complete == 1


@pytest.mark.parametrize("forged", [{"counts_at": 3}, {"loss": None}, {"dropped_at": 0}, {"state": "pruned"}])
def test_a_replay_finds_an_own_end_that_is_told_otherwise(repository: Repository, forged: dict[str, object]) -> None:
    study = repository.create(scheduler=FIFO)
    held = repository.claim(study)
    repository.report(held, 4, 0.25)
    complete(repository, held)
    recorded = log(repository, study)
    assert replayed(repository, study, recorded) is None
    (end,) = [event for event in recorded if "counts_at" in event.data]
    data = {name: value for name, value in (end.data | forged).items() if value is not None}
    changed = [Event(e.seq, e.type, e.trial, data if e is end else e.data) for e in recorded]
    found = replayed(repository, study, changed)
    assert found is not None
    assert found.seq == end.seq


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE rung_entry SET loss = 0.1", "I6: the entry"),
        ("UPDATE rung_entry SET decision = 'stop'", "I6: the entry"),
        ("UPDATE event SET data = data || '{\"counts_at\": 4}' WHERE data ? 'counts_at'", "I6: at event"),
        ("UPDATE event SET data = data - 'counts_at'", "I6: the entry"),
        ("UPDATE event SET data = data || '{\"loss\": 0.1}' WHERE data ? 'counts_at'", "was not reported"),
    ],
)
def test_the_audit_notices_an_own_end_that_is_told_otherwise(postgres_url: str, statement: str, expected: str) -> None:
    repository = Repository.on(postgres_url)
    held = repository.claim(repository.create(scheduler=FIFO))
    repository.report(held, 4, 0.25)
    complete(repository, held)
    repository.execute(statement)
    found = audit(postgres_url)
    repository.db.engine.dispose()
    assert any(expected in violation for violation in found), found


def test_synchronous_halving_waits_for_nobody_who_has_ended(repository: Repository) -> None:
    halving = {"type": "successive_halving", "n_trials": 3, "max_resource": 9}
    study = repository.create(scheduler=halving, budget={"max_trials": 3})
    first, second, third = (claim_next(repository, study) for _ in range(3))
    assert repository.report(second, 1, 0.4).decision == "pause"
    complete(repository, first)  # before any value
    assert repository.report(third, 1, 0.3).target_step == 3  # the best of a bracket that is full
    repository.report(third, 2, 0.2)
    complete(repository, third)
    repository.advance(study)
    row = repository.one("SELECT state, complete, running, queued FROM study")
    assert (row.complete, row.running, row.queued) == (2, 0, 0)
    assert row.state in ("stopping", "finished")
